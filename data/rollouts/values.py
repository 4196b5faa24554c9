"""A rollout: one version on its way to the devices of one channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from data.rollouts.stages import Stage
from edge_client.contract.errors import AndonError
from edge_client.contract.releases import NamedEngine

MOST_EVENTS = 500


class RolloutError(AndonError):
    """What was asked of a rollout can't be done; the message says how it stands and what can."""


class State(Enum):
    """How a rollout stands."""

    RUNNING = "running"  # goes on by itself as evidence comes in
    HELD = "held"  # nobody new gets the version until a person says so; bad evidence still stops it
    HALTED = "halted"  # stopped: who has the version keeps it, nobody new gets it
    REVERTED = "reverted"  # taken back: who had the version goes back to the base
    DONE = "done"  # the version is the channel's base now
    SUPERSEDED = "superseded"  # a newer rollout took its place


OPEN = frozenset({State.RUNNING, State.HELD, State.HALTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a rollout: who did what, and why."""

    at: datetime
    who: str
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One rollout. Everything that is signed for its channel follows from this value alone.

    Attributes:
        id: 0 until it is stored.
        engines: The version's files, in order of preference.
        base_version: What the other devices run meanwhile, and what a revert goes back to; "" for none.
        base: The base version's files.
        salt: Places devices; another one for each rollout.
        stages: Resolved.
        stage: Index of the stage that was reached.
        stage_at: When it was reached.
        ready_at: Since when enough of the stage's devices have confirmed; the soak time counts from it.
        reason: Why it stands as it does, in a sentence.
        revision: Rises with every change; what was read as one revision is not written over another.
        signed_revision: The revision that the channel was last signed for.
        evidence: What the devices tell, as JSON, for people.
        events: Oldest first.
    """

    id: int = 0
    inspection: str
    channel: str
    version: str
    engines: tuple[NamedEngine, ...]
    base_version: str
    base: tuple[NamedEngine, ...]
    salt: str
    stages: tuple[Stage, ...]
    stage: int = 0
    state: State = State.RUNNING
    reason: str = ""
    started_at: datetime
    stage_at: datetime
    ready_at: datetime | None = None
    revision: int = 1
    signed_revision: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    @property
    def open(self) -> bool:
        """Whether devices run two versions because of it."""
        return self.state in OPEN

    @property
    def done(self) -> bool:
        """Whether its version is the channel's base."""
        return self.state is State.DONE

    @property
    def at_last(self) -> bool:
        """Whether every device was reached."""
        return self.stage == len(self.stages) - 1

    @property
    def digests(self) -> frozenset[str]:
        """Digests of the version's files."""
        return frozenset(engine.engine_sha256 for engine in self.engines)

    @property
    def base_digests(self) -> frozenset[str]:
        """Digests of the base version's files."""
        return frozenset(engine.engine_sha256 for engine in self.base)

    def stage_words(self) -> str:
        """Where it is, for people.

        Written ``stage 2 of 4 (10%)``.
        """
        return f"stage {self.stage + 1} of {len(self.stages)} ({self.stages[self.stage].text})"
