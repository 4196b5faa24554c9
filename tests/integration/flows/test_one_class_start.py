"""Day one: a folder of ok images and nothing else, through import, retrain, gate and registry."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from data.imports import import_samples
from data.inspections import create_inspection
from data.sources.folder import FolderSource
from data.workspace import Workspace
from edge_client.contract.decision import Verdict, decide
from flows.champion import load_champion, metadata_of
from flows.registry import Registry
from flows.retrain import retrain_once
from tests.integration.flows.line import part
from training.predict import run_engine

NAME = "plates-day-one"
PARTS = 130


def test_a_folder_of_ok_images_gives_a_champion_that_judges_by_its_anomaly_score(
    workspace: Workspace, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "ok").mkdir()
    for seed in range(PARTS):
        (tmp_path / "ok" / f"{seed}.png").write_bytes(part(seed, cracked=False, field=False))
    create_inspection(workspace.catalog(), NAME, [("ok", "ok")], {"variant": "fp32"})
    imported = import_samples(workspace.catalog(), workspace.lake(), NAME, FolderSource.open(tmp_path))
    assert imported.imported == PARTS

    outcome = retrain_once(workspace, NAME)

    assert (outcome.decision, outcome.alias) == ("promote", "champion")
    champion = load_champion(registry, NAME)
    assert champion is not None
    metadata = metadata_of(champion.engine)
    assert [c.name for c in metadata.classes] == ["ok"]

    def verdicts(first: int, count: int, *, cracked: bool) -> list[Verdict]:
        frames = [part(first + i, cracked=cracked, field=False) for i in range(count)]
        answers = run_engine(champion.engine, frames)
        return decide(answers.probabilities, answers.anomaly, metadata)

    metrics = MlflowClient(registry.api.url).get_run(outcome.run_id).data.metrics
    fresh = verdicts(50_000, 100, cracked=False)
    assert fresh.count(Verdict.DEFECT) / 100 <= metrics["anomaly_alarm_rate_high"] + 0.03  # 2 standard errors of 100
    assert verdicts(60_000, 30, cracked=True).count(Verdict.DEFECT) >= 24
    told = f"n = {int(metrics['anomaly_held_out'])}"
    assert told in champion.version.description
    assert "1.0 is passed by" in champion.version.description
