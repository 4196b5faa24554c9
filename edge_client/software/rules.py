r"""When a device changes its client software: the rules, without disk, process or clock.

The state is one frozen value that `store.py` writes durably *before* it is acted on. The upgrader in the client and
the launcher above it apply these functions, each under the store's lock.

     download -> build -> self-check -> staged -> standing by -> in service on probation -> confirmed
                             \-> quarantine          \--------------\-> back to the good one + quarantine

 1. There is always a client to start: `active` and `good` each name the base (what was installed by hand, with the
    launcher) or a filled environment. The base is never written.
 2. STEADY and STAGED: `active` is `good`. PROBATION: `active` is an environment not yet confirmed, `good` the last one
    that was.
 3. An environment is built in a place that is neither `active` nor `good`, and that place is empty in the state until
    all files are durable and the self-check has passed.
 4. A release becomes active only from STAGED.
 5. A release that fails its self-check, or that on probation ends by itself, hangs, or does not stand by or get ready
    in time, is left at once and its digest quarantined: it is not built again until a person forgives it.
 6. What may be the machine's fault (killed from outside, out of time in a self-check, a power cut) counts the third
    time. Network and disk never count.
 7. A confirmed release whose starts end early five times in a row is left likewise, for the other confirmed
    environment or the base.
 8. Only STAGED releases are newer to this device by decision of the cloud: going back to a confirmed environment is a
    switch without a build.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

MAX_QUARANTINE = 50


class Place(Enum):
    """Where a client is installed."""

    BASE = "base"  # by hand, with the launcher
    A = "a"
    B = "b"


class Phase(Enum):
    """How far an upgrade is."""

    STEADY = "steady"
    STAGED = "staged"  # an environment passed its self-check and waits for the launcher
    PROBATION = "probation"  # it is in service and being watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An installed release: its version, and the digest of the client's own wheel."""

    version: str
    digest: str
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is enough to confirm or to give up.

    Attributes:
        stand_by_seconds: To get as far as waiting for the state folder.
        start_seconds: From there to being ready.
        hang_seconds: Longest silence of a client that was ready.
        probation_seconds: In service without a fault.
        probation_requests: That many answers confirm sooner, but not before `healthy_seconds`.
        healthy_seconds: After which a start counts as healthy.
        attempts: Self-checks that may end without a verdict.
        probation_starts: Starts on probation that may be cut short from outside.
        service_starts: Early ends in a row of a confirmed release.
    """

    stand_by_seconds: float = 60.0
    start_seconds: float = 60.0
    hang_seconds: float = 30.0
    probation_seconds: float = 120.0
    probation_requests: int = 500
    healthy_seconds: float = 60.0
    attempts: int = 3
    probation_starts: int = 3
    service_starts: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareState:
    """Everything that must survive a power cut.

    Attributes:
        attempts: Self-checks of `attempted` that ended without a verdict.
        attempted: Their digest.
        starts: Starts of the active release since it was last healthy.
        note: What became of the newest release here, for people.
        quarantine: (digest, version, reason), oldest first.
    """

    phase: Phase = Phase.STEADY
    active: Place = Place.BASE
    good: Place = Place.BASE
    a: Environment | None = None
    b: Environment | None = None
    attempts: int = 0
    attempted: str = ""
    starts: int = 0
    note: str = ""
    quarantine: tuple[tuple[str, str, str], ...] = ()

    def at(self, place: Place) -> Environment | None:
        """What a place holds; None for an empty one and for the base."""
        return {Place.A: self.a, Place.B: self.b}.get(place)

    def quarantined(self, digest: str) -> str | None:
        """Why a digest is in quarantine, or None."""
        return next((reason for held, _, reason in self.quarantine if held == digest), None)

    def staged(self) -> Place | None:
        """The place that waits for the launcher."""
        return free_place(self) if self.phase is Phase.STAGED else None


def free_place(state: SoftwareState) -> Place:
    """The place that may be built in (rule 3): never the active or the good one, an unconfirmed one first."""
    free = [p for p in (Place.A, Place.B) if p not in (state.active, state.good)]
    if not free:
        raise AssertionError(f"rule 3 broken: both places are in use in {state}")
    for place in free:
        held = state.at(place)
        if held is not None and not held.confirmed:
            return place
    return next((p for p in free if state.at(p) is None), free[-1])


def held_at(state: SoftwareState, digest: str) -> Place | None:
    """Where a digest is installed as a client that may be started: on probation, staged, or confirmed."""
    for place in (state.active, Place.A, Place.B):
        held = state.at(place)
        if held is not None and held.digest == digest:
            return place
    return None


def build_begins(state: SoftwareState) -> tuple[SoftwareState, Place]:
    """Empty the free place before its files are touched (rule 3). Nothing is built on probation."""
    if state.phase is Phase.PROBATION:
        raise AssertionError(f"rule 3 broken: {state} is on probation")
    place = free_place(state)
    return _with_place(replace(state, phase=Phase.STEADY), place, None), place


def check_begins(state: SoftwareState, digest: str) -> SoftwareState:
    """Count the self-check before it is made: it may take the machine with it."""
    attempts = state.attempts + 1 if state.attempted == digest else 1
    return replace(state, attempted=digest, attempts=attempts)


def check_failed(
    state: SoftwareState, release: Environment, reason: str, *, certain: bool, limits: Limits
) -> SoftwareState:
    """The self-check did not pass (rules 5 and 6)."""
    if not certain and state.attempts < limits.attempts:
        return replace(state, note=f"{release.version}: {reason}; tried again")
    return _quarantine(replace(state, attempts=0, attempted=""), release, reason)


def staged(state: SoftwareState, place: Place, release: Environment) -> SoftwareState:
    """The environment is durable and passed its self-check."""
    if place in (state.active, state.good) or state.quarantined(release.digest) is not None:
        raise AssertionError(f"rules 3 to 5 broken: {release} staged in {place} of {state}")
    filled = _with_place(state, place, replace(release, confirmed=False))
    note = f"{release.version} passed its self-check and waits for the launcher"
    return replace(filled, phase=Phase.STAGED, attempts=0, attempted="", note=note)


def switched(state: SoftwareState) -> SoftwareState:
    """The launcher takes the staged release (rule 4), before it starts it."""
    place = state.staged()
    if place is None or (held := state.at(place)) is None:
        raise AssertionError(f"rule 4 broken: nothing is staged in {state}")
    note = f"{held.version} is on probation"
    return replace(state, phase=Phase.PROBATION, active=place, starts=0, note=note)


def back_to(state: SoftwareState, place: Place) -> SoftwareState:
    """Run a confirmed environment, or the base, that is already here (rule 8)."""
    held = state.at(place)
    if place is not Place.BASE and (held is None or not held.confirmed):
        raise AssertionError(f"rule 8 broken: {place} is not confirmed in {state}")
    state = _left_probation(state)
    name = held.version if held is not None else "what was installed by hand"
    return replace(state, phase=Phase.STEADY, active=place, good=place, starts=0, note=f"back to {name}")


def starting(state: SoftwareState, limits: Limits) -> SoftwareState:
    """A start is about to be made: count it, and leave a release that never gets going (rules 6 and 7)."""
    held = state.at(state.active)
    most = limits.probation_starts if state.phase is Phase.PROBATION else limits.service_starts
    if held is not None and state.starts >= most:
        state = _left(state, f"{state.starts} starts in a row ended early")
    return replace(state, starts=state.starts + 1)


def failed(state: SoftwareState, reason: str, *, certain: bool) -> SoftwareState:
    """The active release ended, hung or did not get ready (rule 5). In steady service its starts are counted."""
    if state.phase is Phase.PROBATION and certain:
        return _left(state, reason)
    held = state.at(state.active)
    return replace(state, note=f"{held.version if held else 'the base'}: {reason}")


def left_by_hand(state: SoftwareState) -> SoftwareState:
    """A person goes back: what is in service is left, and not taken again until they forgive it."""
    return _left(state, "a person went back; `andon-edge upgrade --forgive` lets it be taken again")


def healthy(state: SoftwareState) -> SoftwareState:
    """This start got going, or ended in order."""
    return replace(state, starts=0)


def confirmed(state: SoftwareState) -> SoftwareState:
    """Probation passed."""
    held = state.at(state.active)
    if state.phase is not Phase.PROBATION or held is None:
        return replace(state, starts=0)
    kept = _with_place(state, state.active, replace(held, confirmed=True))
    return replace(kept, phase=Phase.STEADY, good=state.active, starts=0, note=f"{held.version} is confirmed")


def place_damaged(state: SoftwareState, place: Place, reason: str) -> SoftwareState:
    """An environment cannot be started at all: its files are gone or its Python is. Not the release's fault."""
    if state.at(place) is None:
        return state
    if place is state.active:
        state = _without_active(state)
        return replace(state, note=reason)
    emptied = _with_place(state, place, None)
    if state.staged() is place:
        return replace(emptied, phase=Phase.STEADY, note=reason)
    return replace(emptied, good=Place.BASE if place is state.good else state.good, note=reason)


def forgiven(state: SoftwareState, version: str) -> SoftwareState:
    """A person takes a version (or digest) out of quarantine."""
    return replace(state, quarantine=tuple(q for q in state.quarantine if version not in q[:2]))


def broken_rules(state: SoftwareState) -> list[str]:
    """Name the rules a state breaks; empty for every state that the functions above return."""
    broken = []
    for name, place in (("active", state.active), ("good", state.good)):
        if place is not Place.BASE and state.at(place) is None:
            broken.append(f"1: {name} is the empty place {place.value}")
    running = state.at(state.active)
    if state.phase is Phase.PROBATION:
        if state.active is state.good or running is None or running.confirmed:
            broken.append("2: on probation with a release that is confirmed")
    elif state.active is not state.good:
        broken.append("2: not on probation, but active is not the good one")
    elif running is not None and not running.confirmed:
        broken.append("2: an unconfirmed release is in service without probation")
    if state.phase is Phase.STAGED and ((held := state.at(free_place(state))) is None or held.confirmed):
        broken.append("4: staged, but no new release is in the free place")
    for place in (Place.A, Place.B):
        held = state.at(place)
        if held is not None and state.quarantined(held.digest) is not None:
            broken.append(f"5: place {place.value} holds a quarantined release")
    return broken


def _left(state: SoftwareState, reason: str) -> SoftwareState:
    held = state.at(state.active)
    if held is None:
        return state  # the base: nothing to fall back to
    return _quarantine(_without_active(state), held, reason)


def _left_probation(state: SoftwareState) -> SoftwareState:
    if state.phase is not Phase.PROBATION:
        return state
    return _without_active(state)


def _without_active(state: SoftwareState) -> SoftwareState:
    """Empty the active place; run the good one, else the other confirmed one, else the base."""
    emptied = _with_place(state, state.active, None)
    if state.phase is Phase.PROBATION:
        return replace(emptied, phase=Phase.STEADY, active=state.good, starts=0)
    other = Place.B if state.active is Place.A else Place.A
    held = emptied.at(other)
    place = other if held is not None and held.confirmed else Place.BASE
    phase = state.phase if state.phase is Phase.STAGED and place is Place.BASE else Phase.STEADY
    return replace(emptied, phase=phase, active=place, good=place, starts=0)


def _quarantine(state: SoftwareState, release: Environment, reason: str) -> SoftwareState:
    rest = tuple(q for q in state.quarantine if q[0] != release.digest)
    told = (*rest, (release.digest, release.version, reason[:500]))[-MAX_QUARANTINE:]
    return replace(state, quarantine=told, note=f"{release.version} was left: {reason}"[:600])


def _with_place(state: SoftwareState, place: Place, held: Environment | None) -> SoftwareState:
    if place is Place.A:
        return replace(state, a=held)
    if place is Place.B:
        return replace(state, b=held)
    raise AssertionError("the base is never written")
