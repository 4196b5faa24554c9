"""``andon-edge launch``: start the client of this device, upgrade it, and go back by itself."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_client.contract.errors import ConfigError
from edge_client.software.launcher import Launcher
from edge_client.software.rules import Limits
from edge_client.software.sockets import inherited, listening
from edge_client.software.store import SoftwareStore

log = logging.getLogger("edge_client.launcher")

_COMMANDS = ("run", "serve")


def add_parser(sub: Any) -> None:
    """Add the command."""
    limits = Limits()
    parser: argparse.ArgumentParser = sub.add_parser(
        "launch",
        help="start run or serve so that the client can be upgraded from the cloud",
        description="Starts the client that this device should run: what was installed with this launcher, or an "
        "environment that an upgrade built in state/software. The launcher itself is never upgraded. It holds the "
        "server's socket, so that requests wait while the process changes; starts a new version beside the one in "
        "service and lets it take over when it is ready; watches it on probation, and goes back by itself.",
        epilog="Example: andon-edge launch serve --config andon.toml --port 8080. Options of launch come before the "
        "command.",
    )
    seconds = {
        "stand-by-seconds": (limits.stand_by_seconds, "for a client to be imported"),
        "start-seconds": (limits.start_seconds, "from there to being ready"),
        "hang-seconds": (limits.hang_seconds, "longest silence of a client in service"),
        "probation-seconds": (limits.probation_seconds, "of a new version in service without a fault"),
        "healthy-seconds": (limits.healthy_seconds, "after which a start counts as healthy"),
    }
    for name, (default, what) in seconds.items():
        parser.add_argument(
            f"--{name}", type=_seconds, default=default, metavar="S", help=f"{what} (default: {default:g})"
        )
    parser.add_argument(
        "--probation-requests",
        type=int,
        default=limits.probation_requests,
        metavar="N",
        help=f"answers that end the probation sooner (default: {limits.probation_requests})",
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="run|serve …", help="the client's command line")


def run(args: argparse.Namespace) -> int:
    """Launch until the client ends in order, or a signal comes."""
    words = [w for i, w in enumerate(args.words) if i or w != "--"]
    if not words or words[0] not in _COMMANDS:
        raise ConfigError(
            f"launch {' '.join(words[:1])}: expected one of {_COMMANDS} with its options, such as "
            "`andon-edge launch serve --config andon.toml`"
        )
    folder = software_folder(first_config(words))
    try:
        store = SoftwareStore(folder)
        held = _only_one(folder)
    except OSError as error:  # inspect with what was installed by hand, rather than not at all
        log.warning("upgrades are off: %s cannot be used: %s", folder, error)
        os.execv(sys.executable, [sys.executable, "-P", "-m", "edge_client.cli", *words])  # noqa: S606 -- no shell
    limits = replace(
        Limits(),
        stand_by_seconds=args.stand_by_seconds,
        start_seconds=args.start_seconds,
        hang_seconds=args.hang_seconds,
        probation_seconds=args.probation_seconds,
        healthy_seconds=args.healthy_seconds,
        probation_requests=args.probation_requests,
    )
    try:
        sockets = inherited() or listening(words)
    except OSError as error:
        raise ConfigError(f"{' '.join(words)}: its address cannot be listened on: {error}") from error
    try:
        return Launcher(store, words, sockets=sockets, limits=limits).run()
    finally:
        os.close(held)


def first_config(words: list[str]) -> Path:
    """Return the configuration that a command line names first: its state folder holds the software."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path, action="append")
    named, _ = parser.parse_known_args(words[1:])
    return Path((named.config or [Path("andon.toml")])[0]).resolve()


def software_folder(config: Path) -> Path:
    """Return ``state/software`` of a device, without reading more of its configuration than must be.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"configuration file {config} cannot be read: {error}") from error
    device = document.get("device")
    state = device.get("state", "state") if isinstance(device, dict) else "state"
    return (config.parent / Path(str(state)).expanduser()).resolve() / "software"


def _only_one(folder: Path) -> int:
    descriptor = os.open(folder / "launcher", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(f"another launcher works on {folder}: stop it first") from None
    return descriptor


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: expected seconds from 0.1 to 86400")
    return value
