"""`andon erase` on a real bucket, by processes that are killed with SIGKILL where it hurts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from data.catalog.models import SampleRow
from data.catalog.people import AuditRow
from data.erasure.jobs import list_erasures, under_way
from data.imports import import_samples
from data.inspections import create_inspection
from data.labels import current_labels
from data.snapshots import load_snapshot, take_snapshot
from data.sources.sample import SourceSample, Stage
from data.workspace import Workspace
from flows.connect.links import PREFIX
from flows.exclusive import only_one
from tests.integration.flows.line import CLASSES, part
from tests.integration.flows.stack import ROOT, Stack, wait_until

NAME = "welds"
PART = "W-7"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A bucket alone, with labelled images of parts in it, two of a part."""
    made = Stack(home=tmp_path_factory.mktemp("erasure") / "home")
    made.prepare()
    document = json.loads((made.home / "stack.json").read_text())
    document["urls"] = {"bucket": document["urls"]["bucket"]}
    (made.home / "stack.json").write_text(json.dumps(document))
    try:
        made.start("bucket")
        wait_until(lambda: made.ready("bucket"), "bucket")
        workspace = made.workspace
        create_inspection(workspace.catalog(), NAME, [("ok", "ok"), ("crack", "defect")])
        samples = (
            SourceSample(
                image=part(seed, cracked=seed % 4 == 0, field=False),
                media_type="image/png",
                label=CLASSES[seed % 4 == 0],
                path=f"{seed}.png",
                part_id=f"W-{seed // 2}",
                stage=Stage.FACTORY,
            )
            for seed in range(40)
        )
        assert import_samples(workspace.catalog(), workspace.lake(), NAME, samples).imported == 40
        yield made
    finally:
        made.stop()


@pytest.fixture
def stopped_bucket(stack: Stack) -> Iterator[Callable[[bool], None]]:
    """Stops the bucket's server, and lets it go on."""

    def hold(still: bool) -> None:
        os.killpg(stack.processes["bucket"].pid, signal.SIGSTOP if still else signal.SIGCONT)

    yield hold
    hold(False)


def start(workspace: Workspace, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", "erase", *words, "--home", str(workspace.home)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def erase(workspace: Workspace, *words: str) -> tuple[int, dict[str, object], str]:
    process = start(workspace, *words, "--json")
    out, err = process.communicate(timeout=300)
    return process.returncode, json.loads(out or "{}"), err


def waits_for_the_bucket(process: subprocess.Popen[str], port: int) -> bool:
    """Whether it has a connection to the bucket: it was accepted by the kernel, nobody answers."""
    lines = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
    sockets = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink()}
    return any(
        f"socket:[{fields[9]}]" in sockets and int(fields[2].rpartition(":")[2], 16) == port
        for fields in (line.split() for line in lines)
    )


def test_a_part_is_erased_by_processes_that_are_killed(stack: Stack, stopped_bucket: Callable[[bool], None]) -> None:
    workspace = stack.workspace
    catalog, lake, bucket = workspace.catalog(), workspace.lake(), workspace.bucket()
    with catalog.reading() as session:
        rows = list(session.scalars(select(SampleRow)))
    gone = {row.sample_id for row in rows if row.part_id == PART}
    images = {row.sample_id: lake.image(row.lake_path, row.lake_row)[0] for row in rows}
    (old_file,) = {row.lake_path for row in rows}
    snapshot = take_snapshot(catalog, lake, NAME)
    bucket.put(f"{PREFIX}{NAME}/{min(gone)}", images[min(gone)])

    code, seen, err = erase(workspace, "--part", PART)
    assert (code, err) == (1, "nothing was erased\n")
    assert set(seen["samples"]) == gone
    assert (seen["copies"], seen["snapshots"], seen["labelled"]) == (1, {NAME: {snapshot.id: 2}}, 2)
    assert not under_way(catalog)

    with only_one(workspace.home, "backup", wait_seconds=10):  # noted, and waiting for a backup to end
        process = start(workspace, "--part", PART, "--yes")
        wait_until(lambda: under_way(catalog), "the erasure to be noted")
        process.kill()
        process.communicate()
    stopped_bucket(True)  # at its first call to the bucket
    process = start(workspace, "--resume")
    wait_until(lambda: waits_for_the_bucket(process, stack.ports["bucket"]), "a call to the bucket")
    process.kill()
    process.communicate()
    stopped_bucket(False)
    assert bucket.head(old_file) is not None
    process = start(workspace, "--part", PART, "--yes")  # just after the old file went
    wait_until(lambda: bucket.head(old_file) is None, "the old file to go")
    process.kill()
    process.communicate()

    assert erase(workspace, "--resume")[0] == 0
    assert not under_way(catalog)
    fresh = Stack(home=stack.home, ports=stack.ports).workspace.lake()
    with catalog.reading() as session:
        for row in session.scalars(select(SampleRow)):
            if row.sample_id in gone:
                assert (row.lake_path, row.image_sha256, row.erased_at is None) == ("", "", False)
                assert str(row.part_id).startswith("part-")
            else:
                assert fresh.image(row.lake_path, row.lake_row)[0] == images[row.sample_id]
        (audit,) = session.scalars(select(AuditRow))
    assert (audit.what, audit.facts["samples"], audit.facts["snapshot_rows"]) == ("erase.part", 2, 2)
    assert PART not in repr(audit.facts) + audit.about + audit.detail
    for info in bucket.list(""):
        content = bucket.get(info.key, max_bytes=1 << 30)
        assert not [i for i in gone if images[i] in content], info.key
    assert set(load_snapshot(catalog, fresh, snapshot.id).rows["sample_id"].to_pylist()) == set(images) - gone
    assert set(current_labels(catalog, list(gone))) == gone
    (done,) = list_erasures(catalog)
    assert (done.subject, done.delete_next) == ({}, ())
    assert b'"W-7"' not in b"".join(path.read_bytes() for path in stack.home.glob("catalog.db*"))

    assert erase(workspace, "--part", PART, "--yes") == (0, {"erased": []}, "")
