"""`andon erase` with a real MLflow: what its pages show of a sample or a person. Kills: `tests/integration/data`."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.decisions import GateDecision, record_decision
from data.imports import import_samples
from data.snapshots import take_snapshot
from data.sources.sample import SourceSample, Stage
from data.users.accounts import add_user
from data.users.roles import Role
from data.workspace import Workspace
from edge_client.contract.selftest import SelfTest
from flows.registry import Registry
from flows.registry_api import ModelVersion
from flows.tags import Tag
from tests.integration.flows.challengers import record, register
from tests.integration.flows.stack import ROOT
from tests.unit.gate.test_gate_report import evidence, page_of

SHOWN = re.compile(r'<span class="id">([^<]+)</span>')


def image(shade: int) -> bytes:
    """16 pixels a side, as the frames of the challengers' self-tests."""
    out = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def ids(workspace: Workspace, name: str) -> list[str]:
    """Six imported samples, two of each part. The first is as bright as a frame of the self-test."""
    sources = [
        SourceSample(image=image(30 + shade), media_type="image/png", label="ok", path=f"{shade}.png",
                     part_id=f"{name}-{shade // 2}", stage=Stage.FACTORY)
        for shade in range(6)
    ]  # fmt: skip
    assert import_samples(workspace.catalog(), workspace.lake(), name, sources).imported == 6
    rows = take_snapshot(workspace.catalog(), workspace.lake(), name).rows.to_pylist()
    return [row["sample_id"] for row in sorted(rows, key=lambda row: (row["part_id"], row["sample_id"]))]


@pytest.fixture
def version(workspace: Workspace, registry: Registry, name: str, ids: list[str]) -> ModelVersion:
    """A version whose gate report, as the gate writes it, shows the first two samples and others."""
    report = page_of(evidence())
    for sample_id, other in zip(ids, dict.fromkeys(SHOWN.findall(report)), strict=False):
        report = report.replace(f"sample {other}", f"sample {sample_id}").replace(f">{other}<", f">{sample_id}<")
    snapshot = take_snapshot(workspace.catalog(), workspace.lake(), name)
    made = register(registry, name, f"{name}-e1", gate_report=report, snapshot_id=snapshot.id)
    decision = GateDecision(
        inspection=name, version=made.number, champion_version=None, run_id=made.run_id, snapshot_id=snapshot.id,
        engine_id=f"{name}-e1", at=datetime.now(UTC), answer="promote",
    )  # fmt: skip
    record_decision(workspace.catalog(), decision)
    return made


def erase(workspace: Workspace, *words: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli.main", "erase", *words, "--json", "--home", str(workspace.home)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_a_part_goes_from_gate_reports_and_models_and_self_tests_are_named(
    workspace: Workspace, registry: Registry, name: str, ids: list[str], version: ModelVersion
) -> None:
    def report() -> str:
        return registry.api.artifact_text(version.run_id, "gate_report.html")

    before = SHOWN.findall(report())
    assert set(ids) <= set(before)
    assert len(before) > len(ids)
    pictures = report().count("data:image/jpeg")

    frame = SelfTest.unpack(record(name, "x").selftest).frames[0]
    assert (frame == 30).all()
    code, seen, err = erase(workspace, "--part", f"{name}-0", "--preview")
    assert (code, err) == (0, "")
    gone = set(seen["samples"])
    assert seen["models"] == seen["shown_by"] == {name: [version.number]}

    code, done, err = erase(workspace, "--part", f"{name}-0", "--yes")
    assert code == 0, err
    (erased,) = done["erased"]
    assert erased["models"] == erased["shown_by"] == {name: [version.number]}
    assert (erased["counts"]["samples"], erased["counts"]["gate_reports"]) == (2, 1)
    assert SHOWN.findall(report()) == [one for one in before if one not in gone]
    assert report().count("data:image/jpeg") == pictures - sum(one in gone for one in before)
    assert not [one for one in gone if one in report()]


def test_a_person_goes_from_the_tags_of_versions(
    workspace: Workspace, registry: Registry, name: str, version: ModelVersion
) -> None:
    for user in ("anneke", "boss"):
        add_user(workspace.catalog(), user, Role.ADMIN, at=datetime.now(UTC))
    registry.api.tag_version(name, version.number, {Tag.APPROVED_BY: "anneke", Tag.HELD: "anneke: wait; joanneke too"})

    code, done, err = erase(workspace, "--person", "anneke", "--yes")
    assert code == 0, err
    assert done["erased"][0]["counts"] == {"tags": 2, "users": 1}
    tags = registry.api.version(name, version.number).tags
    assert re.fullmatch(r"person-[0-9a-f]{12}", tags[Tag.APPROVED_BY])
    assert tags[Tag.HELD] == f"{tags[Tag.APPROVED_BY]}: wait; joanneke too"
    code, _, err = erase(workspace, "--person", "boss", "--yes")
    assert code == 1
    assert "boss is the last admin" in err
