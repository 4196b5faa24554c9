"""``andon-edge update``: look for a release now, in the bucket or on a USB stick.

While a client runs on this device it is asked to do it, so that the engine changes without a stop; else the release
is fetched, tried and put in place here, and serves from the next start on.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import uuid
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.clock import Clock, SystemClock
from edge_client.config import Config
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import AndonError, ConfigError
from edge_client.contract.releases import METADATA_PREFIX
from edge_client.updates.outcome import Check, UpdateOutcome
from edge_client.updates.requests import UpdateRequest, answer_to, send_request
from edge_client.updates.single import SingleUse
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig

_GOOD = (Check.UP_TO_DATE, Check.ON_PROBATION, Check.SWAPPED, Check.NO_RELEASE)


def add_parser(commands: argparse._SubParsersAction[Any]) -> argparse.ArgumentParser:
    """Add the command to ``andon-edge``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "update", help="look for a new engine now", description="Look for a signed release and put it into service."
    )
    common(parser)
    parser.add_argument("--from", dest="source", type=Path, help="folder that holds releases/, such as a USB stick")
    parser.add_argument("--forgive", metavar="SHA256", default="", help="take an engine out of quarantine first")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for a running client")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when the device has, or now got, what the channel names."""
    try:
        outcome = update(
            Config.load(args.config), source=args.source, forgive=args.forgive, timeout_seconds=args.timeout
        )
    except (AndonError, OSError, sqlite3.Error) as error:
        if args.json:
            print(json.dumps({"error": str(error)}))
        else:
            print(f"andon-edge update: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(outcome.to_json()))
    else:
        engine = f" {outcome.engine_id} (version {outcome.version})" if outcome.engine_id else ""
        source = f" from {outcome.source}" if outcome.source else ""
        print(f"{outcome.check.value}:{engine}{source}{' - ' + outcome.reason if outcome.reason else ''}")
    return 0 if outcome.check in _GOOD else 1


def update(
    config: Config,
    *,
    source: Path | None = None,
    forgive: str = "",
    timeout_seconds: float = 600.0,
    clock: Clock | None = None,
) -> UpdateOutcome:
    """Look for a release once.

    Args:
        config: The device's configuration.
        source: Folder that holds ``releases/``; None for the bucket.
        forgive: A digest to take out of quarantine first, or "".
        timeout_seconds: How long a running client is waited for.
        clock: Measures that.

    Raises:
        ConfigError: The folder holds no releases, or the running client does not answer.
    """
    if source is not None:
        source = source.resolve()
        if not (source / METADATA_PREFIX / "timestamp.json").is_file():
            raise ConfigError(
                f"{source} holds no {METADATA_PREFIX}timestamp.json: expected a folder with releases/ in it"
            )
    settings = UpdaterConfig.from_config(config)
    lock = SingleUse.try_take(settings.state)
    if lock is None:
        request = UpdateRequest(id=uuid.uuid4().hex, source=source, forgive=forgive)
        return _ask(settings.state, request, timeout_seconds, clock or SystemClock())
    lock.release()
    updater = Updater.open(settings, config.open_bucket(), clock=clock)
    try:
        if forgive:
            updater.forgive(forgive)
        return updater.check_once(DirectoryBucket(source) if source is not None else None)
    finally:
        updater.stop()


def _ask(folder: Path, request: UpdateRequest, timeout_seconds: float, clock: Clock) -> UpdateOutcome:
    import threading

    pause = threading.Event()
    until = clock.monotonic() + timeout_seconds
    send_request(folder, request)
    while clock.monotonic() < until:
        if (outcome := answer_to(folder, request)) is not None:
            return outcome
        pause.wait(0.1)
    raise ConfigError(
        f"the running client did not answer within {timeout_seconds:g} s: see `andon-edge status`, or stop it "
        "and repeat"
    )
