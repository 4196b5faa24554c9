"""What a launcher and a client say to each other. Both must keep to it for ever: either may be the older one.

The launcher starts a client with

    ANDON_EDGE_LAUNCH        1, the version of this protocol
    ANDON_EDGE_SOFTWARE      the folder of environments and state; launch.json in it says how it was launched
    NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_*    as systemd does

The client answers on NOTIFY_SOCKET, fields in lines, unknown ones passed over:

    X_ANDON_STANDBY=1        everything is imported, and it waits for the state folder
    READY=1                  in service
    WATCHDOG=1               alive; at least every third of WATCHDOG_USEC
    X_ANDON_ANSWERED=n       requests answered, X_ANDON_LOST=n requests lost since the start
    STOPPING=1               ending

SIGTERM ends a client in order. SIGUSR2 does the same without waiting for the network, since another client waits for
its place.

Standard library alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_client.contract.private_files import replace_private
from edge_client.version import VERSION as CLIENT_VERSION

VERSION = "1"
LAUNCH, SOFTWARE = "ANDON_EDGE_LAUNCH", "ANDON_EDGE_SOFTWARE"
STANDBY = "X_ANDON_STANDBY=1"
ANSWERED, LOST = "X_ANDON_ANSWERED", "X_ANDON_LOST"
HAND_OVER = signal.SIGUSR2
_FILE = "launch.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """How this device's client is launched.

    Attributes:
        folder: Of environments and state.
        base_python: Of the base environment: it builds the others.
        base_version: The client's version there.
        words: The client's command line, without its program.
        working_folder: Where it is started.
    """

    folder: Path
    base_python: Path
    base_version: str
    words: tuple[str, ...]
    working_folder: Path


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """Return how this process was launched; None when it was started by hand or runs inside an application."""
    if environment.get(LAUNCH) != VERSION or not environment.get(SOFTWARE):
        return None
    return last_launch(Path(environment[SOFTWARE]))


def last_launch(folder: Path) -> Launched | None:
    """Return how the client of a state folder was launched last; None if it never was."""
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return Launched(
            folder=folder,
            base_python=Path(found["base_python"]),
            base_version=str(found["base_version"]),
            words=tuple(str(word) for word in found["words"]),
            working_folder=Path(found["working_folder"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_launch(folder: Path, words: Sequence[str]) -> None:
    """Write down how this launcher starts clients. Its own environment is the base."""
    value = {
        "protocol": VERSION,
        "base_python": sys.executable,
        "base_version": CLIENT_VERSION,
        "words": list(words),
        "working_folder": str(Path.cwd()),
    }
    replace_private(folder / _FILE, json.dumps(value, indent=1).encode())


def fields(message: bytes) -> dict[str, str]:
    """Read a message: lines of NAME=VALUE."""
    lines = message.decode(errors="replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)
