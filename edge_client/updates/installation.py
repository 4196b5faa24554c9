"""From a signed release to a staged one, and from there into service: download and trial.

Each step stores its state before the next begins, so that an update cut at any point goes on, or begins again, at the
next check.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import sqlite3
from collections.abc import Callable

from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError, BadRelease, Unavailable
from edge_client.updates import rules
from edge_client.updates.bases import plan_download
from edge_client.updates.download import download
from edge_client.updates.fetching import fetch_selftest
from edge_client.updates.keeper import Keeper
from edge_client.updates.opening import DeviceEngineKeys
from edge_client.updates.outcome import Check
from edge_client.updates.rules import Installed, Phase
from edge_client.updates.signed import Release
from edge_client.updates.slots import ENGINE_FILE, SELFTEST_FILE, DamagedSlot, Slots
from edge_client.updates.sources import Sources
from edge_client.updates.trial import TrialOrder, TrialReport
from edge_client.updates.updater_config import UpdaterConfig

_RESERVE_BYTES = 50_000_000  # free space that an update leaves


def fetch_release(
    release: Release,
    bucket: Bucket,
    *,
    keeper: Keeper,
    slots: Slots,
    config: UpdaterConfig,
    clock: Clock,
    stopped: Callable[[], bool],
    wait: Callable[[float], object],
    keys: DeviceEngineKeys,
    limited: bool = True,
) -> None:
    """Download a release into the free slot and stage it.

    Args:
        release: What to fetch.
        bucket: Where from.
        keeper: Holds the state.
        slots: The engines on disk.
        config: The updater's.
        clock: The device's.
        stopped: Asked between pieces; True ends the download.
        wait: Waits so many seconds, less when the download should end.
        keys: Open engines that are sealed.
        limited: Keep to the hours and the rate of downloads; not from a USB stick.

    Raises:
        BadRelease: Too large, or what the bucket holds is not what was signed.
        BucketError: As the bucket says.
        OSError, sqlite3.Error: The disk failed or is full.
    """
    engine, source = release.engine, bucket
    try:
        if engine.length > config.max_engine_bytes:
            raise BadRelease(
                f"engine {release.channel.engine_id!r} has {engine.length} bytes: at most "
                f"{config.max_engine_bytes} are "
                "installed on this device"
            )
        free = shutil.disk_usage(config.state).free
        if free < engine.length + release.selftest.length + _RESERVE_BYTES:
            raise OSError(errno.ENOSPC, f"{free} bytes are free: {engine.length + _RESERVE_BYTES} are needed")
        local = clock.now().astimezone()
        if limited and not config.hours.is_open(local):
            left = config.hours.seconds_until_open(local) / 3600
            raise Unavailable(f"engine {release.channel.engine_id!r} waits {left:.1f} h for the hours of downloading")
        bucket = keys.opened(bucket, engine, release.selftest)
        plan = plan_download(release, bucket, slots, config.factory_engine)
        selftest = fetch_selftest(bucket, release, plan.selftest)
        file = download(
            bucket,
            engine.key,
            sha256=engine.sha256,
            length=engine.length,
            folder=config.state / "downloads",
            clock=clock,
            deadline_seconds=config.deadline_seconds,
            least_bytes_per_second=config.least_bytes_per_second,
            bytes_per_second=config.bytes_per_second if limited else 0,
            plan=plan.engine,
            distrust=lambda: isinstance(source, Sources) and source.distrust(engine.key),
            stopped=stopped,
            wait=wait,
        )
        with keeper.deciding() as state:
            emptied, place = rules.download_begins(state)
            keeper.apply(emptied)
            slots.write(place, file, selftest)
            installed = Installed(
                engine_sha256=engine.sha256,
                engine_id=release.channel.engine_id,
                version=release.channel.version,
                engine_bytes=engine.length,
                selftest_sha256=hashlib.sha256(selftest).hexdigest(),
            )
            keeper.apply(rules.downloaded(keeper.state, place, installed))
    except (AndonError, OSError, sqlite3.Error) as error:
        with keeper.deciding() as state:
            keeper.apply(rules.download_failed(state, str(error)))
        raise


def try_release(
    *,
    keeper: Keeper,
    slots: Slots,
    config: UpdaterConfig,
    tries: Callable[[TrialOrder], TrialReport],
) -> tuple[Check, str]:
    """Try the staged engine in a child process; put it into service if it passes.

    Returns:
        How it ended, and why.

    Raises:
        OSError, sqlite3.Error: The disk or the machine failed: no verdict on the engine.
    """
    with keeper.deciding() as state:
        place = state.staged()
        held = None if place is None else state.at(place)
        if place is None or held is None:
            return Check.RETRY, "the staged release is gone: it is fetched again"
        keeper.apply(rules.trial_begins(state))
    folder = slots.path(place)
    order = TrialOrder(
        engine=str(folder / ENGINE_FILE),
        selftest=str(folder / SELFTEST_FILE),
        engine_sha256=held.engine_sha256,
        selftest_sha256=held.selftest_sha256,
        engine_bytes=held.engine_bytes,
        inspection=config.inspection,
        engine_id=held.engine_id,
        provider=config.provider,
        threads=config.threads,
        limits=config.trial,
    )
    try:
        slots.read(place, held)  # links and damage are a matter of the disk: no trial
        report = tries(order)
    except DamagedSlot as error:
        with keeper.deciding() as state:
            keeper.apply(rules.slot_damaged(state, place))
        return Check.RETRY, str(error)
    with keeper.deciding() as state:
        if state.staged() is not place:
            return Check.RETRY, "the release was replaced during its trial"
        if not report.passed:
            state = keeper.apply(rules.trial_failed(state, report.reason, certain=report.certain, limits=config.limits))
            gone = state.quarantined(held.engine_sha256) is not None
            return Check.QUARANTINED if gone else Check.RETRY, report.reason
        state = keeper.apply(rules.trial_passed(state))
        if (reason := state.quarantined(held.engine_sha256)) is not None:
            return Check.QUARANTINED, reason
        if state.phase is not Phase.PROBATION:
            return Check.RETRY, state.target.reason
        if config.limits.probation_frames == 0:
            keeper.apply(rules.confirmed(state))
        return Check.SWAPPED, ""
