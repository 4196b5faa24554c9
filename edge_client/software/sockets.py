"""Listening sockets that outlive the process which serves on them: systemd's protocol of socket activation.

``LISTEN_FDS`` sockets lie at descriptor 3 and up in the process ``LISTEN_PID``, named by ``LISTEN_FDNAMES``. The
launcher takes what systemd gave it, or listens by itself, and hands the same sockets to each client it starts: while
no client accepts, connections wait in the kernel's queue instead of being refused.

Standard library alone.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence

FIRST_DESCRIPTOR = 3
HTTP = "http"
_BACKLOG = 1024  # while the process changes nobody accepts: as many may wait as the kernel allows
_MOST = 16


def inherited(environment: Mapping[str, str] = os.environ, *, pid: int | None = None) -> dict[str, socket.socket]:
    """Return the listening sockets that this process was started with, by name; the first is ``http`` if unnamed.

    They are copies: closed, they leave the descriptors to the program that this process becomes when it begins anew.
    """
    if environment.get("LISTEN_PID") != str(pid or os.getpid()):
        return {}
    count = environment.get("LISTEN_FDS", "")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for i in range(min(int(count), _MOST) if count.isdigit() else 0):
        name = names[i] if i < len(names) and names[i] not in ("", "unknown") else HTTP
        found[name if name == HTTP or len(names) > 1 else HTTP] = socket.socket(fileno=os.dup(FIRST_DESCRIPTOR + i))
    return found


def listening(words: Sequence[str]) -> dict[str, socket.socket]:
    """Listen where a command line of the client says; nothing for commands other than ``serve``.

    Raises:
        OSError: The address cannot be listened on.
    """
    if not words or words[0] != "serve":
        return {}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="8080")
    where, _ = parser.parse_known_args(list(words[1:]))
    if not where.port.isdigit():
        return {}  # the client itself says what is wrong with it
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    return {HTTP: socket.create_server((where.host, int(where.port)), family=family, backlog=_BACKLOG)}


def environment_for(sockets: Mapping[str, socket.socket], pid: int) -> dict[str, str]:
    """Return what a child with these sockets at descriptor 3 and up must find in its environment."""
    if not sockets:
        return {}
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
