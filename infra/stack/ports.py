"""Ports on loopback: chosen free once, remembered for ever, so that addresses in bundles and bookmarks stay right.

1. A port is taken from 20000-31999, below the range from which Linux takes ports for outgoing connections: a
   remembered port is not lost to some client's connection while the stack is down.
2. A remembered port that a stranger holds is an error that names both; it is never silently changed.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Mapping

import psutil

from infra.stack.layout import StackError

LOOPBACK = "127.0.0.1"
LOWEST, HIGHEST = 20_000, 31_999
_TRIES = 2_000

#: Name of each port and what listens on it.
PORT_NAMES = {
    "bucket": "the bucket's S3 endpoint",
    "mlflow": "MLflow",
    "prefect": "Prefect",
    "console": "the console",
    "bucket-s3-grpc": "the bucket's inner S3 port",
    "bucket-master": "the bucket's master",
    "bucket-master-grpc": "the bucket's master (gRPC)",
    "bucket-volume": "the bucket's volume server",
    "bucket-volume-grpc": "the bucket's volume server (gRPC)",
    "bucket-filer": "the bucket's filer",
    "bucket-filer-grpc": "the bucket's filer (gRPC)",
}


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT don't hold it
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose_ports(names: Collection[str], rng: random.Random, *, avoid: Collection[int] = ()) -> dict[str, int]:
    """Choose a free port for each name.

    Raises:
        StackError: Too few are free.
    """
    chosen: dict[str, int] = {}
    for name in names:
        for _ in range(_TRIES):
            port = rng.randint(LOWEST, HIGHEST)
            if port not in avoid and port not in chosen.values() and is_free(port):
                chosen[name] = port
                break
        else:
            raise StackError(
                f"no free port between {LOWEST} and {HIGHEST} on {LOOPBACK}: see `ss -ltnp` for what holds them"
            )
    return chosen


def check_free(ports: Mapping[str, int]) -> None:
    """Check that the remembered ports can be used.

    Raises:
        StackError: One is taken; the message names who holds it where that can be known.
    """
    for name, port in ports.items():
        if not is_free(port):
            holder = holder_of(port) or "a process that this user may not see (try `sudo ss -ltnp`)"
            raise StackError(
                f"port {port} on {LOOPBACK}, where {PORT_NAMES.get(name, name)} of this stack listens, is taken "
                f"by {holder}; "
                f'end that process, or set another number for "{name}" in stack.json, then run `andon up` again'
            )


def holder_of(port: int) -> str | None:
    """Who listens on a port, in words, or None where that cannot be known."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, PermissionError):
        return None
    for connection in connections:
        if (
            connection.laddr
            and connection.laddr.port == port
            and connection.status == psutil.CONN_LISTEN
            and connection.pid
        ):
            try:
                process = psutil.Process(connection.pid)
                return f"process {connection.pid} ({' '.join(process.cmdline())[:120] or process.name()})"
            except psutil.Error:
                return f"process {connection.pid}"
    return None
