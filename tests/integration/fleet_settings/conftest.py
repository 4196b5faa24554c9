from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.fleet_settings.installation import Installation, installation


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One bucket server for all of these tests."""
    before = dict(os.environ)
    try:
        with installation(tmp_path_factory.mktemp("fleet-settings")) as made:
            yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
