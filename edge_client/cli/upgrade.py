"""``andon-edge upgrade``: look for new client software now, or go back.

While a launched client runs on this device it is asked to look, builds the environment and the launcher takes it; else
everything up to the self-check is done here, and the launcher takes it with its next start.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.cli.update import update
from edge_client.clock import SystemClock
from edge_client.config import Config
from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.errors import ConfigError
from edge_client.software import rules
from edge_client.software.protocol import Launched, last_launch
from edge_client.software.rules import Phase, Place, SoftwareState
from edge_client.software.store import SoftwareStore
from edge_client.software.upgrade import Upgrade, UpgradeOutcome, describe, upgrade
from edge_client.updates.signed import SoftwareOffer
from edge_client.updates.single import SingleUse
from edge_client.updates.updater import Updater
from edge_client.updates.updater_config import UpdaterConfig

_LOOK_SECONDS = 0.2
_GOOD = (Upgrade.NOTHING, Upgrade.STAGED, Upgrade.WAITS)


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "upgrade",
        help="look for new client software now, or go back",
        description="Brings the client software that the cloud signed for this device into an environment of its own, "
        "tries it there on a copy of the state, and leaves it to the launcher, which goes back by itself if it fails. "
        "Only for devices that are started with `andon-edge launch`: an application that embeds the client upgrades it "
        "with itself. Exit code 1 when the version offered was refused.",
    )
    common(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--from", dest="source", type=Path, help="folder that holds releases/, such as a USB stick")
    what.add_argument("--status", action="store_true", help="say what is installed and in service, and change nothing")
    what.add_argument("--back", action="store_true", help="leave the version in service for the one before it")
    parser.add_argument(
        "--forgive", metavar="VERSION", default="", help="first let this device take a version again that it has left"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for all of it (default: 600)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    try:
        config = Config.load(args.config)
        folder = config.device.state / "software"
        launched = last_launch(folder)
        if launched is None:
            raise ConfigError(
                f"no launcher ever started a client on {config.device.state}: start it with `andon-edge launch "
                "run|serve …`; an application that embeds the client upgrades it with itself"
            )
        store = SoftwareStore(folder)
        if args.forgive:
            store.change(lambda s: rules.forgiven(s, args.forgive))
        if args.status:
            return _tell(args, None, store.load(), launched)
        if args.back:
            return _tell(args, _back(store), store.load(), launched)
        source = None if args.source is None else args.source.resolve()
        outcome = _look(config, source, store, launched, args.timeout)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(str(error)) from error
    return _tell(args, outcome, store.load(), launched)


def _back(store: SoftwareStore) -> UpgradeOutcome:
    state = store.load()
    held = state.at(state.active)
    if held is None:
        raise ConfigError("what was installed by hand is in service: there is nothing to go back to")
    after = store.change(rules.left_by_hand)
    return UpgradeOutcome(upgrade=Upgrade.STAGED, version=held.version, reason=after.note)


def _look(
    config: Config, source: Path | None, store: SoftwareStore, launched: Launched, seconds: float
) -> UpgradeOutcome:
    """Look for an offer and do all that can be done about it."""
    lock = SingleUse.try_take(config.device.state / "updates")
    if lock is None:
        return _ask(config, source, store, seconds)
    lock.release()
    found: list[tuple[SoftwareOffer | None, Bucket]] = []
    updater = Updater.open(
        UpdaterConfig.from_config(config),
        config.open_bucket(),
        on_software=lambda offer, bucket: found.append((offer, bucket)),
    )
    try:
        looked = updater.check_once(DirectoryBucket(source) if source is not None else None)
    finally:
        updater.stop()
    if not found:
        return UpgradeOutcome(upgrade=Upgrade.RETRY, reason=looked.reason or looked.check.value)
    offer, bucket = found[-1]
    return upgrade(offer, bucket, launched=launched, store=store, clock=SystemClock())


def _ask(config: Config, source: Path | None, store: SoftwareStore, seconds: float) -> UpgradeOutcome:
    """Let the running client look, and wait for what comes of it."""
    until = time.monotonic() + seconds
    looked = update(config, source=source, timeout_seconds=seconds)
    answer = store.folder / "outcome.json"
    while time.monotonic() < until:
        try:
            told = json.loads(answer.read_text(encoding="utf-8"))
            if not told["working"]:
                return UpgradeOutcome(
                    upgrade=Upgrade(told["upgrade"]), version=str(told["version"]), reason=str(told["reason"])
                )
        except (OSError, ValueError, KeyError, TypeError):
            if looked.check.value == "offline":
                return UpgradeOutcome(upgrade=Upgrade.RETRY, reason=looked.reason)
        time.sleep(_LOOK_SECONDS)
    raise ConfigError(f"the running client was not done within {seconds:g} s: see `andon-edge upgrade --status`")


def _tell(args: argparse.Namespace, outcome: UpgradeOutcome | None, state: SoftwareState, launched: Launched) -> int:
    told = describe(state, launched)
    if args.json:
        print(json.dumps({**told, "outcome": None if outcome is None else outcome.to_json()}))
    else:
        if outcome is not None:
            version = f" {outcome.version}" if outcome.version else ""
            print(f"{outcome.upgrade.value}:{version}{' - ' + outcome.reason if outcome.reason else ''}")
        where = "installed by hand" if state.active is Place.BASE else f"environment {state.active.value}"
        phase = "" if state.phase is Phase.STEADY else f", {state.phase.value}"
        print(f"client {told['version']} ({where}{phase}); installed: {_installed(told)}")
        for left in told["quarantine"]:
            print(f"  left {left['version']}: {left['reason']}")
        sys.stdout.flush()
    return 0 if outcome is None or outcome.upgrade in _GOOD else 1


def _installed(told: dict[str, Any]) -> str:
    return ", ".join(f"{place} {version}" for place, version in told["places"].items())
