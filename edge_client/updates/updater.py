"""The updater: looks for what the cloud signed and brings it into service, without ever hurting a request.

`rules.py` decides, `trusted.py` believes, `installation.py` fetches and tries, `keeper.py` serves and watches; here
they are joined:

1. Network and disk are told apart from the engine: those are tried again with backoff and jitter, only the engine is
   quarantined.
2. One updater at a time works on a folder (a file lock); the command line asks a running client instead of working
   beside it.
3. Whatever goes wrong in a check ends as an `UpdateOutcome` and a line in the status; the engine in service goes on.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random as random_module
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from edge_client.clock import Clock, SystemClock
from edge_client.contract.bucket import Bucket, DirectoryBucket, S3Bucket
from edge_client.contract.credentials import Offer
from edge_client.contract.errors import BadEngine, BadRelease, BucketError, Refused
from edge_client.contract.heartbeat import Quarantined, Rollout
from edge_client.contract.help import HelpRequest
from edge_client.contract.matching import Place
from edge_client.contract.staging import first_usable
from edge_client.engine_slot import EngineSlot
from edge_client.settings_in_force import EffectiveSettings, SettingsInForce, SignedDocuments
from edge_client.updates import rules
from edge_client.updates.installation import fetch_release, try_release
from edge_client.updates.keeper import Keeper
from edge_client.updates.neighbour import share_engines
from edge_client.updates.opening import DeviceEngineKeys
from edge_client.updates.outcome import Check, UpdateOutcome, UpdateStatus
from edge_client.updates.polling import PollSchedule
from edge_client.updates.requests import answer_request, next_request
from edge_client.updates.rules import Outcome, Phase, Step, Target
from edge_client.updates.share import ShareServer
from edge_client.updates.signed import Release, ShadowOffer, SoftwareOffer, Trusted
from edge_client.updates.signed_documents import store_documents, stored_documents
from edge_client.updates.single import SingleUse
from edge_client.updates.slots import DamagedSlot, Slots
from edge_client.updates.sources import Sources, open_sources, refreshed, source_of
from edge_client.updates.store import UpdateStore
from edge_client.updates.trial import TrialOrder, TrialReport, try_engine
from edge_client.updates.trusted import TrustedMetadata
from edge_client.updates.updater_config import UpdaterConfig

__all__ = ["Updater", "UpdaterConfig"]

log = logging.getLogger("edge_client.updates")

_UNEXPECTED_SECONDS = 30.0  # between attempts at what failed for no known reason
_REQUEST_SECONDS = 0.5  # how soon a request by the command line is seen


class Updater:
    """Owns the engine slot of a device and keeps it current. Made by `open`.

        updater = Updater.open(UpdaterConfig.from_config(config), config.open_bucket())
        updater.start()
        with updater.slot.lease() as engine:
            output = engine.run(frames)
        updater.observe(True, latency_ms, engine.sha256)
        updater.stop()

    Attributes:
        slot: Where requests get their engine.
        signed: The settings in force.
    """

    def __init__(
        self,
        config: UpdaterConfig,
        bucket: Bucket | None,
        store: UpdateStore,
        lock: SingleUse,
        *,
        clock: Clock,
        random: random_module.Random,
        settings: Callable[[SignedDocuments, Callable[[], datetime]], SettingsInForce] | None,
        on_software: Callable[[SoftwareOffer | None, Bucket], None] | None = None,
        on_shadow: Callable[[ShadowOffer | None, Bucket], None] | None = None,
        on_offer: Callable[[Offer], object] | None,
        tries: Callable[[TrialOrder], TrialReport],
    ) -> None:
        self._config = config
        self._bucket = open_sources(config.mirrors, bucket, clock, ca_bundle=config.mirror_ca)
        self._store = store
        self._lock = lock
        self._clock = clock
        self._random = random
        self._on_software = on_software
        self._on_shadow = on_shadow
        self._on_offer = on_offer
        self._tries = tries
        self._slots = Slots(config.state)
        now = bucket.server_time.now if isinstance(bucket, S3Bucket) else clock.now
        self.signed = (settings or _everywhere(config))(stored_documents(store), now)
        self._keeper = Keeper(config, store, self._slots, self._denied())
        self.slot: EngineSlot = self._keeper.slot
        self.signed.listen(self._leave_denied)
        self.on_help: Callable[[Sequence[HelpRequest]], None] = lambda _: None  # told at each check, used ones too
        if store.set_aside is not None:
            self._keeper.note("state", f"the state was damaged: it lies in {store.set_aside}, a new one was begun")
        self._versions: dict[str, int] = dict(store.fact("metadata_versions") or {})
        self._trusted = (
            None if config.root is None else TrustedMetadata(config.state / "metadata", config.root, store, clock)
        )
        self._check_lock = threading.Lock()  # one check at a time
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._engine_keys = DeviceEngineKeys(
            store,
            inspection=config.inspection,
            device=config.device,
            device_key=config.device_key,
            bundled=config.bundled_keys,
        )
        self._share: ShareServer | None = None
        self._last: UpdateOutcome | None = None
        self._last_at: datetime | None = None

    @classmethod
    def open(
        cls,
        config: UpdaterConfig,
        bucket: Bucket | None,
        *,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        store: Callable[[Path], UpdateStore] = UpdateStore,
        settings: Callable[[SignedDocuments, Callable[[], datetime]], SettingsInForce] | None = None,
        on_software: Callable[[SoftwareOffer | None, Bucket], None] | None = None,
        on_shadow: Callable[[ShadowOffer | None, Bucket], None] | None = None,
        on_offer: Callable[[Offer], object] | None = None,
        tries: Callable[[TrialOrder], TrialReport] = try_engine,
    ) -> Updater:
        """Open the state folder, and choose and load the engine to start with.

        Args:
            config: See `UpdaterConfig`.
            bucket: Where releases come from; None for none.
            clock: The device's clock.
            random: For jitter.
            store: Opens the database at a path.
            settings: Makes of the last accepted documents, and of the time, what keeps the settings in force; default:
                what is signed for the device's place.
            on_software: Called after each refresh with the client software to run, and where it is (likewise).
            on_shadow: Called after each refresh with the challenger to run unseen, and where it is (likewise).
            on_offer: Called with what the cloud offers this device alone, as long as it does.
            tries: Runs a trial.

        Raises:
            ConfigError: Another process uses this folder, or the folder is a link.
            BadEngine: Not even the factory engine can be loaded.
            OSError, sqlite3.Error: The folder can't be used.
        """
        lock = SingleUse.take(config.state)
        try:
            return cls(
                config,
                bucket,
                store(config.state / "updates.db"),
                lock,
                clock=clock or SystemClock(),
                random=random or random_module.Random(),
                settings=settings,
                on_software=on_software,
                on_shadow=on_shadow,
                on_offer=on_offer,
                tries=tries,
            )
        except BaseException:
            lock.release()
            raise

    # --- for the client ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads: one that looks for releases, one that stores what the watch finds, one for settings."""
        self.signed.start()
        for name, target in (("andon-update", self._poll), ("andon-update-watch", self._guard)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._share = share_engines(self._config.share, self._keeper, self._slots, self._engine_keys.any)

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the threads in order. An update under way is given up and goes on with the next start."""
        self._stopping.set()
        self.signed.stop()
        self._keeper.end_waiting()
        if self._share is not None:
            self._share.stop()
        for thread in self._threads:
            thread.join(timeout_seconds)
        with contextlib.suppress(sqlite3.Error, BadEngine), self._keeper.deciding():
            self._keeper.settle()
            self._keeper.apply(rules.healthy(self._keeper.state))
            self._keeper.remember_frame_size()
        if not any(thread.is_alive() for thread in self._threads):
            self._store.close()
        self._lock.release()

    def observe(self, ok: bool, latency_ms: float, engine_sha256: str | None = None) -> None:
        """Tell how a request went. Never blocks while the threads run.

        After a failure on probation the slot holds the last good engine when this returns: a request that failed can
        be repeated on it at once.

        Args:
            ok: False when the *engine* failed (raised `BadEngine`); a bad frame is not its fault.
            latency_ms: Time of the engine's run.
            engine_sha256: The engine that answered; answers of one that was swapped out meanwhile are not counted.
        """
        if self._keeper.observe(ok, latency_ms, engine_sha256) and not self._threads:
            self._keeper.settle()  # no thread to do it: command line and tests

    def settings(self) -> EffectiveSettings:
        """The signed settings that hold now."""
        return self.signed.now

    def status(self) -> UpdateStatus:
        """What the heartbeat tells of updates."""
        with self._keeper.deciding() as state:
            engine, target = self.slot.engine, state.target
            return UpdateStatus(
                place=state.active.value,
                phase=state.phase.value,
                engine_id=engine.metadata.engine_id,
                engine_sha256=engine.sha256,
                rollout=Rollout(
                    engine_id=target.engine_id,
                    engine_sha256=target.engine_sha256,
                    outcome=target.outcome.value,
                    reason=target.reason[:2000],
                ),
                metadata_versions=dict(self._versions),
                quarantined=tuple(Quarantined(engine_sha256=d, reason=r[:2000]) for d, r in state.quarantine),
                problems=tuple(self._keeper.problems.values()),
                last_check=self._last,
                last_check_at=self._last_at,
                swaps=self.slot.swaps,
                sources=self._bucket.status() if isinstance(self._bucket, Sources) else (),
                variant=engine.metadata.variant,
            )

    def forgive(self, engine_sha256: str) -> bool:
        """Take a digest out of quarantine; False if it was not in."""
        with self._keeper.deciding() as state:
            if state.quarantined(engine_sha256) is None:
                return False
            self._keeper.apply(rules.forgiven(state, engine_sha256))
            return True

    # --- one check --------------------------------------------------------------------------------------------------

    def check_once(self, bucket: Bucket | None = None) -> UpdateOutcome:
        """Look for a release and do all that can be done about it now.

        Args:
            bucket: Another source for this once, such as a USB stick.
        """
        with self._check_lock:
            source = bucket or self._bucket
            outcome = replace(self._guarded(source), source=source_of(source))
            self._last, self._last_at = outcome, self._clock.now()
            return outcome

    def _guarded(self, bucket: Bucket | None) -> UpdateOutcome:
        if self._trusted is None:
            return UpdateOutcome(
                check=Check.NO_RELEASE, reason="updates are not configured: [releases] root is missing"
            )
        if bucket is None:
            return UpdateOutcome(check=Check.OFFLINE, reason="no bucket is configured: use --from DIR")
        try:
            return self._check(self._trusted, bucket)
        except Refused as error:  # unlike a lost network, this does not pass by itself
            self._keeper.note("check", str(error))
            return self._outcome(Check.OFFLINE, str(error))
        except BucketError as error:
            return self._tell(Check.OFFLINE, str(error))
        except BadRelease as error:
            return self._tell(Check.REFUSED, str(error))
        except (OSError, sqlite3.Error, DamagedSlot, BadEngine, MemoryError) as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            return self._tell(Check.RETRY, f"{'the disk is full' if full else 'disk or machine'}: {error}")
        except Exception as error:  # rule 3, for what nobody thought of
            log.exception("a check failed")
            return self._tell(Check.RETRY, f"unexpected: {error!r}")

    def _check(self, trusted: TrustedMetadata, bucket: Bucket) -> UpdateOutcome:
        config = self._config
        found = refreshed(
            bucket,
            lambda: trusted.refresh(
                bucket,
                inspection=config.inspection,
                channel=config.channel,
                facts=config.facts(),
                known=self.signed.documents,
            ),
        )
        self._keeper.problems.pop("check", None)
        self._take_over(found)
        self.on_help(found.help)
        if self._on_software is not None:
            self._on_software(found.software, bucket)
        self._tell_shadow(found.shadow, bucket)
        if found.release_refused:
            return self._tell(Check.REFUSED, found.release_refused)
        if not found.releases:
            return UpdateOutcome(
                check=Check.NO_RELEASE,
                reason=f"channel {config.channel!r} of {config.inspection!r} names no engine yet",
            )
        check, reason = Check.QUARANTINED, ""
        for _ in found.releases:  # a variant that fails its trial here leaves the next one to try
            check, reason = self._bring(found.releases, bucket)
            if check is not Check.QUARANTINED:
                break
        return self._outcome(check, reason)

    def _tell_shadow(self, shadow: ShadowOffer | None, bucket: Bucket) -> None:
        """Hand over the challenger to run unseen; what is wrong with it hurts nothing else."""
        if self._on_shadow is None:
            return
        self._keeper.problems.pop("shadow", None)
        if shadow is not None and shadow.engine.sha256 in self._denied():
            shadow = None
        if shadow is not None:
            try:
                bucket = self._engine_keys.opened(bucket, shadow.engine, shadow.selftest)
            except BadRelease as error:
                self._keeper.note("shadow", str(error))
                shadow = None
        self._on_shadow(shadow, bucket)

    def _bring(self, releases: Sequence[Release], bucket: Bucket) -> tuple[Check, str]:
        """Bring the first file that is usable here as far as it gets."""
        config = self._config
        unusable = {*dict(self._keeper.state.quarantine), *self._denied()}
        release = first_usable(releases, lambda each: each.engine.sha256, unusable)
        target = Target(
            engine_sha256=release.engine.sha256, engine_id=release.channel.engine_id, version=release.channel.version
        )
        with self._keeper.deciding() as state:
            state, step = rules.offered(
                state, target, factory_sha256=self._keeper.factory_sha256, denied=self._denied()
            )
            state = self._keeper.apply(state)
        if step is Step.NOTHING:
            return Check.ON_PROBATION if state.phase is Phase.PROBATION else Check.UP_TO_DATE, ""
        if step is Step.REFUSE:
            quarantined = state.target.outcome is Outcome.QUARANTINED
            return Check.QUARANTINED if quarantined else Check.REFUSED, ""
        if step is Step.SWITCH:
            return Check.SWAPPED, ""
        if step is Step.DOWNLOAD:
            fetch_release(
                release,
                bucket,
                keeper=self._keeper,
                slots=self._slots,
                config=config,
                clock=self._clock,
                stopped=self._stopping.is_set,
                wait=self._stopping.wait,
                keys=self._engine_keys,
                limited=bucket is self._bucket,
            )
        return try_release(keeper=self._keeper, slots=self._slots, config=config, tries=self._tries)

    def _take_over(self, found: Trusted) -> None:
        """Remember versions and settings; let quarantines end."""
        if found.signed_at is not None:
            with self._keeper.deciding() as state:
                self._keeper.apply(rules.quarantines_aged(state, found.signed_at, self._config.limits))
        versions = dict(found.versions)
        if versions != self._versions:
            self._store.save_fact("metadata_versions", versions)
            self._versions = versions
        self._keeper.problems.pop("settings", None)
        if found.problems:
            self._keeper.note("settings", "; ".join(found.problems))
        if found.offer is not None and self._on_offer is not None:
            self._on_offer(found.offer)
        if found.documents != self.signed.documents:
            store_documents(self._store, found.documents)
            self.signed.take(found.documents)

    def _leave_denied(self, _: EffectiveSettings) -> None:
        """Leave the engine in service if the settings deny it."""
        with self._keeper.deciding() as state:
            self._keeper.apply(rules.active_denied(state, self._denied()))

    def _denied(self) -> tuple[str, ...]:
        return self.signed.now.deny_engines

    def _outcome(self, check: Check, reason: str = "") -> UpdateOutcome:
        target = self._keeper.state.target
        return UpdateOutcome(
            check=check,
            reason=reason or target.reason,
            engine_id=target.engine_id,
            engine_sha256=target.engine_sha256,
            version=target.version,
        )

    def _tell(self, check: Check, reason: str) -> UpdateOutcome:
        if check is not Check.OFFLINE:  # being offline is normal
            self._keeper.note("check", reason)
        return self._outcome(check, reason)

    # --- threads ----------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        schedule = PollSchedule(self._config.poll_seconds, self._random)
        due = self._clock.monotonic()
        while not self._stopping.is_set():
            try:
                self._serve_requests()
            except Exception as error:  # noqa: BLE001 -- the thread's boundary: it has releases to look for
                self._keeper.note("requests", f"a request of the command line could not be served: {error!r}")
            else:
                self._keeper.problems.pop("requests", None)
            if self._clock.monotonic() >= due:
                with contextlib.suppress(OSError, sqlite3.Error):  # a hint alone
                    self._keeper.remember_frame_size()
                outcome = self.check_once()
                due = self._clock.monotonic() + schedule.after(outcome.check)
            self._stopping.wait(min(_REQUEST_SECONDS, max(0.0, due - self._clock.monotonic())))

    def _serve_requests(self) -> None:
        request = next_request(self._config.state)
        if request is None:
            return
        if request.forgive:
            self.forgive(request.forgive)
        outcome = self.check_once(DirectoryBucket(request.source) if request.source is not None else None)
        answer_request(self._config.state, request, outcome)

    def _guard(self) -> None:
        while (signal := self._keeper.next_signal()) is not None:
            while not self._stopping.is_set():
                try:
                    self._keeper.take(*signal)
                    self._keeper.problems.pop("storing", None)
                    break
                except (OSError, sqlite3.Error, BadEngine) as error:  # the slot is right already; the record follows
                    self._keeper.note("storing", f"the update state cannot be stored: {error}")
                    self._stopping.wait(self._random.uniform(0.5, 1.5))
                except Exception as error:  # what nobody thought of: the thread lives on, and asks less often
                    log.exception("what the watch found could not be stored")
                    self._keeper.note("storing", f"the update state cannot be stored: unexpected: {error!r}")
                    self._stopping.wait(_UNEXPECTED_SECONDS)


def _everywhere(config: UpdaterConfig) -> Callable[[SignedDocuments, Callable[[], datetime]], SettingsInForce]:
    """Make settings of what is known without a device's whole configuration."""
    place = Place(
        device=config.device,
        site=config.site,
        station=config.station,
        hardware=config.hardware,
        inspection=config.inspection,
    )
    return lambda documents, now: SettingsInForce(documents, place=place, now=now)
