"""Sealed engines from begin to end: real bucket server, the cloud's commands, devices as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data.inspections import create_inspection
from data.workspace import Workspace
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.engine_keys import KEYS_PREFIX
from edge_client.contract.mirror import mirror_releases
from edge_client.contract.releases import Channel, engine_target, selftest_target
from flows.stack import repository_of
from infra.cli.main import main as andon
from infra.enrolment import enroll, revoke
from tests.integration.capture.weed import running_weed
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import INSPECTION, digest, selftest_of

ROOT = Path(__file__).parents[3]


def test_a_revoked_device_opens_no_later_engine_and_the_others_need_no_visit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_weed(tmp_path / "weed") as weed:
        home = tmp_path / "home"
        home.mkdir()
        about = {"urls": {"bucket": weed.settings.endpoint_url}, "bucket": {"name": weed.settings.bucket}}
        secrets = {"access_key_id": weed.settings.access_key_id, "secret_access_key": weed.settings.secret_access_key}
        (home / "stack.json").write_text(json.dumps(about))
        (home / "secrets.json").write_text(json.dumps(secrets))
        workspace = Workspace.open(home)
        repository_of(workspace, lambda: datetime.now(UTC)).create()
        create_inspection(workspace.catalog(), INSPECTION, [("ok", "ok"), ("defect", "defect")])
        first = enrolled(workspace, tmp_path, "line-1")
        assert andon(["engine-keys", INSPECTION, "--rotate", "--home", str(home), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["devices"] == ["line-1"]
        second = enrolled(workspace, tmp_path, "line-2")
        assert (not (first.parent / "fleet.age").exists(), (second.parent / "fleet.age").exists()) == (True, True)

        engine = released(workspace, "e1")
        for config in (first, second):
            assert updated(config)["check"] == "swapped"
            assert digest((config.parent / "state/updates/slot-a/engine.onnx").read_bytes()) == digest(engine)
        stored = [info.key for info in workspace.bucket().list("releases/targets/engines/")]
        assert not any(digest(engine) in key for key in stored)

        revoke(workspace, "line-1")
        revoke(workspace, "line-1")  # harmless
        assert [info.key for info in workspace.bucket().list(KEYS_PREFIX)] == [f"{KEYS_PREFIX}{INSPECTION}/line-2.age"]
        assert andon(["engine-keys", INSPECTION, "--home", str(home), "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["keys"]) == 2
        released(workspace, "e2")
        told = updated(second)
        assert (told["check"], told["engine_id"]) == ("swapped", "e2")
        stick = DirectoryBucket(tmp_path / "stick")
        mirror_releases(workspace.bucket(), stick, engine_keys=True)  # whatever way it gets hold of the files
        told = updated(first, "--from", str(stick.path), code=1)
        assert told["check"] == "refused"
        assert "has not been given" in told["reason"]


def enrolled(workspace: Workspace, folder: Path, device: str) -> Path:
    factory = folder / "factory.onnx"
    factory.write_bytes(tiny_engine(engine_id="factory"))
    return enroll(workspace, device, site="plant", station=device, inspection=INSPECTION, engine=factory).config


def released(workspace: Workspace, engine_id: str) -> bytes:
    engine = tiny_engine(engine_id=engine_id)
    repository = repository_of(workspace, lambda: datetime.now(UTC))
    repository.publish_engine(INSPECTION, engine_id, engine, selftest_of(engine), {})
    repository.set_channel(
        Channel(
            inspection=INSPECTION,
            channel="stable",
            engine_path=engine_target(INSPECTION, engine_id),
            engine_sha256=digest(engine),
            engine_bytes=len(engine),
            engine_id=engine_id,
            version="1",
            selftest_path=selftest_target(INSPECTION, engine_id),
            issued_at=datetime.now(UTC),
        )
    )
    return engine


def updated(config: Path, *words: str, code: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "edge_client.cli.main", "update", "--config", str(config), "--json", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told
