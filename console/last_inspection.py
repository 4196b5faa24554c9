"""The inspection that was looked at last in a browser: pages with a choice begin with it.

The page's script notes it in a cookie (`static/last_inspection.js`): a choice of this browser, no secret, and believed
only where such an inspection is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from fastapi import Request

COOKIE = "andon.inspection"


def last_inspection(request: Request, known: Sequence[str]) -> str | None:
    """Return it, or the first one of those that are known; None where none is."""
    named = unquote(request.cookies.get(COOKIE, ""))
    return named if named in known else next(iter(known), None)
