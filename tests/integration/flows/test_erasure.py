"""`andon erase` on a real bucket and a real MLflow, killed with SIGKILL where it hurts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from data.catalog.models import SampleRow
from data.catalog.people import AuditRow
from data.erasure.jobs import list_erasures, under_way
from data.imports import import_samples
from data.inspections import create_inspection
from data.labels import current_labels
from data.snapshots import load_snapshot
from data.sources.sample import SourceSample, Stage
from data.users.accounts import add_user
from data.users.roles import Role
from data.workspace import Workspace
from edge_client.contract.selftest import SelfTest
from flows.connect.links import PREFIX
from flows.exclusive import only_one
from flows.registry import Registry
from flows.retrain import RetrainOutcome, retrain_once
from flows.tags import Tag
from tests.integration.flows.line import CLASSES, part
from tests.integration.flows.stack import ROOT, Stack, wait_until
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


def start(workspace: Workspace, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", "erase", *words, "--home", str(workspace.home)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def erase(workspace: Workspace, *words: str) -> tuple[int, dict[str, object], str]:
    process = start(workspace, *words, "--json")
    out, err = process.communicate(timeout=300)
    return process.returncode, json.loads(out or "{}"), err


@pytest.fixture
def stopped_bucket(stack: Stack) -> Iterator[Callable[[bool], None]]:
    """Stops the bucket's server, and lets it go on."""

    def hold(still: bool) -> None:
        os.killpg(stack.processes["bucket"].pid, signal.SIGSTOP if still else signal.SIGCONT)

    yield hold
    hold(False)


def shown_in(registry: Registry, outcome: RetrainOutcome) -> list[str]:
    report = registry.api.artifact_text(outcome.run_id, "gate_report.html")
    return re.findall(r'<span class="id">([^<]+)</span>', report)


def test_a_part_is_erased_by_a_process_that_is_killed_again_and_again(
    workspace: Workspace,
    registry: Registry,
    models: tuple[RetrainOutcome, RetrainOutcome],
    stopped_bucket: Callable[[bool], None],
) -> None:
    catalog, lake, bucket = workspace.catalog(), workspace.lake(), workspace.bucket()
    _, other = models
    flipped = shown_in(registry, other)
    with catalog.reading() as session:
        shown = session.get_one(SampleRow, flipped[0])
        part_id = str(shown.part_id)
        gone = set(session.scalars(select(SampleRow.sample_id).where(SampleRow.part_id == part_id)))
        before = {row.sample_id: lake.image(row.lake_path, row.lake_row)[0] for row in session.scalars(
            select(SampleRow).where(SampleRow.inspection == NAME))}  # fmt: skip
    bucket.put(f"{PREFIX}{NAME}/{shown.sample_id}", before[shown.sample_id])

    code, seen, err = erase(workspace, "--part", part_id)
    assert (code, err) == (1, "nothing was erased\n")
    assert set(seen["samples"]) == gone
    assert (seen["copies"], seen["models"], seen["labelled"]) == (1, {NAME: ["1", "2"]}, 2)
    assert not under_way(catalog)

    with only_one(workspace.home, "backup", wait_seconds=10):  # it waits for a backup to end
        process = start(workspace, "--part", part_id, "--yes")
        wait_until(lambda: under_way(catalog), "the erasure to be noted")
        process.kill()
        process.communicate()
    stopped_bucket(True)  # then it waits for the bucket, its next call under way
    process = start(workspace, "--resume")
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=4)
    process.kill()
    process.communicate()
    stopped_bucket(False)
    process = start(workspace, "--part", part_id, "--yes")
    wait_until(lambda: bucket.head(shown.lake_path) is None, "the old file to go")
    process.kill()
    process.communicate()

    assert erase(workspace, "--resume")[0] == 0

    shutil.rmtree(workspace.cache / "lake", ignore_errors=True)
    fresh = Workspace.open(workspace.home, environ={}).lake()
    with catalog.reading() as session:
        for row in session.scalars(select(SampleRow).where(SampleRow.inspection == NAME)):
            if row.sample_id in gone:
                assert (row.lake_path, row.image_sha256) == ("", "")
                assert row.erased_at is not None
                assert str(row.part_id).startswith("part-")
            else:
                assert fresh.image(row.lake_path, row.lake_row)[0] == before[row.sample_id]
        audits = list(session.scalars(select(AuditRow).where(AuditRow.what == "erase.part")))
    assert len(audits) == 1
    assert audits[0].facts["samples"] == len(gone)
    assert part_id not in repr(audits[0].facts) + audits[0].about + audits[0].detail
    for info in bucket.list(""):
        if not info.key.startswith("mlflow/"):
            content = bucket.get(info.key, max_bytes=1 << 30)
            assert not [i for i in gone if before[i] in content], info.key
    assert set(load_snapshot(catalog, fresh, other.snapshot_id).rows["sample_id"].to_pylist()) == set(before) - gone
    assert shown_in(registry, other) == [one for one in flipped if one not in gone]
    assert set(current_labels(catalog, list(gone))) == gone
    (done,) = list_erasures(catalog)
    assert (done.subject, done.delete_next, done.counts["gate_reports"]) == ({}, (), 1)

    code, again, _ = erase(workspace, "--part", part_id, "--yes")
    assert (code, again) == (0, {"erased": []})
    newer = retrain_once(workspace, NAME, seed=1)
    assert newer.version == "3"


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
