"""The power goes, or the process is killed, after every change that updates make to the disk (each fifth cut here; all
of them in ``benchmarks.updates``)."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.capture.survival.disturbances import build_shim
from tests.integration.updates.power.cuts import PlayedStory

EVERY = 5


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the journal knows what was synced, no disk has to."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path, prefix="andon-") as folder:
        yield Path(folder)


def test_whatever_the_cut_the_engine_that_was_stored_serves_and_the_update_goes_on(fast: Path) -> None:
    story = PlayedStory(fast / "story", build_shim(fast))
    assert {c.operation for c in story.changes} >= {"create", "write", "sync", "rename", "unlink", "mkdir", "symlink"}
    ways: Counter[str] = Counter()
    for number, cut in enumerate(story.cuts()):
        if number % EVERY:
            continue
        verdict = story.restart(cut, fast / "cut")
        assert verdict.well, f"{cut.way} after change {cut.n}, {cut.change}: {verdict}"
        ways[cut.way] += 1
    assert min(ways[way] for way in ("killed", "torn", "dark", "partly dark")) > 10
    assert number > 600
