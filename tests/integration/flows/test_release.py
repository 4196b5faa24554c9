"""Release against a real registry, a real bucket and the real signed repository."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from data.decisions import list_releases
from data.inspections import create_inspection
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows.registry import Registry
from flows.release import release_once
from flows.releases.repository import ReleaseRepository
from flows.tags import Tag
from tests.integration.flows.challengers import register


def test_moving_the_alias_in_mlflow_releases_and_the_tags_say_that_a_person_did(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    register(registry, name, "e1")
    MlflowClient(registry.api.url).set_registered_model_alias(name, "champion", "1")

    outcome = release_once(workspace, name)

    assert [(r.channel, r.version, r.previous, r.rollback) for r in outcome.released] == [
        ("stable", "1", None, False),
        ("canary", "1", None, False),
    ]
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    tags = registry.api.version(name, "1").tags
    assert (channel.engine_id, channel.version, channel.engine_sha256) == ("e1", "1", tags[Tag.ENGINE_SHA256])
    assert tags[Tag.APPROVED_BY] == "a person: moved the alias champion in MLflow"
    assert tags[Tag.CHANNELS] == "canary, stable"
    assert tags[Tag.ROLLOUT_STATE].startswith("released to canary at 20")


def test_releasing_twice_is_one_release(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    register(registry, name, "e1")
    registry.api.set_alias(name, "champion", "1")
    release_once(workspace, name)
    versions, model = repository.versions(), registry.api.model(name)

    outcome = release_once(workspace, name)

    assert outcome.released == ()
    assert len(list_releases(workspace.catalog(), name)) == 2
    assert repository.versions() == versions
    assert registry.api.model(name) == model


def test_what_the_gate_refused_is_not_released_until_a_person_writes_why(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    register(registry, name, "good")
    register(registry, name, "sabotaged", decision="reject")
    registry.api.set_alias(name, "champion", "1")
    release_once(workspace, name)
    registry.api.set_alias(name, "champion", "2")

    outcome = release_once(workspace, name)

    assert outcome.released == ()
    assert {(r.channel, r.version) for r in outcome.refused} == {("stable", "2"), ("canary", "2")}
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    assert channel.engine_id == "good"
    assert "the gate refused it" in registry.api.version(name, "2").tags[Tag.ROLLOUT_STATE]

    registry.api.tag_version(name, "2", {Tag.OVERRIDE: "known good by hand"})
    outcome = release_once(workspace, name)
    assert {r.approved_by for r in outcome.released} == {
        "a person: moved the alias champion in MLflow, and overrode the gate: known good by hand"
    }


def test_an_alias_on_an_older_version_is_a_rollback_by_a_newer_channel(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    for engine in ("e1", "e2"):
        number = register(registry, name, engine).number
        registry.api.set_alias(name, "champion", number)
        release_once(workspace, name)
    newer = repository.read_channel(name, "stable")
    registry.api.set_alias(name, "champion", "1")

    outcome = release_once(workspace, name)

    assert all(r.rollback and (r.previous, r.version) == ("2", "1") for r in outcome.released)
    now = repository.read_channel(name, "stable")
    assert newer is not None
    assert now is not None
    assert now.engine_id == "e1"
    assert now.issued_at > newer.issued_at
    left = registry.api.version(name, "2").tags
    assert left[Tag.CHANNELS] == ""
    assert left[Tag.ROLLOUT_STATE].endswith("was rolled back to version 1")


def test_the_canary_alias_leads_its_channel_and_without_it_the_devices_come_back(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    register(registry, name, "e1")
    register(registry, name, "e2")
    registry.api.set_alias(name, "champion", "1")
    registry.api.set_alias(name, "canary", "2")

    release_once(workspace, name)
    carried = {c: repository.read_channel(name, c) for c in ("stable", "canary")}
    assert {c: found.version for c, found in carried.items() if found} == {"stable": "1", "canary": "2"}

    registry.api.delete_alias(name, "canary")
    release_once(workspace, name)
    back = repository.read_channel(name, "canary")
    assert back is not None
    assert back.version == "1"


def test_a_release_that_was_killed_before_the_tags_is_completed_by_the_next(
    workspace: Workspace, registry: Registry, name: str
) -> None:
    register(registry, name, "e1")
    registry.api.set_alias(name, "champion", "1")
    release_once(workspace, name)
    told = registry.api.version(name, "1").tags[Tag.CHANNELS]
    # as if the process had been killed after the channel was signed and before MLflow was told
    registry.api.untag_version(name, "1", Tag.CHANNELS, Tag.ROLLOUT_STATE)
    registry.api.untag_model(name, "andon.channel.stable", "andon.channel.canary")

    assert {(r.channel, r.version) for r in release_once(workspace, name).released} == {
        ("stable", "1"),
        ("canary", "1"),
    }
    assert release_once(workspace, name).released == ()

    assert registry.api.version(name, "1").tags[Tag.CHANNELS] == told
    model = registry.api.model(name)
    assert model is not None
    assert model.tags["andon.channel.stable"] == "1"


def test_one_inspection_in_trouble_does_not_hold_up_another(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    good, bad = f"{name}-good", f"{name}-bad"
    for inspection in (bad, good):
        create_inspection(workspace.catalog(), inspection, [("ok", "ok"), ("defect", "defect")])
        register(registry, inspection, "e1")
        registry.api.set_alias(inspection, "champion", "1")
    registry.api.tag_version(bad, "1", {Tag.ENGINE_SHA256: "0" * 64})
    with pytest.raises(AndonError, match=f"{bad}: .*do not release it") as told:
        release_once(workspace)
    assert f"{good}: stable released to version 1" in str(told.value)
    assert repository.read_channel(good, "stable") is not None
    assert repository.read_channel(bad, "stable") is None
    registry.api.delete_alias(bad, "champion")
