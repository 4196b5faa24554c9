"""Watch against real servers: heartbeats become tags, and signed metadata never runs out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data.devices import device_statuses
from data.workspace import Workspace
from edge_client.contract.heartbeat import Quarantined, Rollout
from flows.registry import Registry
from flows.release import release_once
from flows.releases.repository import ReleaseRepository
from flows.tags import Tag
from flows.watch import watch_once
from tests.integration.flows.challengers import register
from tests.integration.flows.fleet import Device
from tests.integration.flows.samples import add_labelled_samples
from tests.integration.flows.stack import free_port


def test_the_fleets_story_is_told_at_the_version(
    workspace: Workspace, registry: Registry, name: str, tmp_path: Path
) -> None:
    version = register(registry, name, "e1")
    registry.api.set_alias(name, "champion", "1")
    release_once(workspace, name)
    sha = version.tags[Tag.ENGINE_SHA256]
    devices = [Device(workspace, tmp_path, f"{name}-d{i}", name) for i in range(3)]
    devices[0].beat(engine_sha256=sha, rollout=Rollout(engine_id="e1", engine_sha256=sha, outcome="confirmed"))
    devices[1].beat(
        engine_sha256="f" * 64,
        rollout=Rollout(engine_id="e1", engine_sha256=sha, outcome="quarantined", reason="too slow: 90 ms"),
        quarantined=(Quarantined(engine_sha256=sha, reason="too slow: 90 ms"),),
    )

    outcome = watch_once(workspace)

    assert outcome.failed == ()
    assert outcome.heartbeats == 2
    assert (name, "1") in outcome.tagged
    assert len(device_statuses(workspace.catalog(), name)) == 2
    tags = registry.api.version(name, "1").tags
    assert tags[Tag.ROLLOUT_STATE] == "on canary and stable: 1 of 3 devices confirmed, 1 quarantined it"
    assert tags[Tag.CONFIRMED] == f"1: {name}-d0"
    assert tags[Tag.QUARANTINED] == f"1: {name}-d1: too slow: 90 ms"
    assert tags[Tag.LATENCY] == "p50 2.0, p99 4.0"

    again = watch_once(workspace)
    assert (again.heartbeats, again.tagged) == (0, ())


def test_timestamp_and_snapshot_are_signed_anew_when_they_end_soon(
    workspace: Workspace, repository: ReleaseRepository
) -> None:
    before = repository.versions()["timestamp"]
    assert not watch_once(workspace, clock=lambda: datetime.now(UTC) + timedelta(days=1)).refreshed
    assert repository.versions()["timestamp"] == before

    later = datetime.now(UTC) + timedelta(days=21)
    assert watch_once(workspace, clock=lambda: later).refreshed

    assert repository.versions()["timestamp"] > before
    assert min(repository.expiry()[role] for role in ("timestamp", "snapshot")) > later + timedelta(days=29)
    repository.refresh_timestamp()


def test_what_is_wanted_is_said(workspace: Workspace, registry: Registry, name: str) -> None:
    register(registry, name, "e1")
    registry.api.set_alias(name, "champion", "1")
    add_labelled_samples(workspace, name, workspace.policy().retrain.min_new_labels)

    outcome = watch_once(workspace)

    assert outcome.retrain_wanted[name] == 20
    assert name in outcome.release_wanted
    registry.api.delete_alias(name, "champion")
    registry.api.tag_model(name, {Tag.LABEL_EVENTS: "20"})


def test_a_server_that_is_away_does_not_keep_the_rest_from_being_done(
    workspace: Workspace, registry: Registry, name: str, tmp_path: Path
) -> None:
    away = replace(workspace, mlflow_url=f"http://127.0.0.1:{free_port()}")
    Device(workspace, tmp_path, f"{name}-d", name).beat(engine_sha256="a" * 64)

    outcome = watch_once(away)

    assert outcome.heartbeats == 1
    assert any(name in failure and "MLflow" in failure for failure in outcome.failed)
