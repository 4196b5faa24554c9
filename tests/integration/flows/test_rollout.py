"""Rollouts in stages against a real registry, a real bucket, the real signed repository and real updaters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.ingest import ingest_heartbeats
from data.rollouts.stored import act, list_rollouts, newest_rollout
from data.rollouts.values import State
from data.workspace import Workspace
from flows.registry import Registry
from flows.release import ReleaseOutcome, release_once
from flows.releases.repository import ReleaseRepository
from flows.tags import Tag
from flows.wanted import releases_wanted
from tests.integration.flows.challengers import register
from tests.integration.flows.updating_fleet import Line

POLICY = """
[rollout]
stages = "1 device, 50%, 100%"
staged_from = 4
soak_minutes = 0.0
min_frames = 500
"""


@pytest.fixture
def policy(workspace: Workspace) -> Iterator[Path]:
    """A policy whose stages follow one another as fast as evidence comes in."""
    path = workspace.home / "policy.toml"
    path.write_text(POLICY)
    yield path
    path.unlink()


@pytest.fixture
def lines(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str, tmp_path: Path, policy: Path
) -> list[Line]:
    """Six devices that all confirmed version 1, and told of it twice."""
    register(registry, name, "e1")
    registry.api.set_alias(name, "champion", "1")
    made = [Line(workspace, repository, tmp_path, f"{name}-line-{i}", name) for i in range(6)]
    release_once(workspace, name)
    for _ in range(3):
        for line in made:
            line.turn()
        look(workspace, name)
    register(registry, name, "e2")
    registry.api.set_alias(name, "champion", "2")
    return made


def look(workspace: Workspace, name: str) -> ReleaseOutcome:
    """What the watch flow does of this: take over heartbeats, look at rollouts."""
    ingest_heartbeats(workspace.catalog(), workspace.bucket())
    return release_once(workspace, name)


def state_of(workspace: Workspace, name: str) -> tuple[State, int]:
    newest = newest_rollout(workspace.catalog(), name, "stable")
    assert newest is not None
    return newest.state, newest.stage


def test_a_good_engine_reaches_all_devices_stage_by_stage(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str, lines: list[Line]
) -> None:
    release_once(workspace, name)
    reached = []
    for _ in range(12):
        engines = [line.turn() for line in lines]
        reached.append(engines.count("e2"))
        look(workspace, name)
        if state_of(workspace, name)[0] is State.DONE:
            break
    assert reached[0] == 1
    assert sorted(set(reached)) == sorted(reached) or reached == sorted(reached)
    assert reached[-1] == 6
    assert any(1 < n < 6 for n in reached)
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    assert (channel.version, channel.staged) == ("2", None)
    tags = registry.api.version(name, "2").tags
    assert tags[Tag.CHANNELS] == "canary, stable"
    model = registry.api.model(name)
    assert model is not None
    assert releases_wanted(model) == {}


def test_a_bad_engine_halts_at_the_canary_stage_and_is_taken_back(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str, lines: list[Line]
) -> None:
    release_once(workspace, name)
    for _ in range(4):
        engines = [line.turn(bad=["e2"]) for line in lines]
        assert engines.count("e2") == 0
        look(workspace, name)
    assert state_of(workspace, name) == (State.REVERTED, 0)
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    assert (channel.version, channel.staged) == ("1", None)
    assert sum(line.updater.status().quarantined != () for line in lines) == 1
    tags = registry.api.version(name, "2").tags
    assert tags[Tag.ROLLOUT_STATE].startswith("taken back from stable, stage 1 of 3 (1 device): 1 of 1 devices")
    model = registry.api.model(name)
    assert model is not None
    assert releases_wanted(model) == {}, "a version that was taken back is not released again by itself"


def test_an_engine_that_sees_defects_everywhere_is_taken_back_by_the_comparison_with_controls(
    workspace: Workspace, name: str, lines: list[Line]
) -> None:
    act_hold(workspace, name)  # held at the canary, so that evidence alone decides
    for _ in range(6):
        for line in lines:
            line.turn(odd=["e2"])
        look(workspace, name)
        if state_of(workspace, name)[0] is State.REVERTED:
            break
    newest = newest_rollout(workspace.catalog(), name, "stable")
    assert newest is not None
    assert newest.state is State.REVERTED
    assert "share of defects: +0.5" in newest.reason or "share of defects: +0.6" in newest.reason
    assert [line.turn() for line in lines] == ["e1"] * 6
    assert all(line.updater.status().quarantined == () for line in lines)


def act_hold(workspace: Workspace, name: str) -> None:
    release_once(workspace, name)
    act(workspace.catalog(), name, "stable", "hold", who="ann", why="", at=datetime.now(UTC))


def test_a_held_rollout_reaches_nobody_new_and_goes_on_when_a_person_says_so(
    workspace: Workspace, registry: Registry, name: str, lines: list[Line]
) -> None:
    act_hold(workspace, name)
    for _ in range(2):
        assert [line.turn() for line in lines].count("e2") == 1
        look(workspace, name)
    assert registry.api.version(name, "2").tags[Tag.ROLLOUT_STATE].startswith("held on its way to stable")
    act(workspace.catalog(), name, "stable", "advance", who="ann", why="seen it", at=datetime.now(UTC))
    release_once(workspace, name)
    assert 1 < [line.turn() for line in lines].count("e2") < 6
    newest = newest_rollout(workspace.catalog(), name, "stable")
    assert newest is not None
    assert [(e.who, e.what) for e in newest.events[1:]] == [("ann", "hold"), ("ann", "advance")]


def test_a_newer_version_supersedes_the_one_under_way(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str, lines: list[Line]
) -> None:
    release_once(workspace, name)
    for line in lines:
        line.turn()
    register(registry, name, "e3")
    registry.api.set_alias(name, "champion", "3")
    release_once(workspace, name)
    newest, before = list_rollouts(workspace.catalog(), name, limit=2)
    if newest.channel == "canary":
        newest, before = [r for r in list_rollouts(workspace.catalog(), name) if r.channel == "stable"][:2]
    assert (newest.version, newest.state) == ("3", State.RUNNING)
    assert (before.version, before.state) == ("2", State.SUPERSEDED)
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    assert channel.staged is not None
    assert (channel.version, channel.staged.version) == ("1", "3")
    engines = [line.turn() for line in lines]
    assert (engines.count("e3"), engines.count("e2")) == (1, 0)


def test_moving_the_alias_back_takes_the_rollout_back(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str, lines: list[Line]
) -> None:
    release_once(workspace, name)
    for line in lines:
        line.turn()
    registry.api.set_alias(name, "champion", "1")
    model = registry.api.model(name)
    assert model is not None
    assert releases_wanted(model)["stable"] == "1"
    release_once(workspace, name)
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    assert (channel.version, channel.staged) == ("1", None)
    assert [line.turn() for line in lines] == ["e1"] * 6
    model = registry.api.model(name)
    assert model is not None
    assert releases_wanted(model) == {}
