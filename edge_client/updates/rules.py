r"""When a device changes its engine: the rules, without disk, network or clock.

The state is one frozen value. Each function takes what is and what happened and returns what is next; the shell
(`updater.py`) stores the new state durably *before* it acts on it, so that a crash between two lines is one of the
states below.

     refresh -> download -> trial -> swap -> probation -> confirm
                                        \-> fall back + quarantine

 1. There is always an engine: `active` and `good` each name the factory engine or a slot that holds one.
 2. STEADY: `active` is `good`. PROBATION: `active` is a slot that is not yet confirmed, `good` the last good one.
 3. A download goes to a slot that is neither `active` nor `good`; the slot is empty in the state until the file is
    durable.
 4. A release is staged only when its digest was verified; it becomes active only after a passed trial.
 5. A failure of the engine (trial, load, wrong answers, crash loop) quarantines its digest: it is not staged or run
    again before the quarantine ends (rule 13).
 6. A failure of network or disk changes nothing but is tried again: it never quarantines. A trial that was killed or
    ran out of time may be the machine's fault: it counts as the engine's only the third time.
 7. Probation ends with `confirmed` after enough good answers, with the last good engine after a failure.
 8. A release that names an engine this device holds and once confirmed (an operator's rollback) is taken at once.
 9. A different release while one is on trial or probation replaces it: back to `good` first, without quarantine.
10. An engine that is on the deny-list is left for the best engine that is not; the factory engine is the last resort
    and stays even when denied, since a device is never without an engine.
11. Starts that never get as far as healthy answers are counted. On probation the third one is a failure of the
    engine; of a confirmed engine the fifth is, and the device falls back to its other confirmed slot or the factory
    engine.
12. A damaged or missing file empties its slot (disk, so no quarantine); the next best engine serves.
13. A quarantine ends after a time, by the times that the cloud signs: whatever this device's clock says, it ends
    neither early nor never. It begins with the first signed time that is seen after the failure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

MAX_QUARANTINE = 100  # what a heartbeat may carry; the oldest go first


class Place(Enum):
    """Where an engine is kept."""

    FACTORY = "factory"  # in the application's own package
    A = "a"
    B = "b"


class Phase(Enum):
    """How far a change of engine is."""

    STEADY = "steady"  # running the last good engine; nothing is pending
    STAGED = "staged"  # a verified release is on disk and waits for its trial
    PROBATION = "probation"  # a release passed its trial and is being watched in service


class Outcome(Enum):
    """What became of the newest release; the values are those of the heartbeat."""

    NONE = "none"
    TRIAL = "trial"
    PROBATION = "probation"
    CONFIRMED = "confirmed"
    QUARANTINED = "quarantined"
    FAILED = "failed"  # refused, or network or disk: will be tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An engine on disk."""

    engine_sha256: str
    engine_id: str
    version: str = ""
    engine_bytes: int = 0
    selftest_sha256: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The newest release and what became of it here."""

    engine_sha256: str = ""
    engine_id: str = ""
    version: str = ""
    outcome: Outcome = Outcome.NONE
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is needed to confirm or to give up. Counts, not seconds: a line that stands still proves nothing."""

    probation_frames: int = 200
    probation_failures: int = 0  # a release on probation may fail so often
    service_failures: int = 10  # a confirmed engine may fail so often in a row
    latency_ms: float = 2000.0  # median over probation; a frame a camera took long ago is worthless
    latency_frames: int = 20  # answers before the latency is judged
    trial_attempts: int = 3
    probation_starts: int = 3
    service_starts: int = 5
    healthy_frames: int = 5  # good answers after which a start counts as healthy
    quarantine_days: float = 30.0  # a device's own trouble (heat, memory) passes; a bad engine is found again


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateState:
    """Everything that must survive a power cut."""

    phase: Phase = Phase.STEADY
    active: Place = Place.FACTORY
    good: Place = Place.FACTORY
    a: Installed | None = None
    b: Installed | None = None
    trial_attempts: int = 0
    starts: int = 0
    target: Target = field(default_factory=Target)
    quarantine: tuple[tuple[str, str], ...] = ()  # (digest, reason)
    quarantine_ends: tuple[tuple[str, datetime], ...] = ()  # (digest, signed time), once it is known

    def at(self, place: Place) -> Installed | None:
        """What a slot holds; None for an empty one and for the factory engine, which is no slot."""
        return {Place.A: self.a, Place.B: self.b}.get(place)

    def staged(self) -> Place | None:
        """The slot whose release waits for its trial."""
        return free_slot(self) if self.phase is Phase.STAGED else None

    def quarantined(self, digest: str) -> str | None:
        """Why a digest is in quarantine, or None."""
        return dict(self.quarantine).get(digest)


class Step(Enum):
    """What the shell must do about a release that the channel names."""

    NOTHING = "nothing"  # it runs already, or is being watched
    REFUSE = "refuse"  # quarantined or denied
    DOWNLOAD = "download"  # into the free slot
    TRY = "try"  # it is staged: run the trial
    SWITCH = "switch"  # the state already names the engine to run: load it and swap


def free_slot(state: UpdateState) -> Place:
    """The slot that may be overwritten (rule 3).

    STEADY on a slot: the other one. On the factory engine: an empty slot, else the one that was never confirmed, else
    B.
    """
    taken = {state.active, state.good}
    free = [p for p in (Place.A, Place.B) if p not in taken]
    if not free:
        raise AssertionError(f"rule 3 broken: both slots are in use in {state}")
    if len(free) == 1:
        return free[0]
    for place in free:
        if (held := state.at(place)) is not None and not held.confirmed:
            return place  # staged or abandoned
    for place in free:
        if state.at(place) is None:
            return place
    return Place.B


def held_at(state: UpdateState, digest: str, factory_sha256: str) -> Place | None:
    """Where a digest is held as an engine that may serve again: a confirmed slot, or the factory."""
    for place in (state.active, Place.A, Place.B):
        held = state.at(place)
        if held is not None and held.engine_sha256 == digest and held.confirmed:
            return place
    return Place.FACTORY if digest == factory_sha256 else None


def offered(
    state: UpdateState, release: Target, *, factory_sha256: str, denied: Collection[str] = ()
) -> tuple[UpdateState, Step]:
    """The channel names a release (rules 5, 8, 9, 10).

    Args:
        state: What is.
        release: What the channel names; its outcome is ignored.
        factory_sha256: Digest of the factory engine.
        denied: Digests on the deny-list.
    """
    digest = release.engine_sha256
    if digest in denied:
        reason = "the engine is on the deny-list of the device's settings"
        return _with_target(state, release, Outcome.FAILED, reason), Step.REFUSE
    if (reason_then := state.quarantined(digest)) is not None:
        return _with_target(state, release, Outcome.QUARANTINED, reason_then), Step.REFUSE
    running = state.at(state.active)
    if state.phase is Phase.PROBATION:
        if running is not None and running.engine_sha256 == digest:
            return _with_target(state, release, Outcome.PROBATION), Step.NOTHING
        state, changed = back_to_good(state), True
    else:
        changed = False
    waiting = state.staged()
    if waiting is not None:
        held = state.at(waiting)
        if held is not None and held.engine_sha256 == digest:
            return _with_target(state, release, Outcome.TRIAL), Step.TRY
        state = _with_slot(replace(state, phase=Phase.STEADY, trial_attempts=0), waiting, None)
    place = held_at(state, digest, factory_sha256)
    if place is not None:
        confirmed = _with_target(state, release, Outcome.CONFIRMED)
        if place is state.active:
            return confirmed, Step.SWITCH if changed else Step.NOTHING
        return replace(confirmed, active=place, good=place, starts=0), Step.SWITCH
    return _with_target(state, release, Outcome.TRIAL), Step.DOWNLOAD


def download_begins(state: UpdateState) -> tuple[UpdateState, Place]:
    """Empty the free slot before its file is touched (rule 3)."""
    place = free_slot(state)
    return _with_slot(replace(state, phase=Phase.STEADY, trial_attempts=0), place, None), place


def download_failed(state: UpdateState, reason: str) -> UpdateState:
    """Network, disk, or an object that is not what was signed: to be tried again (rule 6)."""
    return replace(state, target=replace(state.target, outcome=Outcome.FAILED, reason=reason))


def downloaded(state: UpdateState, place: Place, engine: Installed) -> UpdateState:
    """The verified file is durable (rule 4)."""
    if place is not free_slot(state) or state.quarantined(engine.engine_sha256) is not None:
        raise AssertionError(f"rules 3 to 5 broken: {engine.engine_sha256} staged in {place} of {state}")
    staged = _with_slot(state, place, replace(engine, confirmed=False))
    return replace(staged, phase=Phase.STAGED, trial_attempts=0)


def trial_begins(state: UpdateState) -> UpdateState:
    """Count the attempt before it is made: it may take this process with it."""
    return replace(state, trial_attempts=state.trial_attempts + 1)


def trial_passed(state: UpdateState) -> UpdateState:
    """Switch to the staged engine (rules 2 and 4)."""
    place = state.staged()
    if place is None or state.at(place) is None:
        raise AssertionError(f"rule 4 broken: no staged release in {state}")
    target = replace(state.target, outcome=Outcome.PROBATION, reason="")
    return replace(state, phase=Phase.PROBATION, active=place, starts=0, trial_attempts=0, target=target)


def trial_failed(state: UpdateState, reason: str, *, certain: bool, limits: Limits) -> UpdateState:
    """The trial did not pass.

    Args:
        state: What is.
        reason: What was found.
        certain: True when the engine is at fault; False when it was killed or too slow to tell (rule 6).
        limits: How many attempts it has.
    """
    place = state.staged()
    held = state.at(place) if place is not None else None
    if place is None or held is None:
        return state
    if not certain and state.trial_attempts < limits.trial_attempts:
        return replace(state, target=replace(state.target, outcome=Outcome.FAILED, reason=reason))
    emptied = _with_slot(replace(state, phase=Phase.STEADY, trial_attempts=0), place, None)
    return _quarantine(emptied, held, reason)


def confirmed(state: UpdateState) -> UpdateState:
    """Probation passed (rule 7)."""
    held = state.at(state.active)
    if state.phase is not Phase.PROBATION or held is None:
        return state
    kept = _with_slot(state, state.active, replace(held, confirmed=True))
    target = state.target
    if target.engine_sha256 == held.engine_sha256:
        target = replace(target, outcome=Outcome.CONFIRMED, reason="")
    return replace(kept, phase=Phase.STEADY, good=state.active, starts=0, target=target)


def engine_failed(state: UpdateState, reason: str) -> UpdateState:
    """The active engine is at fault: quarantine it and run the next best (rules 5, 7, 11)."""
    held = state.at(state.active)
    if held is None:
        return replace(state, starts=0)  # the factory engine: nothing to fall back to
    return _quarantine(_without_active(state), held, reason)


def active_denied(state: UpdateState, denied: Collection[str]) -> UpdateState:
    """Leave engines that the settings deny (rule 10)."""
    for _ in range(2):
        held = state.at(state.active)
        if held is None or held.engine_sha256 not in denied:
            return state
        state = _without_active(state)
    return state


def slot_damaged(state: UpdateState, place: Place) -> UpdateState:
    """A slot's file is missing or not what was stored (rule 12)."""
    if state.at(place) is None:
        return state
    if place is state.active:
        return _without_active(state)
    emptied = _with_slot(state, place, None)
    if state.phase is Phase.STAGED and state.staged() is place:
        return replace(emptied, phase=Phase.STEADY, trial_attempts=0)
    if place is state.good:  # on probation: the factory engine is what is left to fall back to
        return replace(emptied, good=Place.FACTORY)
    return emptied


def started(state: UpdateState, limits: Limits) -> UpdateState:
    """A process begins to use the engine: count it, and leave an engine that never gets going (rule 11)."""
    most = limits.probation_starts if state.phase is Phase.PROBATION else limits.service_starts
    if state.starts >= most and state.at(state.active) is not None:
        state = engine_failed(state, f"crash loop: {state.starts} starts in a row ended before the engine served")
    return replace(state, starts=state.starts + 1)


def healthy(state: UpdateState) -> UpdateState:
    """This start served enough good answers, or ended in order."""
    return replace(state, starts=0)


def back_to_good(state: UpdateState) -> UpdateState:
    """Leave probation without blaming the engine (rule 9)."""
    if state.phase is not Phase.PROBATION:
        return state
    emptied = _with_slot(state, state.active, None)
    return replace(emptied, phase=Phase.STEADY, active=state.good, starts=0)


def forgiven(state: UpdateState, digest: str) -> UpdateState:
    """A person takes a digest out of quarantine."""
    return _without_quarantine(state, {digest})


def quarantines_aged(state: UpdateState, signed_time: datetime, limits: Limits) -> UpdateState:
    """A signed time was seen: date what was quarantined since the last one, and end what has lasted (rule 13)."""
    ends = dict(state.quarantine_ends)
    lasts = timedelta(days=limits.quarantine_days)
    ends = {digest: ends.get(digest, signed_time + lasts) for digest, _ in state.quarantine}
    dated = replace(state, quarantine_ends=tuple(ends.items()))
    return _without_quarantine(dated, {digest for digest, end in ends.items() if end <= signed_time})


def _without_active(state: UpdateState) -> UpdateState:
    """Empty the active slot and serve the next best engine: last good, other confirmed slot, factory."""
    emptied = _with_slot(state, state.active, None)
    if state.phase is Phase.PROBATION:
        return replace(emptied, phase=Phase.STEADY, active=state.good, starts=0)
    other = Place.B if state.active is Place.A else Place.A
    held = emptied.at(other)
    place = other if held is not None and held.confirmed else Place.FACTORY
    if state.phase is Phase.STAGED and place is Place.FACTORY:
        # the staged release keeps waiting, in the only slot that is filled
        return replace(emptied, active=place, good=place, starts=0)
    return replace(emptied, phase=Phase.STEADY, active=place, good=place, starts=0, trial_attempts=0)


def _quarantine(state: UpdateState, engine: Installed, reason: str) -> UpdateState:
    digest = engine.engine_sha256
    rest = _without_quarantine(state, {digest})
    state = replace(rest, quarantine=(*rest.quarantine, (digest, reason))[-MAX_QUARANTINE:])
    if state.target.engine_sha256 == digest:
        state = replace(state, target=replace(state.target, outcome=Outcome.QUARANTINED, reason=reason))
    return state


def _without_quarantine(state: UpdateState, digests: Collection[str]) -> UpdateState:
    return replace(
        state,
        quarantine=tuple(q for q in state.quarantine if q[0] not in digests),
        quarantine_ends=tuple(e for e in state.quarantine_ends if e[0] not in digests),
    )


def _with_slot(state: UpdateState, place: Place, engine: Installed | None) -> UpdateState:
    if place is Place.A:
        return replace(state, a=engine)
    if place is Place.B:
        return replace(state, b=engine)
    raise AssertionError("the factory engine is never written")


def _with_target(state: UpdateState, release: Target, outcome: Outcome, reason: str = "") -> UpdateState:
    same = state.target.engine_sha256 == release.engine_sha256
    if same and outcome is Outcome.TRIAL and state.target.outcome is Outcome.FAILED:
        return state  # keep the reason of the last attempt until this one says more
    return replace(state, target=replace(release, outcome=outcome, reason=reason))
