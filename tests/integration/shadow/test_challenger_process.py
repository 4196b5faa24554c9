"""The challenger's own process: it answers as the engine does, and whatever becomes of it is a failure and no more."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_client.contract.errors import BadEngine
from edge_client.shadow.process import ChallengerProcess
from tests.tiny_engine import tiny_engine
from tests.unit.shadow.challengers import CHALLENGER, GREYS, answer


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChallengerProcess]:
    """The challenger in its real process."""
    data = tiny_engine(engine_id="e2", bias=4.0)
    path = tmp_path_factory.mktemp("challenger") / "challenger.onnx"
    path.write_bytes(data)
    made = ChallengerProcess(path, engine_sha256=hashlib.sha256(data).hexdigest(), provider="cpu", memory_bytes=2 << 30)
    yield made
    made.stop()


def test_the_process_answers_as_the_engine_does_and_says_what_it_took(process: ChallengerProcess) -> None:
    for grey in GREYS[::10]:
        found = process.answer(grey)
        expected = answer(CHALLENGER, grey)
        assert (found.verdict, found.label) == (expected.verdict, expected.label)
        assert found.defect_probability == pytest.approx(expected.defect_probability, abs=1e-6)
        assert 0 < found.cpu_seconds < 5
    policy = os.sched_getscheduler(process._child.pid)
    assert policy == os.SCHED_IDLE or os.getpriority(os.PRIO_PROCESS, process._child.pid) == 19


def test_a_process_that_dies_is_a_failure_and_no_more(tmp_path: Path) -> None:
    data = tiny_engine(engine_id="e2")
    (tmp_path / "e.onnx").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    process = ChallengerProcess(tmp_path / "e.onnx", engine_sha256=digest, provider="cpu", memory_bytes=2 << 30)
    process._child.kill()
    process._child.wait(10)
    with pytest.raises(BadEngine, match="has ended"):
        process.answer(GREYS[0])
    process.stop()


def test_a_file_that_is_not_what_was_tried_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "e.onnx").write_bytes(tiny_engine(engine_id="e2"))
    with pytest.raises(BadEngine, match="is not what was tried"):
        ChallengerProcess(tmp_path / "e.onnx", engine_sha256="0" * 64, provider="cpu", memory_bytes=2 << 30)


def test_a_process_that_is_held_answers_when_it_is_let_go(process: ChallengerProcess) -> None:
    process.hold()
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(process.answer(GREYS[0]).verdict))
    asking.start()
    asking.join(1.0)
    assert not found  # a frame of this engine takes a millisecond
    process.let_go()
    asking.join(30)
    assert found == [answer(CHALLENGER, GREYS[0]).verdict]
