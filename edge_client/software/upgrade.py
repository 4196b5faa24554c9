"""The upgrader in the client: from a signed offer to an environment that waits for the launcher.

1. Wheels are downloaded and verified one by one, then an environment is built from them alone, then its self-check
   runs; each step only after the one before, and the state says which place is being built in.
2. Network and disk are tried again at the next look for releases; only the release itself is quarantined.
3. Nothing here stops or starts a client: the launcher does, when the state says STAGED.
4. It works beside inference on a thread of its own, at low priority; an application that embeds the client has no
   launcher and no upgrader.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from edge_client.background import step_back
from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, BadRelease, BucketError
from edge_client.software import rules
from edge_client.software.checking import CheckOrder, CheckReport, check_environment
from edge_client.software.environments import BadEnvironment, build, fits_this_machine
from edge_client.software.protocol import Launched
from edge_client.software.rules import Environment, Limits, Phase, Place, SoftwareState
from edge_client.software.store import SoftwareStore
from edge_client.updates.download import download
from edge_client.updates.signed import SoftwareOffer
from edge_client.version import VERSION

_RESERVE_BYTES = 100_000_000
_UNPACKED = 4  # a wheel unpacked takes a few times its size
CHECK_SECONDS = 180.0

Checks = Callable[..., CheckReport]


class Upgrade(Enum):
    """How one look came out."""

    NOTHING = "nothing to do"  # no offer, or the version offered is in service
    STAGED = "staged"  # it waits for the launcher
    WAITS = "waits"  # another version is on probation
    QUARANTINED = "quarantined"  # this device tried it and will not again
    RETRY = "tried again"  # network, disk or machine


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeOutcome:
    """What came of an offer."""

    upgrade: Upgrade
    version: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "upgrade": self.upgrade.value}


def upgrade(
    offer: SoftwareOffer | None,
    bucket: Bucket,
    *,
    launched: Launched,
    store: SoftwareStore,
    clock: Clock,
    version: str = VERSION,
    checks: Checks = check_environment,
    check_seconds: float = CHECK_SECONDS,
    limits: Limits | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> UpgradeOutcome:
    """Do all that can be done about an offer now.

    Args:
        offer: What this device should run; None for what it has.
        bucket: Where the wheels lie.
        launched: How the client is launched.
        store: The software's state.
        clock: For the download.
        version: Of this client.
        checks: Runs a self-check.
        check_seconds: Longest time of one.
        limits: How often it may end without a verdict.
        stopped: Ends a download.
    """
    if offer is None:
        return UpgradeOutcome(upgrade=Upgrade.NOTHING)
    release = Environment(version=offer.release.version, digest=offer.release.digest)
    state = store.load()
    settled = _without_building(state, release, launched, store, version)
    if settled is not None:
        return settled
    try:
        wheels = _fetch(offer, bucket, store, clock, stopped)
        with store.locked():
            state, place = rules.build_begins(store.load())
            store.save(state)
        python = build(store.environment(place), wheels=wheels, base_python=launched.base_python)
        store.change(lambda s: rules.check_begins(s, release.digest))
        report = _checked(offer, python, wheels, launched, store, checks, check_seconds)
    except BadEnvironment as error:
        report = CheckReport(passed=False, reason=str(error))
    except (AndonError, OSError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        what = "the disk is full" if full else "network" if isinstance(error, BucketError) else "disk or machine"
        refused = isinstance(error, BadRelease)
        reason = str(error) if refused else f"{what}: {error}"
        return UpgradeOutcome(upgrade=Upgrade.RETRY, version=release.version, reason=reason)
    if report.passed:
        store.change(lambda s: rules.staged(s, place, release))
        return UpgradeOutcome(upgrade=Upgrade.STAGED, version=release.version, reason=store.load().note)
    state = store.change(
        lambda s: rules.check_failed(s, release, report.reason, certain=report.certain, limits=limits or Limits())
    )
    gone = state.quarantined(release.digest) is not None
    return UpgradeOutcome(
        upgrade=Upgrade.QUARANTINED if gone else Upgrade.RETRY, version=release.version, reason=report.reason
    )


def _without_building(
    state: SoftwareState, release: Environment, launched: Launched, store: SoftwareStore, version: str
) -> UpgradeOutcome | None:
    """Settle an offer that needs no new environment; None for one that does."""

    def outcome(upgrade: Upgrade, reason: str = "") -> UpgradeOutcome:
        return UpgradeOutcome(upgrade=upgrade, version=release.version, reason=reason)

    running = state.at(state.active)
    if running is not None and running.digest == release.digest:
        return outcome(Upgrade.NOTHING, state.note if state.phase is Phase.PROBATION else "")
    if state.active is Place.BASE and release.version == version == launched.base_version:
        return outcome(Upgrade.NOTHING)
    if (reason := state.quarantined(release.digest)) is not None:
        return outcome(Upgrade.QUARANTINED, reason)
    if state.phase is Phase.PROBATION:
        return outcome(Upgrade.WAITS, f"{state.note}; {release.version} is looked at after it")
    if (place := rules.held_at(state, release.digest)) is not None:
        held = state.at(place)
        if held is not None and held.confirmed:
            store.change(lambda s: rules.back_to(s, place))
            return outcome(Upgrade.STAGED, f"{release.version} is on this device already")
        if state.staged() is place:
            return outcome(Upgrade.STAGED, state.note)
    if release.version == launched.base_version:
        store.change(lambda s: rules.back_to(s, Place.BASE))
        return outcome(Upgrade.STAGED, f"{release.version} is what was installed by hand")
    return None


def _fetch(
    offer: SoftwareOffer, bucket: Bucket, store: SoftwareStore, clock: Clock, stopped: Callable[[], bool]
) -> list[Path]:
    """Download the wheels that are for this machine; those that lie there verified are not fetched again."""
    folder = store.folder / "wheels"
    folder.mkdir(mode=0o700, exist_ok=True)
    wanted = [f for f in offer.files if fits_this_machine(_name(f.path))]
    needed = sum(f.length for f in wanted) * (1 + _UNPACKED) + _RESERVE_BYTES
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"{free} bytes are free: {needed} are needed")
    for stray in folder.iterdir():
        if stray.name not in {_name(f.path) for f in wanted}:
            stray.unlink()
    found = []
    for file in wanted:
        path = folder / _name(file.path)
        found.append(path)
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
            continue
        part = download(
            bucket,
            file.key,
            sha256=file.sha256,
            length=file.length,
            folder=store.folder / "downloads",
            clock=clock,
            stopped=stopped,
        )
        os.replace(part, path)
    return found


def _checked(
    offer: SoftwareOffer,
    python: Path,
    wheels: list[Path],
    launched: Launched,
    store: SoftwareStore,
    checks: Checks,
    seconds: float,
) -> CheckReport:
    scratch = store.folder / "check"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    order = CheckOrder(
        version=offer.release.version,
        words=launched.words,
        scratch=str(scratch),
        wheels=tuple(wheel.name for wheel in wheels),
    )
    try:
        return checks(python, order, working_folder=launched.working_folder, seconds=seconds)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


class Upgrader:
    """Takes offers from the updater's thread and works on the newest one.

    Args:
        launched: How this client was launched.
        clock: The device's clock.
    """

    def __init__(self, launched: Launched, clock: Clock) -> None:
        self._launched = launched
        self._clock = clock
        self._store = SoftwareStore(launched.folder)
        self._bell = threading.Condition()
        self._waiting: tuple[SoftwareOffer | None, Bucket] | None = None
        self._working = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.last = UpgradeOutcome(upgrade=Upgrade.NOTHING)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="andon-upgrade", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 0.5) -> None:
        """End it; an upgrade under way begins again with the next start."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def offer(self, offer: SoftwareOffer | None, bucket: Bucket) -> None:
        """Take the newest offer; returns at once."""
        with self._bell:
            self._waiting = (offer, bucket)
            self._tell(working=True)  # before the look for releases is answered
            self._bell.notify_all()

    def status(self) -> dict[str, Any]:
        """Return how the software is doing, as plain JSON values."""
        return {**describe(self._store.load(), self._launched), "last": self.last.to_json()}

    def note(self) -> str:
        """What became of the newest release here, for the heartbeat; "" when none ever came."""
        return self._store.load().note

    def _work(self) -> None:
        step_back()
        while True:
            with self._bell:
                self._bell.wait_for(lambda: self._waiting is not None or self._stopping)
                if self._stopping:
                    return
                assert self._waiting is not None
                (offer, bucket), self._waiting, self._working = self._waiting, None, True
            try:
                outcome = upgrade(
                    offer,
                    bucket,
                    launched=self._launched,
                    store=self._store,
                    clock=self._clock,
                    stopped=lambda: self._stopping,
                )
            except Exception as error:  # noqa: BLE001 -- the worker's boundary: record, go on
                outcome = UpgradeOutcome(upgrade=Upgrade.RETRY, reason=repr(error))
            with self._bell:
                self.last, self._working = outcome, False
                self._tell(working=self._waiting is not None)

    def _tell(self, *, working: bool) -> None:
        """Leave word for `andon-edge upgrade`, which is another process."""
        told = {**self.last.to_json(), "working": working}
        with contextlib.suppress(OSError):
            path = self._launched.folder / "outcome.json"
            beside = path.with_name(".outcome.json.new")
            beside.write_text(json.dumps(told))
            os.replace(beside, path)


def describe(state: SoftwareState, launched: Launched) -> dict[str, Any]:
    """Describe a state for people and scripts."""
    places = {"base": launched.base_version}
    for place in (Place.A, Place.B):
        if (held := state.at(place)) is not None:
            places[place.value] = held.version
    return {
        "active": state.active.value,
        "version": places.get(state.active.value, ""),
        "phase": state.phase.value,
        "places": places,
        "note": state.note,
        "quarantine": [{"version": v, "digest": d, "reason": r} for d, v, r in state.quarantine],
    }
