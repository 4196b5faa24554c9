"""The library that follows and disturbs a process's changes on disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.capture.survival.disturbances import build_shim


@pytest.fixture(scope="package")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the journal knows what was synced, no disk has to."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path, prefix="andon-") as folder:
        yield Path(folder)
