"""Retrain through real parts: a bucket, training, the gate, a registry. One line, told in order."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from data.decisions import list_decisions
from data.inspections import change_settings
from data.workspace import Workspace
from edge_client.contract.sealing import generate_identity
from flows.registry import Registry
from flows.release import release_once
from flows.releases.repository import ReleaseRepository
from flows.retrain import retrain_once
from flows.tags import Tag
from tests.integration.flows.line import capture, label, part, set_up_line
from tests.integration.flows.stack import ROOT, Stack, wait_until
from tests.unit.ingest.uploads import INSPECTION, Uploader
from training.frames import decode


@pytest.fixture(scope="module")
def line(stack: Stack) -> Uploader:
    identity = stack.workspace.identity_path
    identity.unlink(missing_ok=True)
    recipient = generate_identity(identity)
    return set_up_line(stack.workspace, recipient, variant="fp32", auto_retrain=False)


def test_the_first_model_becomes_champion_and_a_second_call_finds_it(
    workspace: Workspace, registry: Registry, line: Uploader
) -> None:
    first = retrain_once(workspace, INSPECTION)
    again = retrain_once(workspace, INSPECTION)

    assert (first.version, first.decision, first.alias, first.reused) == ("1", "promote", "champion", False)
    assert (again.version, again.run_id, again.reused) == ("1", first.run_id, True)
    assert registry.api.aliases(INSPECTION) == {"champion": "1"}
    assert len(registry.api.versions(INSPECTION)) == 1
    tags = registry.api.version(INSPECTION, "1").tags
    assert tags[Tag.APPROVED_BY].startswith("the first model of the inspection")
    assert tags[Tag.LABELS].startswith("crack ")
    (decision,) = list_decisions(workspace.catalog(), INSPECTION)
    assert (decision.version, decision.answer, decision.run_id) == ("1", "promote", first.run_id)
    kept = {file.path for file in MlflowClient(registry.api.url).list_artifacts(first.run_id)}
    assert {"gate_report.html", "plans.csv", "out_of_fold.parquet", "selftest.npz", "decision.json"} <= kept


def test_a_retrain_that_is_killed_and_run_again_gives_one_version(
    workspace: Workspace, registry: Registry, line: Uploader
) -> None:
    truth = capture(workspace, line, 1, 40)
    assert label(workspace, truth, 30) == 30
    killed = start_retrain(workspace)
    client = MlflowClient(registry.api.url)

    def running() -> list[str]:
        experiment = client.get_experiment_by_name(INSPECTION)
        found = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
        return [run.info.run_id for run in found]

    wait_until(running, "the run in MLflow")
    (lost,) = running()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()

    outcome = retrain_once(workspace, INSPECTION)

    assert outcome.version == "2"
    assert not outcome.reused
    assert client.get_run(lost).info.status == "KILLED"
    assert retrain_once(workspace, INSPECTION).version == "2"
    assert [v.number for v in registry.api.versions(INSPECTION)] == ["2", "1"]
    if outcome.decision != "reject":
        assert registry.api.aliases(INSPECTION) == {"champion": "1", "challenger": "2"}


def test_a_challenger_of_sabotaged_labels_is_refused_and_nothing_ships(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, line: Uploader
) -> None:
    aliases = registry.api.aliases(INSPECTION)
    release_once(workspace, INSPECTION)
    before = repository.read_channel(INSPECTION, "stable")

    outcome = retrain_once(workspace, INSPECTION, sabotage_labels=True)

    assert outcome.decision == "reject", outcome
    assert outcome.reasons
    assert outcome.alias == ""
    assert registry.api.aliases(INSPECTION) == aliases
    version = registry.api.version(INSPECTION, outcome.version)
    assert version.tags[Tag.ROLLOUT_STATE] == "not released: the gate refused it"
    assert "shuffled on purpose" in version.description
    assert release_once(workspace, INSPECTION).released == ()
    assert repository.read_channel(INSPECTION, "stable") == before


def test_a_promoted_challenger_waits_for_a_person_unless_the_inspection_says_otherwise(
    workspace: Workspace, registry: Registry, line: Uploader
) -> None:
    """The gate's answer is not staged: what it says decides which alias is right."""
    truth = capture(workspace, line, 2, 60)
    label(workspace, truth, 60)
    outcome = retrain_once(workspace, INSPECTION, seed=1)
    expected = {"promote": "challenger", "not_enough": "challenger", "reject": ""}[outcome.decision]
    assert outcome.alias == expected
    assert registry.api.aliases(INSPECTION)["champion"] == "1"
    assert registry.api.version(INSPECTION, outcome.version).tags[Tag.COMPARED_WITH] == "1"


def test_marked_defects_are_pasted_onto_ok_parts_where_the_inspection_asks_for_it(
    workspace: Workspace, registry: Registry, line: Uploader
) -> None:
    for seed in range(0, 160, 4):  # the factory's cracked parts
        image = part(seed, cracked=True, field=False)
        dark = decode(image).max(axis=2) < 100
        if dark.any():
            buffer = BytesIO()
            Image.fromarray(dark.astype(np.uint8) * 255).save(buffer, "PNG")
            workspace.lake().put_mark(INSPECTION, hashlib.sha256(image).hexdigest(), buffer.getvalue())
    plain = retrain_once(workspace, INSPECTION, seed=2)
    change_settings(workspace.catalog(), INSPECTION, {"learning": {"pasted_defects": 90}})
    pasted = retrain_once(workspace, INSPECTION, seed=2)
    again = retrain_once(workspace, INSPECTION, seed=2)

    assert (pasted.version, pasted.reused) != (plain.version, True)
    assert (again.version, again.engine_sha256, again.reused) == (pasted.version, pasted.engine_sha256, True)
    client = MlflowClient(registry.api.url)
    runs = [client.get_run(outcome.run_id).data for outcome in (plain, pasted)]
    assert runs[0].params["pasted_defects"] == "0"
    assert 20 < int(runs[1].params["pasted_defects"]) < 90
    assert runs[1].metrics["pasted_examples"] == int(runs[1].params["pasted_defects"])
    assert runs[0].metrics["examples"] == runs[1].metrics["examples"]
    tags = [registry.api.version(INSPECTION, outcome.version).tags for outcome in (plain, pasted)]
    assert tags[0][Tag.LABELS] == tags[1][Tag.LABELS]


def start_retrain(workspace: Workspace) -> subprocess.Popen[bytes]:
    """A retrain in a process of its own."""
    code = (
        "import sys, pathlib; from data.workspace import Workspace; from flows.retrain import retrain_once\n"
        f"retrain_once(Workspace.open(pathlib.Path(sys.argv[1])), {INSPECTION!r})"
    )
    log = (Path(workspace.home) / "logs" / "killed-retrain.log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.home)], cwd=ROOT, start_new_session=True, stdout=log, stderr=log
    )
