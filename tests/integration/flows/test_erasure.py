"""`andon erase` with a real MLflow: what its pages show of a sample or a person. Kills: `tests/integration/data`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from data.catalog.models import SampleRow
from data.imports import import_samples
from data.inspections import create_inspection
from data.sources.sample import SourceSample, Stage
from data.users.accounts import add_user
from data.users.roles import Role
from data.workspace import Workspace
from edge_client.contract.selftest import SelfTest
from flows.registry import Registry
from flows.retrain import RetrainOutcome, retrain_once
from flows.tags import Tag
from tests.integration.flows.line import CLASSES, part
from tests.integration.flows.stack import ROOT, Stack
from training.fit import selftest_frame

NAME = "welds"
PARTS = 120


@pytest.fixture(scope="module")
def models(stack: Stack) -> tuple[RetrainOutcome, RetrainOutcome]:
    """A champion, and a challenger of shuffled labels: its report shows frames that flipped."""
    workspace = stack.workspace
    create_inspection(
        workspace.catalog(), NAME, [("ok", "ok"), ("crack", "defect")], {"variant": "fp32", "input": {"side": 64}}
    )
    samples = (
        SourceSample(
            image=part(seed, cracked=seed % 4 == 0, field=False),
            media_type="image/png",
            label=CLASSES[seed % 4 == 0],
            path=f"{seed}.png",
            part_id=f"W-{seed // 2}",
            stage=Stage.FACTORY,
        )
        for seed in range(PARTS)
    )
    assert import_samples(workspace.catalog(), workspace.lake(), NAME, samples).imported == PARTS
    return retrain_once(workspace, NAME), retrain_once(workspace, NAME, sabotage_labels=True)


def erase(workspace: Workspace, *words: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli.main", "erase", *words, "--json", "--home", str(workspace.home)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def shown_in(registry: Registry, outcome: RetrainOutcome) -> list[str]:
    report = registry.api.artifact_text(outcome.run_id, "gate_report.html")
    return re.findall(r'<span class="id">([^<]+)</span>', report)


def test_a_part_goes_from_gate_reports_and_its_models_are_named(
    workspace: Workspace, registry: Registry, models: tuple[RetrainOutcome, RetrainOutcome]
) -> None:
    _, other = models
    flipped = shown_in(registry, other)
    with workspace.catalog().reading() as session:
        part_id = str(session.get_one(SampleRow, flipped[0]).part_id)
        gone = set(session.scalars(select(SampleRow.sample_id).where(SampleRow.part_id == part_id)))

    code, done, err = erase(workspace, "--part", part_id, "--yes")
    assert code == 0, err
    (erased,) = done["erased"]
    assert erased["models"] == {NAME: ["1", "2"]}
    assert (erased["counts"]["samples"], erased["counts"]["gate_reports"]) == (2, 1)
    assert shown_in(registry, other) == [one for one in flipped if one not in gone]
    assert registry.api.artifact_text(other.run_id, "gate_report.html").count("<img") == len(flipped) - len(
        gone & set(flipped)
    )
    assert retrain_once(workspace, NAME, seed=1).version == "3"  # what is left can be learnt from


def test_versions_whose_self_test_shows_a_frame_are_named(
    workspace: Workspace, registry: Registry, models: tuple[RetrainOutcome, RetrainOutcome]
) -> None:
    frames = SelfTest.unpack(registry.selftest_bytes(registry.api.version(NAME, "1"))).frames
    with workspace.catalog().reading() as session:
        rows = list(
            session.scalars(select(SampleRow).where(SampleRow.inspection == NAME, SampleRow.erased_at.is_(None)))
        )
    small = (
        (row, selftest_frame(workspace.lake().image(row.lake_path, row.lake_row)[0], frames.shape[1])) for row in rows
    )
    sample = next(row.sample_id for row, image in small if (image == frames[0]).all())
    code, seen, _ = erase(workspace, "--sample", sample, "--preview")
    assert code == 0
    assert "1" in seen["shown_by"][NAME]


def test_a_person_is_erased_in_mlflow_too(
    workspace: Workspace, registry: Registry, models: tuple[RetrainOutcome, RetrainOutcome]
) -> None:
    first, _ = models
    catalog = workspace.catalog()
    for name, role in (("ann", Role.ADMIN), ("boss", Role.ADMIN)):
        add_user(catalog, name, role, at=datetime.now(UTC))
    registry.api.tag_version(NAME, first.version, {Tag.APPROVED_BY: "ann", Tag.HELD: "ann: wait; joann too"})

    code, done, err = erase(workspace, "--person", "ann", "--yes")
    assert code == 0, err
    assert done["erased"][0]["counts"] == {"tags": 2, "users": 1}
    tags = registry.api.version(NAME, first.version).tags
    assert re.fullmatch(r"person-[0-9a-f]{12}", tags[Tag.APPROVED_BY])
    assert tags[Tag.HELD] == f"{tags[Tag.APPROVED_BY]}: wait; joann too"
    code, _, err = erase(workspace, "--person", "boss", "--yes")
    assert code == 1
    assert "boss is the last admin" in err
