"""The HTTP server: an accept loop and a thread for each connection. No event loop: a request is read, inspected and
answered on one thread, and Python's lock is free while the engine runs.

1. There are at most `connections` connections; one more is answered 503 and closed.
2. A request is read whole, then inspected in a slot, then answered; nothing holds a slot while it waits for a client.
3. A request that cannot be understood is answered with its status, and the connection closed where the next request's
   beginning is not known.
4. `stop`: no new connections; idle ones close; requests under way end and are answered, within a bound.
5. A listening socket that was handed to this server is shared with the server after it: it is only let go, never shut
   down. A connection that was accepted is served, and idle ones get a moment in which one more request is answered,
   with word that the connection ends: a client that is just sending loses nothing.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial

from edge_client.serving.body_budget import BodyBudget
from edge_client.serving.http_answers import Answer, Prepared, answer, prepare, refused
from edge_client.serving.http_head import Head, Heads
from edge_client.serving.http_reader import HttpLimits, HttpReader
from edge_client.serving.problems import Kind, Refusal
from edge_client.serving.service import Service
from edge_client.serving.wire import Gone, TooSlow, Wire

log = logging.getLogger(__name__)

_BACKLOG = 128
_ACCEPT_SECONDS = 0.1  # a shared socket's accept loop looks so often whether it should end
_IDLE_GRACE_SECONDS = 0.5
_TURNED_AWAY = 8  # connections that are told why at the same time; more are just closed


class HttpServer:
    """Serves HTTP.

    Args:
        service: What is served.
        host: Address to listen on.
        port: Port; 0 for a free one.
        token: Demanded of every request but health probes; None for none.
        tls: For HTTPS.
        limits: Of one request.
        connections: Most at once.
        listener: A listening socket to share, instead of host and port.

    Raises:
        OSError: The address cannot be listened on.
    """

    def __init__(
        self,
        service: Service,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        limits: HttpLimits | None = None,
        connections: int = 64,
        listener: socket.socket | None = None,
    ) -> None:
        self._service = service
        self._tls = tls
        self._limits = limits or HttpLimits()
        self._connections = connections
        self._budget = BodyBudget(self._limits.bodies_bytes)
        self._heads: Heads[Prepared] = Heads(partial(prepare, token=token))
        self._stopping = False
        self._turning = threading.Semaphore(_TURNED_AWAY)
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, tuple[Wire, HttpReader[Prepared]]] = {}
        self._shared = listener is not None
        if listener is not None:
            listener = listener.dup()  # the one that was handed over stays for whatever this process becomes
            listener.settimeout(_ACCEPT_SECONDS)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener = listener
        self.host, self.port = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, name="andon-http-accept", daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls is not None else 'http'}://{host}:{self.port}"

    @property
    def bodies_held(self) -> int:
        """Bytes of bodies that are held for requests under way."""
        return self._budget.held

    @property
    def accepts(self) -> bool:
        """Whether connections are accepted."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to accept connections."""
        self._thread.start()

    def stop(self, *, seconds: float = 10.0) -> None:
        """End by rule 4, in at most `seconds`."""
        self._stopping = True
        if self._shared:
            self._thread.join(10 * _ACCEPT_SECONDS)  # rule 5: what it has accepted by then is served
        else:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept loop
            except OSError:
                pass
        self._listener.close()
        begun = time.monotonic()
        deadline = begun + seconds
        patient_until = begun + _IDLE_GRACE_SECONDS if self._shared else begun
        while time.monotonic() < deadline:
            threads = self._still_open()
            if not threads and not (self._shared and self._service.counts.connections):
                break
            time.sleep(0 if threads else 0.005)  # one was accepted, and its thread has not begun
            for thread, (wire, reader) in threads.items():
                if reader.idle and time.monotonic() >= patient_until:
                    wire.end_reading()
                thread.join(0.02)
        for wire, _ in self._still_open().values():
            wire.close()

    def _still_open(self) -> dict[threading.Thread, tuple[Wire, HttpReader[Prepared]]]:
        with self._lock:
            return dict(self._open)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if self._stopping:
                    return
                log.warning("a connection could not be accepted: %s", error)  # out of descriptors, perhaps
                time.sleep(0.1)
                continue
            if not self._service.counts.connected(self._connections):
                if not self._turning.acquire(blocking=False):
                    sock.close()
                elif not self._begin(self._turn_away, sock):
                    self._turning.release()
                    sock.close()
                continue
            if not self._begin(self._serve, sock):
                self._service.counts.disconnected()
                sock.close()

    def _begin(self, work: Callable[[socket.socket], None], sock: socket.socket) -> bool:
        """Start a connection's thread; False when the system gives no more."""
        try:
            threading.Thread(target=work, args=(sock,), name="andon-http", daemon=True).start()
        except RuntimeError as error:
            log.warning("a connection could not be served: %s", error)
            return False
        return True

    def _turn_away(self, sock: socket.socket) -> None:
        """Say that there are too many connections. On a thread of its own, since the client may still be sending."""
        refusal = Refusal(
            Kind.OVERLOADED,
            f"{self._connections} connections are open, the most that may: use fewer, or another server",
        )
        try:
            if self._tls is None:  # a handshake is more than the refusal is worth
                wire = Wire(sock)
                wire.write(refused(refusal).on_the_wire(keep_alive=False), time.monotonic() + 1.0)
                wire.close(linger=True)
        except (Gone, TooSlow):
            pass
        finally:
            sock.close()
            self._turning.release()

    def _serve(self, sock: socket.socket) -> None:
        """Serve one connection to its end."""
        wire: Wire | None = None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock.settimeout(self._limits.head_seconds)
                sock = self._tls.wrap_socket(sock, server_side=True)
            wire = Wire(sock)
            reader = HttpReader(wire, self._heads, _head_of, self._limits, self._budget)
            with self._lock:
                self._open[threading.current_thread()] = (wire, reader)
            while self._one(wire, reader):
                pass
        except (OSError, Gone, TooSlow) as error:
            log.debug("a connection ended: %r", error)
        except Exception:
            log.exception("a connection failed")
        finally:
            with self._lock:
                served = self._open.pop(threading.current_thread(), None)
            if served is not None:
                served[1].close()
            self._service.counts.disconnected()
            if wire is None:
                sock.close()
            else:
                wire.close()

    def _one(self, wire: Wire, reader: HttpReader[Prepared]) -> bool:
        """Serve one request; False when the connection is to be closed."""
        try:
            request = reader.next()
        except Refusal as refusal:
            self._service.counts.begin()
            self._send(wire, refused(refusal), None, started=time.perf_counter(), keep_alive=False)
            wire.close(linger=True)
            return False
        if request is None:
            return False
        started = time.perf_counter()
        self._service.counts.begin()
        prepared, body = request
        try:
            made = answer(self._service, prepared, body)
        except Refusal as refusal:
            made = refused(refusal)
        except Exception as error:  # the server's boundary: one request's fault is not the next one's
            log.exception("a request failed")
            made = refused(Refusal(Kind.ENGINE, f"the server failed on this request: {type(error).__name__}"))
        keep_alive = prepared.head.keep_alive and not reader.ambiguous and not self._stopping
        self._send(wire, made, prepared, started=started, keep_alive=keep_alive)
        return keep_alive

    def _send(self, wire: Wire, made: Answer, prepared: Prepared | None, *, started: float, keep_alive: bool) -> None:
        model = ""
        if prepared is not None and prepared.route is not None and made.status != Kind.NOT_FOUND.value:
            model = prepared.route.model
        self._service.counts.end("http", model, made.status, time.perf_counter() - started, made.reason)
        with_body = prepared is None or prepared.head.method != "HEAD"
        wire.write(
            made.on_the_wire(keep_alive=keep_alive, with_body=with_body),
            time.monotonic() + self._limits.write_seconds,
        )


def _head_of(prepared: Prepared) -> Head:
    return prepared.head
