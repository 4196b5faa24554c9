"""How requests of a bucket get their deadline: botocore's HTTP session with watched sockets.

botocore and urllib3 know time-outs for one call of `recv` or `send`. A server that sends or takes a byte a second
holds them for ever; and a body that lies in the kernel's buffers counts as sent there. Here:

1. Each request has a `Watch`. Every connection that works for it (made or taken from the pool, TLS or not) is followed
   from the moment it has a socket.
2. One thread looks at all watches, a few times a second, and asks `pace` about the bytes that the *kernel* says have
   arrived at the other side or here (TCP_INFO; elsewhere than on Linux: the bytes handed over). A watch that is to be
   given up has its sockets shut down, which ends whatever call waits on them.
3. The watch holds its own duplicate of the descriptor, so that a socket that was closed meanwhile can't be mistaken.
4. Bodies are sent in pieces; before each piece a throttle may make the sender rest.

Resolving a name is the one step without a socket; the resolver has its own time-outs.
"""

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from edge_client.contract.build_date import BUILT_AT
from edge_client.contract.pace import Pace, Progress

Throttle = Callable[[int], None]
"""Called before so many bytes are sent; rests as long as it has to."""

_PIECE_BYTES = 16_384
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python does not name
_LOOK_SECONDS = 0.2
_TCP_INFO_ACKED = 120  # offset of tcpi_bytes_acked, tcpi_bytes_received in struct tcp_info (Linux 4.1, linux/tcp.h)

_current = threading.local()  # the watch of the request that this thread makes


class Watch:
    """One request: its sockets, what they moved, and whether it was given up.

    Args:
        pace: What is expected.
        expected_bytes: What the request moves, as far as known.
        throttle: Makes the sender rest.
        monotonic: Seconds.
    """

    def __init__(
        self, pace: Pace, *, expected_bytes: int, throttle: Throttle | None, monotonic: Callable[[], float]
    ) -> None:
        self._progress = Progress(pace, at=monotonic(), expected_bytes=expected_bytes)
        self._throttle = throttle
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._sockets: dict[int, tuple[socket.socket, int]] = {}  # by inode: our duplicate, bytes moved before us
        self._handed = 0
        self._rested = 0.0
        self._resting_since: float | None = None
        self.given_up = ""

    def follow(self, sock: socket.socket) -> None:
        """Follow a socket from now on."""
        with self._lock:
            inode = os.fstat(sock.fileno()).st_ino
            if inode not in self._sockets:
                own = socket.socket(fileno=os.dup(sock.fileno()))
                self._sockets[inode] = (own, _moved(own) or 0)
            if self.given_up:
                self._shut()

    def sending(self, count: int) -> None:
        """Say that so many bytes are about to be sent; rests first if it must."""
        if self._throttle is not None:
            with self._lock:
                self._resting_since = self._monotonic()
            try:
                self._throttle(count)
            finally:
                with self._lock:
                    self._rested += self._monotonic() - self._resting_since
                    self._resting_since = None
        self._handed += count

    def look(self) -> None:
        """Give the request up if the rules say so."""
        with self._lock:
            if self.given_up:
                return
            at = self._monotonic()
            rested = self._rested + (0.0 if self._resting_since is None else at - self._resting_since)
            counted = [(_moved(own), before) for own, before in self._sockets.values()]
            moved = sum(found - before for found, before in counted if found is not None)
            if any(found is None for found, _ in counted):
                moved = self._handed
            self.given_up = self._progress.judge(at, moved=moved, rested=rested)
            if self.given_up:
                self._shut()

    def end(self) -> None:
        """Let go of the sockets."""
        with self._lock:
            for own, _ in self._sockets.values():
                own.close()
            self._sockets.clear()

    def _shut(self) -> None:
        for own, _ in self._sockets.values():
            with contextlib.suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)


def _moved(sock: socket.socket) -> int | None:
    """Bytes that the peer has acknowledged and that were received, or None where the kernel does not tell."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        acked, received = struct.unpack_from("=QQ", told, _TCP_INFO_ACKED)
    except (AttributeError, OSError, struct.error):
        return None
    return int(acked + received)


class Watchman:
    """The thread that looks at all watches of a bucket; it sleeps while there is none."""

    def __init__(self, pace: Pace, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._watches: set[Watch] = set()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    @contextlib.contextmanager
    def request(self, expected_bytes: int, throttle: Throttle | None = None) -> Iterator[Watch]:
        """Watch what this thread asks for inside."""
        watch = Watch(self._pace, expected_bytes=expected_bytes, throttle=throttle, monotonic=self._monotonic)
        before = getattr(_current, "watch", None)
        with self._changed:
            if self._process != os.getpid():  # forked: what is under way belongs to the parent
                self._watches, self._process = set(), os.getpid()
            self._watches.add(watch)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="andon-watchman", daemon=True)
                self._thread.start()
            self._changed.notify()
        _current.watch = watch
        try:
            yield watch
        finally:
            _current.watch = before
            with self._changed:
                self._watches.discard(watch)
            watch.end()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._watches:
                    self._changed.wait()
                watches = list(self._watches)
            for watch in watches:
                watch.look()
            time.sleep(_LOOK_SECONDS)


class _Followed:
    """Mixed into a connection: its socket is followed, its body goes in pieces."""

    sock: Any

    def _new_conn(self) -> Any:
        sock = super()._new_conn()  # type: ignore[misc]  # of urllib3's connection
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is not None:
            watch.follow(sock)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> Any:
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is not None and self.sock is not None:  # from the pool
            watch.follow(self.sock)
        return super().request(*args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> Any:
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is None or not isinstance(data, bytes | bytearray | memoryview):
            return super().send(data)  # type: ignore[misc]
        view = memoryview(data)
        for start in range(0, len(view), _PIECE_BYTES):
            piece = view[start : start + _PIECE_BYTES]
            watch.sending(len(piece))
            super().send(piece)  # type: ignore[misc]
        return None


class _Connection(_Followed, AWSHTTPConnection):  # type: ignore[misc]  # botocore has no types
    pass


class _TlsConnection(_Followed, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _TlsPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TlsConnection


class PacedSession(URLLib3Session):  # type: ignore[misc]
    """botocore's session with followed connections. It takes the place of a client's own by the event `before-send`,
    whose handler may answer a request itself.
    """

    @classmethod
    def like(cls, client: Any, pace: Pace, *, connect_seconds: float, ca_bundle: str | None) -> "PacedSession":
        """Make a session for a client, with the proxies and certificates that botocore would take."""
        bundle = ca_bundle or os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or True
        return cls(
            unwatched_seconds=pace.stall_seconds,
            verify=bundle,
            proxies=get_environ_proxies(client.meta.endpoint_url),
            # the watchman is stricter, and the kernel may still be sending a body when its last piece was handed over
            timeout=(connect_seconds, pace.total_seconds),
            max_pool_connections=client.meta.config.max_pool_connections,
        )

    def __init__(self, *, unwatched_seconds: float, **arguments: Any) -> None:
        self._unwatched_seconds = unwatched_seconds
        self._context: ssl.SSLContext = super()._get_ssl_context()
        super().__init__(**arguments)
        self._pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._manager.pool_classes_by_scheme = self._pool_classes_by_scheme

    def send(self, request: Any) -> Any:
        """Send a request; one that nobody watches has botocore's own time-out.

        While the clock shows a time before this client was built, certificates are not judged by
        it (who signed them and for whom is): a device whose clock lost its battery must be able to learn the time.
        """
        if datetime.now(UTC) < BUILT_AT:
            self._context.verify_flags |= _NO_CHECK_TIME
        else:
            self._context.verify_flags &= ~_NO_CHECK_TIME
        if getattr(_current, "watch", None) is None:
            request.context.setdefault("read_timeout", self._unwatched_seconds)
        return super().send(request)

    def _get_ssl_context(self) -> ssl.SSLContext:
        return self._context
