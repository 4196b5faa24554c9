"""The whole loop on PostgreSQL and Swift over TLS, by the command of one machine, while processes are killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.archive import write_archive
from tests.production.plant import Plant, andon

ROUNDS = 2
FAULTS = ("device@1", "serving-ingest@1", "sabotage@2", "serving-retrain@2")


@pytest.fixture(scope="module")
def played(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rehearsal")
    index = write_archive(folder / "plates", factory=160, stream=180, holdout=80)
    home = plant.new_home(folder / "home", "loop")
    options = ["--name", "plates", "--rounds", str(ROUNDS), "--devices", "2", "--label-budget", "0.3", "--once"]
    faults = [word for fault in FAULTS for word in ("--fault", fault)]
    try:
        done = andon(home, "rehearse", str(index), *options, *faults, timeout=1800)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    finally:
        andon(home, "down")
    return home


@pytest.fixture(scope="module")
def report(played: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((played / "rehearsals" / "plates" / "report.json").read_text())
    print(json.dumps({k: found[k] for k in ("requests", "requests_lost", "swaps", "audit", "faults", "loop_seconds")}))
    return found


def test_every_round_was_played_and_the_model_is_healed(report: dict[str, Any]) -> None:
    assert [r["round"] for r in report["rounds"]] == list(range(1, ROUNDS + 1))
    before, after = (place["average_precision"]["value"] for place in (report["before"], report["rounds"][-1]))
    assert before < 0.6
    assert after > before + 0.25
    assert report["swaps"] >= 2


def test_nothing_was_lost_while_processes_died(report: dict[str, Any]) -> None:
    assert report["requests"] >= 120
    assert report["requests_lost"] == 0
    audit = report["audit"]
    assert audit["in_catalog"] > 0
    assert (audit["lost"], audit["double"], audit["waiting"], audit["quarantined"]) == (0, 0, 0, 0)
    assert any("middle of ingest" in told for told in report["faults"])


def test_the_sabotaged_challenger_was_refused(report: dict[str, Any]) -> None:
    sabotaged = [r for r in report["refused"] if r["sabotaged"]]
    assert len(sabotaged) == 1
    assert sabotaged[0]["ran_on"] == []


def test_all_of_it_is_on_the_server_and_nothing_in_files(plant: Plant, played: Path, report: dict[str, Any]) -> None:
    counts = {"loop": "samples", "loop_mlflow": "model_versions", "loop_prefect": "flow_run"}
    for database, table in counts.items():
        with psycopg.connect(plant.postgres.url_over_tls(database, password=True)) as connection:
            (found,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        assert found > 0, f"{table} in {database} is empty"
    of_the_cloud = [file for file in played.rglob("*.db") if "devices" not in file.parts]  # devices have some
    assert not of_the_cloud
    assert not any((played / "bucket").iterdir())


def test_no_secret_is_in_a_log_or_in_stack_json(plant: Plant, played: Path, report: dict[str, Any]) -> None:
    from tests.integration.data.postgres import PASSWORD

    for path in (*(played / "logs").iterdir(), played / "stack.json"):
        text = path.read_text(errors="replace")
        assert PASSWORD not in text
        assert plant.swift.settings.secret_access_key not in text
