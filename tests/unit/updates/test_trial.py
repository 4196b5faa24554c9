"""The trial in its child process: what it finds, and what it takes for the engine's fault."""

import signal
from pathlib import Path

import psutil
import pytest

from edge_client.updates.trial import TrialLimits, TrialOrder, TrialReport, _read_report, try_engine
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import digest, selftest_of


def trial(folder: Path, engine: bytes, selftest: bytes, **limits: float) -> TrialReport:
    (folder / "engine.onnx").write_bytes(engine)
    (folder / "selftest.npz").write_bytes(selftest)
    return try_engine(
        TrialOrder(
            engine=str(folder / "engine.onnx"),
            selftest=str(folder / "selftest.npz"),
            engine_sha256=digest(engine),
            selftest_sha256=digest(selftest),
            engine_bytes=len(engine),
            inspection="solar-cells",
            engine_id="e1",
            threads=1,
            limits=TrialLimits(**limits),  # type: ignore[arg-type]
        )
    )


def test_a_good_engine_passes_with_its_latency(tmp_path: Path) -> None:
    engine = tiny_engine()
    report = trial(tmp_path, engine, selftest_of(engine))
    assert (report.passed, report.reason) == (True, "")
    assert report.latency_ms > 0


@pytest.mark.parametrize(
    ("engine", "because"),
    [
        (tiny_engine(bias=4.0), "self-test answers differ"),
        (tiny_engine(engine_id="e2"), "expected 'e1'"),
        (tiny_engine(classes=(("ok", "ok"), ("a", "defect"), ("b", "defect"))), "expects 2 classes"),
        (b"no engine at all", "damaged or no ONNX file"),
    ],
)
def test_a_wrong_engine_fails_for_certain(tmp_path: Path, engine: bytes, because: str) -> None:
    report = trial(tmp_path, engine, selftest_of(tiny_engine()))
    assert (report.passed, report.certain) == (False, True)
    assert because in report.reason


def test_an_engine_that_wants_too_much_memory_fails_for_certain(tmp_path: Path) -> None:
    engine = tiny_engine(delay_ops=200)  # each product keeps a megabyte and has a constant of one
    report = trial(tmp_path, engine, selftest_of(engine), memory_bytes=120 * 1024**2)
    assert (report.passed, report.certain) == (False, True)


def test_a_trial_without_end_is_killed_and_may_be_the_machines_fault(tmp_path: Path) -> None:
    engine = tiny_engine()
    report = trial(tmp_path, engine, selftest_of(engine), seconds=0.05)
    assert (report.passed, report.certain) == (False, False)
    assert "did not end within 0.05 s" in report.reason


def test_a_slow_engine_may_be_a_busy_machine(tmp_path: Path) -> None:
    engine = tiny_engine(delay_ops=20)
    report = trial(tmp_path, engine, selftest_of(engine), latency_ms=0.001)
    assert (report.passed, report.certain) == (False, False)
    assert "allowed are 0.001 ms" in report.reason


def test_a_child_killed_from_outside_says_nothing_about_the_engine_but_a_crash_does() -> None:
    assert not _read_report(b"", -signal.SIGKILL).certain
    assert _read_report(b"", -signal.SIGSEGV).certain
    assert _read_report(b'{"passed": true, "certain": true', 0) == TrialReport(
        passed=False, reason="the trial ended with code 0 and no report"
    )
    assert not _read_report(b'{"passed": true}', 1).passed


def test_no_child_is_left_behind(tmp_path: Path) -> None:
    engine = tiny_engine()
    before = {child.pid for child in psutil.Process().children()}
    trial(tmp_path, engine, selftest_of(engine), seconds=0.05)
    assert {child.pid for child in psutil.Process().children()} <= before
