"""What people may do to a rollout. Pure: each act takes a rollout and returns the next one, or says why not.

1. `hold`: nobody new gets the version. `resume` goes on.
2. `advance`: the next stage begins now, whatever the evidence says; after the last one the rollout is done.
3. `halt`: as it is, and not even a stage that is ready begins; evidence changes nothing any more.
4. `revert`: back to the base, at once. `resume` of a reverted rollout begins it anew, from its first stage, with
   another salt: other devices go first.
5. A rollout that is done or superseded is history: going back from it is a rollback, a new rollout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from data.rollouts.values import MOST_EVENTS, Event, Rollout, RolloutError, State


def changed(
    rollout: Rollout, state: State, *, who: str, what: str, why: str, at: datetime, stage: int | None = None
) -> Rollout:
    """A rollout in another state or at another stage, with the event that says so."""
    moved = stage is not None and stage != rollout.stage
    return replace(
        rollout,
        state=state,
        stage=rollout.stage if stage is None else stage,
        stage_at=at if moved else rollout.stage_at,
        ready_at=None if moved else rollout.ready_at,
        reason=why,
        revision=rollout.revision + 1,
        events=(*rollout.events, Event(at=at, who=who, what=what, why=why))[-MOST_EVENTS:],
    )


def hold(rollout: Rollout, who: str, why: str, at: datetime) -> Rollout:
    """Rule 1."""
    _must(rollout, {State.RUNNING}, "hold")
    return changed(rollout, State.HELD, who=who, what="hold", why=why or f"held by {who}", at=at)


def resume(rollout: Rollout, who: str, why: str, at: datetime) -> Rollout:
    """Rules 1 and 4."""
    if rollout.state is State.REVERTED:
        return again(rollout, who, why, at)
    _must(rollout, {State.HELD, State.HALTED}, "resume")
    return changed(rollout, State.RUNNING, who=who, what="resume", why=why or f"resumed by {who}", at=at)


def again(rollout: Rollout, who: str, why: str, at: datetime) -> Rollout:
    """A reverted rollout from its beginning (rule 4), to be stored as a new one."""
    attempt, _, tries = rollout.salt.partition("#")
    return replace(
        rollout,
        id=0,
        state=State.RUNNING,
        stage=0,
        salt=f"{attempt}#{int(tries or 1) + 1}",
        reason=why or f"begun anew by {who}",
        started_at=at,
        stage_at=at,
        ready_at=None,
        revision=1,
        signed_revision=0,
        evidence={},
        events=(Event(at=at, who=who, what="resume", why=why or "begun anew after it was reverted"),),
    )


def advance(rollout: Rollout, who: str, why: str, at: datetime) -> Rollout:
    """Rule 2."""
    _must(rollout, {State.RUNNING, State.HELD, State.HALTED}, "advance")
    why = why or f"by {who}, whatever the evidence says"
    if rollout.at_last:
        return changed(rollout, State.DONE, who=who, what="done", why=why, at=at)
    return changed(rollout, State.RUNNING, who=who, what="advance", why=why, at=at, stage=rollout.stage + 1)


def halt(rollout: Rollout, who: str, why: str, at: datetime) -> Rollout:
    """Rule 3."""
    _must(rollout, {State.RUNNING, State.HELD}, "halt")
    return changed(rollout, State.HALTED, who=who, what="halt", why=why or f"halted by {who}", at=at)


def revert(rollout: Rollout, who: str, why: str, at: datetime) -> Rollout:
    """Rule 4."""
    _must(rollout, {State.RUNNING, State.HELD, State.HALTED}, "revert")
    return changed(rollout, State.REVERTED, who=who, what="revert", why=why or f"reverted by {who}", at=at)


Act = Callable[[Rollout, str, str, datetime], Rollout]
ACTS: Mapping[str, Act] = {"hold": hold, "resume": resume, "advance": advance, "halt": halt, "revert": revert}


def possible(rollout: Rollout) -> tuple[str, ...]:
    """The acts that the rollout's state allows."""
    return {
        State.RUNNING: ("hold", "advance", "halt", "revert"),
        State.HELD: ("resume", "advance", "halt", "revert"),
        State.HALTED: ("resume", "advance", "revert"),
        State.REVERTED: ("resume",),
    }.get(rollout.state, ())


def _must(rollout: Rollout, allowed: set[State], act: str) -> None:
    if rollout.state in allowed:
        return
    can = ", ".join(possible(rollout)) or "nothing; a rollback is `andon rollback`, a new release `andon release`"
    raise RolloutError(
        f"the rollout of version {rollout.version} to {rollout.channel} of {rollout.inspection} is "
        f"{rollout.state.value}, so it cannot {act}: it can {can}"
    )
