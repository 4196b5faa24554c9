"""A lock in the catalog's PostgreSQL server: one holder over all machines that use it.

1. It belongs to a connection of its own and ends with it, however its process ends. It carries no state.
2. A connection that breaks gives the lock away while its holder still works: so it is only for what is harmless to run
   twice, and merely wasteful or confusing to run at once. Keep-alives tell the server of a lost machine in a minute.
3. It needs sessions: a pooler in front of PostgreSQL must not share them between transactions.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from edge_client.contract.errors import AndonError

_POLL_SECONDS = 0.2
_CONNECT_SECONDS = 10
_PUBLISHING_SECONDS = 300.0  # a large engine over a slow line to the bucket
_KEEP_ALIVE: dict[str, Any] = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}


class LockUnavailable(AndonError):
    """The server of the lock does not answer; the message has its words."""


class Busy(AndonError):
    """Another process is at it, and did not finish in the time this one would wait."""


def on_a_server(url: str) -> bool:
    """Whether the catalog at this URL is one that several machines may use."""
    return url.startswith(("postgresql:", "postgresql+"))


def publisher_lock(url: str) -> Callable[[], AbstractContextManager[None]]:
    """What one holds to publish releases: nothing more than the machine's own lock where the catalog is a file."""
    if not on_a_server(url):
        return nullcontext
    return lambda: server_lock(url, "publish", wait_seconds=_PUBLISHING_SECONDS)


def key_of(what: str) -> int:
    """The server's number of a lock, a signed 64-bit integer.

    >>> key_of("release") == key_of("release") != key_of("watch")
    True
    """
    return int.from_bytes(hashlib.sha256(f"andon {what}".encode()).digest()[:8], "big", signed=True)


@contextmanager
def server_lock(
    url: str, what: str, *, wait_seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold a lock.

    Args:
        url: The catalog's.
        what: Its name.
        wait_seconds: For somebody else to let go of it.
        sleep: Waits between two tries.

    Raises:
        Busy: It was not free in time.
        LockUnavailable: The server does not answer.
    """
    import psycopg

    bare = url if url.startswith("postgresql:") else f"postgresql:{url.partition(':')[2]}"
    try:
        connection = psycopg.connect(
            bare,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            application_name=f"andon {what}"[:63],
            **_KEEP_ALIVE,
        )
    except psycopg.Error as error:
        raise LockUnavailable(f"{what}: PostgreSQL cannot be asked for the lock: {_words(error)}") from error
    with connection:
        deadline = time.monotonic() + wait_seconds
        try:
            while not _taken(connection, what):
                if time.monotonic() >= deadline:
                    raise Busy(
                        f"{what}: {_holder(connection, what)} has been at it for {wait_seconds:.0f} s or more; "
                        "wait for it to end, or look at it in Prefect"
                    )
                sleep(_POLL_SECONDS)
        except psycopg.Error as error:
            raise LockUnavailable(f"{what}: PostgreSQL was lost while waiting for the lock: {_words(error)}") from error
        yield


def _taken(connection: Any, what: str) -> bool:
    return bool(connection.execute("SELECT pg_try_advisory_lock(%s)", (key_of(what),)).fetchone()[0])


def _holder(connection: Any, what: str) -> str:
    """Who holds it: where its connection comes from, and the server's process for it."""
    key = key_of(what) & 0xFFFF_FFFF_FFFF_FFFF
    found = connection.execute(
        "SELECT a.client_addr, a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
        "AND l.classid::bigint = %s AND l.objid::bigint = %s",
        (key >> 32, key & 0xFFFF_FFFF),
    ).fetchone()
    if found is None:
        return "another process"
    return f"a process at {found[0] or 'the server itself'} (connection {found[1]} of PostgreSQL)"


def _words(error: Exception) -> str:
    return " ".join(str(error).split())
