"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A machine that is busy elsewhere is no fault of the code: nothing is judged by how long an example takes.
settings.register_profile("andon", deadline=None)
settings.load_profile("andon")
