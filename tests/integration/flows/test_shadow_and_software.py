"""`andon shadow` and `andon software` against a real registry, a real bucket and the real signed repository."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.client_wheels import client_wheel, wheel_name
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from edge_client.contract.shadow import ShadowReport
from flows.registry import Registry
from flows.release import release_once
from flows.releases.repository import ReleaseRepository
from flows.shadow import read
from flows.software import need
from flows.tags import Tag
from flows.watch import watch_once
from infra.cli.main import main
from tests.integration.flows.challengers import register
from tests.integration.flows.fleet import Device


def test_a_challenger_is_started_reported_and_ended(
    workspace: Workspace,
    registry: Registry,
    repository: ReleaseRepository,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = ["--home", str(workspace.home)]
    champion = register(registry, name, "e1")
    challenger = register(registry, name, "e2", decision="not_enough")
    assert main(["shadow", "start", name, *home]) == 1
    assert "alias challenger" in capsys.readouterr().err
    registry.api.set_alias(name, "champion", "1")
    registry.api.set_alias(name, "challenger", "2")
    release_once(workspace, name)
    assert main(["shadow", "start", name, "--version", "1", *home]) == 1
    assert "is what channel 'stable' carries" in capsys.readouterr().err

    assert main(["shadow", "start", name, "--share", "0.25", "--days", "2", *home]) == 0
    assert "version 2 (e2) runs unseen on 25 % of the frames" in capsys.readouterr().out
    document = read(repository, name, "stable")
    assert document is not None
    sha = challenger.tags[Tag.ENGINE_SHA256]
    assert (document.engine.engine_sha256, document.share) == (sha, 0.25)
    assert repository.read_channel(name, "stable").engine_id == "e1"  # type: ignore[union-attr]

    report = ShadowReport(
        salt=document.salt, engine_id="e2", engine_sha256=sha, state="runs", seen=400, skipped=3, verdicts=2,
        labels=8, disagreed=8, pairs={"ok > defect": 8}, cpu_seconds=2.0,
    )  # fmt: skip
    Device(workspace, tmp_path, f"{name}-d0", name).beat(engine_sha256=champion.tags[Tag.ENGINE_SHA256], shadow=report)
    assert (name, "2") in watch_once(workspace).tagged
    told = registry.api.version(name, "2").tags[Tag.SHADOW]
    assert told == "disagrees on 2.00 % [0.87, 3.90], n = 400, on 1 devices; ok > defect: 8"
    assert watch_once(workspace).tagged == ()

    assert main(["shadow", "show", name, *home]) == 0
    shown = capsys.readouterr().out
    assert "disagrees on 2.00 % [0.87, 3.90], n = 400" in shown
    assert "ok > defect: 8" in shown
    assert main(["shadow", "show", name, "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["disagreed"]["count"] == 8

    assert main(["shadow", "stop", name, *home]) == 0
    assert "the shadow of version 2 is ended" in capsys.readouterr().out
    assert read(repository, name, "stable").share == 0  # type: ignore[union-attr]


def test_client_software_is_approved_named_and_shown(
    workspace: Workspace, repository: ReleaseRepository, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(workspace.home)]
    wheel = tmp_path / wheel_name("0.2.0")
    wheel.write_bytes(client_wheel("0.2.0"))
    assert main(["software", "set", "0.2.0", *home]) == 1
    assert "is not approved" in capsys.readouterr().err
    assert main(["software", "publish", str(wheel), *home]) == 0
    assert f"signed {wheel.name}" in capsys.readouterr().out
    assert main(["software", "set", "0.2.0", "--percent", "10", "--site", "plant", *home]) == 0
    assert "staged: 0.2.0 for 10 % of site plant" in capsys.readouterr().out
    device = Device(workspace, tmp_path, f"{name}-d1", name)
    device.beat(engine_sha256="a" * 64, client_version="0.1.0", software="0.2.0 was left: ImportError('x')")
    watch_once(workspace)
    assert main(["software", "set", "0.2.0", *home]) == 0
    capsys.readouterr()
    assert main(["software", "show", *home]) == 0
    shown = capsys.readouterr().out
    assert "every device: 0.2.0" in shown
    assert f"{name}-d1" in shown
    assert "0.1.0 -> 0.2.0  0.2.0 was left: ImportError('x')" in shown
    assert main(["software", "require", "0.2.0", "engines/x/*", "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)["needs"] == {"engines/x/*": "0.2.0"}
    with pytest.raises(AndonError, match="no pattern of targets"):
        need(repository, "metadata/*", "0.2.0", datetime.now(UTC))
