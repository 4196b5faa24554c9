"""Whatever happens beside it, `predict` answers the same as ever; and the status says what is wrong.

How much later it answers is measured by `python -m benchmarks.survival`.
"""

from pathlib import Path

from tests.integration.capture.survival.disturbances import Survival

LONGEST_MS = 5000  # a loaded machine may hold a process up; what is caught is a call that waits for disk or bucket


def test_the_application_survives(shim: Path, tmp_path: Path):
    outcomes = Survival(folder=tmp_path, shim=shim, frames=96).run()
    expected = {o.before["digest"] for o in outcomes}
    assert len(outcomes) == 10
    assert len(expected) == 1
    for outcome in outcomes:
        assert outcome.before["errors"] == outcome.during["errors"] == [], outcome.case
        assert set(outcome.during["digests"]) == expected, outcome.case
        assert outcome.told, outcome.case
        assert max(outcome.during["latencies"]) < LONGEST_MS, outcome.case
        assert outcome.status_ms < LONGEST_MS, outcome.case
