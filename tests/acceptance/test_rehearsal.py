"""The whole loop with its real parts, as `andon rehearse` runs it, while processes are killed in the middle."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.archive import write_archive

ROUNDS = 2
STREAM = 180
FAULTS = ("device@1", "serving-ingest@1", "sabotage@2", "bucket-away@2", "serving-retrain@2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rehearsal")
    index = write_archive(folder / "plates", factory=160, stream=STREAM, holdout=80)
    command = [sys.executable, "-m", "infra.cli.main", "rehearse", str(index), "--home", str(folder / "home")]
    options = ["--name", "plates", "--rounds", str(ROUNDS), "--devices", "2", "--label-budget", "0.3", "--once"]
    faults = [word for fault in FAULTS for word in ("--fault", fault)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, *options, *faults],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder / "home"


@pytest.fixture(scope="module")
def report(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "rehearsals" / "plates" / "report.json").read_text())
    return found


def test_every_round_was_played(report: dict[str, Any]) -> None:
    assert [r["round"] for r in report["rounds"]] == list(range(1, ROUNDS + 1))
    assert report["rounds"][-1]["frames_seen"] == report["archive"]["streamed"] == STREAM


def test_the_broken_model_is_healed_and_devices_swap_under_load(report: dict[str, Any]) -> None:
    before, after = (place["average_precision"]["value"] for place in (report["before"], report["rounds"][-1]))
    assert before < 0.6
    assert after > before + 0.25
    assert report["swaps"] >= 2  # both devices


def test_no_request_was_lost_while_processes_died(report: dict[str, Any]) -> None:
    assert report["requests"] >= 120
    assert report["requests_lost"] == 0


def test_what_was_acknowledged_is_in_the_catalog_once(report: dict[str, Any]) -> None:
    audit = report["audit"]
    assert audit["in_catalog"] > 0
    assert (audit["lost"], audit["double"], audit["waiting"], audit["quarantined"]) == (0, 0, 0, 0)


def test_labels_stay_within_the_budget(report: dict[str, Any]) -> None:
    last = report["rounds"][-1]
    assert 0 < last["labels"] <= 0.3 * last["frames_seen"]


def test_the_sabotaged_challenger_was_refused_and_never_ran(report: dict[str, Any]) -> None:
    sabotaged = [r for r in report["refused"] if r["sabotaged"]]
    assert len(sabotaged) == 1
    assert sabotaged[0]["reasons"]
    assert sabotaged[0]["ran_on"] == []


def test_what_went_wrong_on_purpose_is_told(report: dict[str, Any]) -> None:
    told = " ".join(report["faults"])
    for words in ("killed (SIGKILL) and started again", "middle of ingest", "middle of retrain", "did not answer"):
        assert words in told


def test_every_measure_has_its_interval_and_its_n(report: dict[str, Any]) -> None:
    for place in (report["before"], *report["rounds"], report["random"], report["all_labels"]):
        for name in ("average_precision", "balanced_accuracy"):
            measure = place[name]
            assert measure["low"] <= measure["value"] <= measure["high"]
            assert measure["n"] == report["archive"]["holdout"]


def test_the_page_is_one_file_and_loads_nothing(home: Path) -> None:
    page = (home / "rehearsals" / "plates" / "report.html").read_text()
    assert "<svg" in page
    assert 'src="http' not in page
    assert "<script" not in page


def test_nothing_is_left_running(home: Path, report: dict[str, Any]) -> None:
    left = [p.info for p in psutil.process_iter(["pid", "cmdline"]) if str(home) in " ".join(p.info["cmdline"] or [])]
    assert left == []
