"""Rollouts in stages against a real registry, a real bucket, the real signed repository and real updaters.

One fleet of five lines lives through all of it, in the order of the tests: each begins from whatever version is the
base then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from data.ingest import ingest_heartbeats
from data.inspections import create_inspection
from data.rollouts.stored import act, list_rollouts, newest_rollout
from data.rollouts.values import Rollout, State
from data.workspace import Workspace
from edge_client.contract.bucket import Bucket
from flows.registry import Registry
from flows.release import ReleaseOutcome, release_once
from flows.releases.repository import ReleaseRepository
from flows.sentinel import Sentinel
from flows.stack import registry_of, repository_of
from flows.tags import Tag
from flows.variants import Variant, VariantFile
from flows.wanted import releases_wanted
from tests.integration.flows.challengers import record, register
from tests.integration.flows.stack import Stack
from tests.integration.flows.updating_fleet import Line

NAME = "rolled-out"
POLICY = """
[rollout]
stages = "1 device, 3 devices, 100%"
staged_from = 4
soak_minutes = 0.0
min_frames = 500
"""


@dataclass
class Plant:
    """The fleet with its cloud."""

    workspace: Workspace
    registry: Registry
    repository: ReleaseRepository
    lines: list[Line]
    made: int = 0
    engines: dict[str, str] = field(default_factory=dict)  # version -> engine id

    def promote(self, **more: Any) -> str:
        """Register another version and make it champion. Returns its number."""
        self.made += 1
        version = register(self.registry, NAME, f"e{self.made}", **more)
        self.registry.api.set_alias(NAME, "champion", version.number)
        self.engines[version.number] = f"e{self.made}"
        return version.number

    def turn(self, **more: Any) -> list[str]:
        """Every line looks for a release, serves and tells; what the watch flow does of that follows."""
        engines = [line.turn(**more) for line in self.lines]
        self.look()
        return engines

    def look(self) -> ReleaseOutcome:
        ingest_heartbeats(self.workspace.catalog(), self.workspace.bucket())
        return release_once(self.workspace, NAME)

    @property
    def newest(self) -> Rollout:
        found = newest_rollout(self.workspace.catalog(), NAME, "stable")
        assert found is not None
        return found

    def says(self, what: str, why: str = "") -> None:
        act(self.workspace.catalog(), NAME, "stable", what, who="ann", why=why, at=datetime.now(UTC))

    def carries(self) -> tuple[str, str | None]:
        """The base version that is signed, and the staged one."""
        channel = self.repository.read_channel(NAME, "stable")
        assert channel is not None
        return channel.version, channel.staged.version if channel.staged else None

    def state_tag(self, version: str) -> str:
        return self.registry.api.version(NAME, version).tags[Tag.ROLLOUT_STATE]

    def wanted(self) -> dict[str, str]:
        model = self.registry.api.model(NAME)
        assert model is not None
        return releases_wanted(model)


@pytest.fixture(scope="module")
def plant(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Five lines that all confirmed version 1, and told of it."""
    workspace = stack.workspace
    policy = workspace.home / "policy.toml"
    policy.write_text(POLICY)
    create_inspection(workspace.catalog(), NAME, [("ok", "ok"), ("defect", "defect")])
    folder = tmp_path_factory.mktemp("lines")
    registry, repository = registry_of(workspace), repository_of(workspace, lambda: datetime.now(UTC))
    bucket = workspace.bucket()
    lines = [Line(workspace, bucket, repository, folder, f"staged-{i}", NAME) for i in range(5)]
    made = Plant(workspace, registry, repository, lines)
    made.promote()
    made.look()
    made.turn()
    made.turn()
    yield made
    policy.unlink()


def test_a_good_engine_reaches_all_devices_stage_by_stage(plant: Plant) -> None:
    version = plant.promote()
    plant.look()
    reached = [plant.turn().count("e2") for _ in range(3)]
    assert reached == [1, 3, 5]
    assert plant.newest.state is State.DONE
    assert plant.carries() == (version, None)
    assert plant.registry.api.version(NAME, version).tags[Tag.CHANNELS] == "canary, stable"
    assert plant.wanted() == {}
    assert plant.look() == ReleaseOutcome(), "two runs are one release"


def test_a_bad_engine_stops_at_the_canary_and_is_taken_back(plant: Plant) -> None:
    base, version = plant.newest.version, plant.promote()
    plant.look()
    for _ in range(2):
        assert set(plant.turn(bad=["e3"])) == {"e2"}
    assert (plant.newest.state, plant.newest.stage) == (State.REVERTED, 0)
    assert plant.carries() == (base, None)
    assert sum(line.updater.status().quarantined != () for line in plant.lines) == 1
    assert plant.state_tag(version).startswith("taken back from stable, stage 1 of 3 (1 device): 1 of 1 devices")
    assert plant.wanted() == {}, "a version that was taken back is not released again by itself"


def test_an_engine_that_sees_defects_everywhere_is_taken_back_by_comparison_with_the_controls(plant: Plant) -> None:
    version = plant.promote()
    plant.look()
    plant.says("hold")
    for _ in range(4):
        plant.turn(odd=["e4"])
        if not plant.newest.open:
            break
    assert plant.newest.state is State.REVERTED
    assert "share of defects: +0." in plant.newest.reason
    assert "against 4 controls" in plant.newest.reason
    assert set(plant.turn()) == {"e2"}
    assert "share of defects" in plant.registry.api.version(NAME, version).tags[Tag.EVIDENCE]


def test_a_held_rollout_reaches_nobody_new_until_a_person_says_so(plant: Plant) -> None:
    version = plant.promote()
    plant.look()
    plant.says("hold")
    sentinel = Sentinel(plant.workspace, None)  # type: ignore[arg-type]  # it asks for nothing here
    assert [w.why for w in sentinel.wishes() if w.flow == "release"] == ["the rollout to stable was changed"]
    assert plant.turn().count("e5") == 1
    assert [w for w in sentinel.wishes() if w.flow == "release"] == []
    assert plant.turn().count("e5") == 1
    assert plant.state_tag(version).startswith("held on its way to stable")
    plant.says("advance", "seen it")
    plant.look()
    assert [line.turn() for line in plant.lines].count("e5") == 3
    assert [(e.who, e.what) for e in plant.newest.events[1:]] == [("ann", "hold"), ("ann", "advance")]


def test_a_newer_version_supersedes_the_one_under_way(plant: Plant) -> None:
    base, version = plant.newest.base_version, plant.promote()
    plant.look()
    newest, before = [r for r in list_rollouts(plant.workspace.catalog(), NAME) if r.channel == "stable"][:2]
    assert (newest.version, newest.state, newest.base_version) == (version, State.RUNNING, base)
    assert before.state is State.SUPERSEDED
    assert plant.carries() == (base, version)
    engines = [line.turn() for line in plant.lines]
    assert (engines.count("e6"), engines.count("e5"), engines.count("e2")) == (1, 0, 4)


def test_moving_the_alias_back_takes_the_rollout_back(plant: Plant) -> None:
    base = plant.newest.base_version
    plant.registry.api.set_alias(NAME, "champion", base)
    assert plant.wanted()["stable"] == base
    plant.look()
    assert plant.carries() == (base, None)
    assert [line.turn() for line in plant.lines] == ["e2"] * 5
    assert plant.wanted() == {}


def test_each_device_takes_the_first_file_that_passes_its_own_trial(plant: Plant) -> None:
    twin = record(NAME, "e7-fp32")
    described = Variant(
        engine_id="e7-fp32",
        engine_sha256=sha256(twin.engine).hexdigest(),
        engine_bytes=len(twin.engine),
        variant="fp32",
    )
    for line in plant.lines[:2]:
        line.refuses.add("e7")
    version = plant.promote(variants=(VariantFile(described=described, engine=twin.engine, selftest=twin.selftest),))
    plant.look()
    for _ in range(3):
        engines = plant.turn()
    assert engines == ["e7-fp32"] * 2 + ["e7"] * 3
    assert plant.newest.state is State.DONE
    assert plant.carries() == (version, None)


class Cut(BaseException):
    """The power went."""


class Fuse:
    """Cuts at the first point whose name has these words in it."""

    def __init__(self, words: str) -> None:
        self.words, self.name = words, ""

    def point(self, name: str) -> None:
        if self.words in name and not self.name:
            self.name = name
            raise Cut(name)


class FusedBucket:
    """A bucket with a point before and after every write."""

    def __init__(self, inner: Bucket, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, key: str, *args: Any, **kwargs: Any) -> None:
        self._fuse.point(f"before put {key}")
        self._inner.put(key, *args, **kwargs)
        self._fuse.point(f"after put {key}")


@dataclass(frozen=True, kw_only=True)
class FusedWorkspace(Workspace):
    """An installation whose bucket has points."""

    fuse: Fuse

    def bucket(self) -> Bucket:
        return FusedBucket(Workspace.bucket(self), self.fuse)  # type: ignore[return-value]


CUTS = (
    "after put releases/targets/engines/",  # an engine that no metadata names yet
    "before put releases/metadata/timestamp.json",  # approved, but not in force
    "after commit",  # the rollout begun, and nothing signed
    "after put releases/targets/channels/",  # its document written, and not named
    "rollouts.json",  # named by metadata that is not in force
    "after put releases/metadata/timestamp.json",  # in force, and nobody told
)


def cut_at(plant: Plant, words: str) -> str:
    """Run the release until it passes a point with these words in its name. Returns the point, "" for none."""
    fuse = Fuse(words)

    def committed(session: Session) -> None:
        fuse.point("after commit")

    values = {name: getattr(plant.workspace, name) for name in Workspace.__dataclass_fields__}
    event.listen(Session, "after_commit", committed)
    try:
        release_once(FusedWorkspace(**values, fuse=fuse), NAME)
    except Cut:
        pass
    finally:
        event.remove(Session, "after_commit", committed)
    carried, newest = plant.carries(), plant.newest
    assert carried in {(newest.base_version, None), (newest.base_version, newest.version), (newest.version, None)}
    return fuse.name


def test_a_run_that_is_cut_anywhere_is_completed_by_the_next(plant: Plant) -> None:
    version = plant.promote()
    passed = [cut_at(plant, words) for words in CUTS]
    assert all(passed), passed
    plant.look()
    begun = [r for r in list_rollouts(plant.workspace.catalog(), NAME) if r.version == version]
    assert sorted(r.channel for r in begun) == ["canary", "stable"]
    assert plant.newest.state is State.RUNNING
    assert plant.carries()[1] == version
    assert [line.turn() for line in plant.lines].count("e8") == 1
    ingest_heartbeats(plant.workspace.catalog(), plant.workspace.bucket())
    passed = [cut_at(plant, words) for words in CUTS[2:]]
    assert all(passed), passed
    plant.look()
    assert (plant.newest.state, plant.newest.stage) == (State.RUNNING, 1)
    assert plant.newest.revision == plant.newest.signed_revision
    assert plant.state_tag(version).startswith("rolling out to stable, stage 2 of 3 (3 devices)")


_KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.orm import Session
from data.workspace import Workspace
from flows.release import release_once

event.listen(Session, "after_commit", lambda session: os.kill(os.getpid(), signal.SIGKILL))
release_once(Workspace.open(Path(sys.argv[1]), environ={}), sys.argv[2])
"""


def test_a_process_that_is_killed_after_its_decision_leaves_it_to_the_next(plant: Plant) -> None:
    [line.turn() for line in plant.lines]
    ingest_heartbeats(plant.workspace.catalog(), plant.workspace.bucket())
    before = plant.carries()
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    child = subprocess.run(
        [sys.executable, "-c", _KILLED, str(plant.workspace.home), NAME], env=environment, timeout=300, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert (plant.newest.stage, plant.newest.state) == (2, State.RUNNING)
    assert plant.newest.revision != plant.newest.signed_revision
    assert plant.carries() == before
    plant.look()
    assert [line.turn() for line in plant.lines] == ["e8"] * 5
    plant.look()
    assert plant.newest.state is State.DONE
    assert plant.newest.reason.startswith("5 of 5 devices confirmed")
