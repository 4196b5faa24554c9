"""A load generator that costs little: one process, raw sockets, requests made beforehand, one epoll loop.

    python -m benchmarks.load HOST PORT REQUESTS CONNECTIONS SECONDS WARM_UP_SECONDS

REQUESTS is a file of requests as they go over the wire (`write_requests`). Each connection sends one, waits for its
answer, and sends the next; the connections begin at different ones. It prints one JSON object: answers in the measured
time by status, the latencies in milliseconds, and what was not answered.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_PATIENCE_SECONDS = 30.0
_SIZE = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of a load: answers a second, latencies in ms, answers by status, requests without an answer."""

    per_second: float
    latencies_ms: list[float]
    statuses: dict[str, int]
    failed: int


def write_requests(path: Path, requests: Sequence[bytes]) -> None:
    """Write requests for the generator."""
    path.write_bytes(b"".join(_SIZE.pack(len(r)) + r for r in requests))


def start_load(
    port: int, requests: Path, *, connections: int, seconds: float, warm_up: float = 0.5, host: str = "127.0.0.1"
) -> subprocess.Popen[bytes]:
    """Start the generator as a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", host, str(port), str(requests)]
    return subprocess.Popen([*command, str(connections), str(seconds), str(warm_up)], stdout=subprocess.PIPE)


def finish_load(process: subprocess.Popen[bytes], *, timeout: float) -> Load:
    """Wait for the generator and read what it printed."""
    out, _ = process.communicate(timeout=timeout)
    return Load(**json.loads(out))


def run_load(
    port: int, requests: Path, *, connections: int, seconds: float, warm_up: float = 0.5, host: str = "127.0.0.1"
) -> Load:
    """Load a server."""
    started = start_load(port, requests, connections=connections, seconds=seconds, warm_up=warm_up, host=host)
    return finish_load(started, timeout=seconds + warm_up + 2 * _PATIENCE_SECONDS)


class _Connection:
    """One connection with one request under way."""

    def __init__(self, address: tuple[str, int], requests: Sequence[memoryview], first: int) -> None:
        self._address = address
        self._requests = requests
        self._next = first
        self._buffer = bytearray(1 << 20)
        self._view = memoryview(self._buffer)
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(self._address, timeout=_PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.socket.setblocking(False)
        self.left = memoryview(b"")
        self._got = 0
        self._end = -1

    def begin(self) -> None:
        self.left = self._requests[self._next % len(self._requests)]
        self._next += 1
        self._got, self._end = 0, -1
        self.started = time.perf_counter()
        self.send()

    def send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.left:
                self.left = self.left[self.socket.send(self.left) :]

    def receive(self) -> int:
        """Return the status when the answer is whole, else 0."""
        count = self.socket.recv_into(self._view[self._got :])
        if not count:
            raise ConnectionError("closed")
        self._got += count
        if self._end < 0:
            at = self._buffer.find(b"\r\n\r\n", 0, self._got)
            if at < 0:
                return 0
            head = bytes(self._view[:at]).lower()
            self._end = at + 4 + int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0])
        return int(self._view[9:12]) if self._got >= self._end else 0


def _generate(address: tuple[str, int], requests: list[memoryview], n: int, seconds: float, warm_up: float) -> Load:
    stop_at = [float("inf")]
    signal.signal(signal.SIGTERM, lambda *_: stop_at.__setitem__(0, time.perf_counter()))  # it ends in order
    poll = select.epoll()
    connections = [_Connection(address, requests, i * len(requests) // n) for i in range(n)]
    by_fd = {c.socket.fileno(): c for c in connections}
    latencies: list[float] = []
    statuses: Counter[str] = Counter()
    failed = 0
    begin = time.perf_counter() + warm_up
    end = begin + seconds
    sending = select.EPOLLIN | select.EPOLLOUT
    for fd, c in by_fd.items():
        c.begin()
        poll.register(fd, sending if c.left else select.EPOLLIN)
    while by_fd:
        end = min(end, stop_at[0])
        for fd, _ in poll.poll(1.0):
            c = by_fd[fd]
            try:
                if c.left:
                    c.send()
                    if not c.left:
                        poll.modify(fd, select.EPOLLIN)
                    continue
                status = c.receive()
            except BlockingIOError:
                continue
            except OSError:
                status = -1
            now = time.perf_counter()
            if status == 0:
                continue
            if begin <= now < end:
                statuses[str(status)] += 1
                latencies.append((now - c.started) * 1e3)
            if status < 0:
                failed += 1
                poll.unregister(fd)
                del by_fd[fd]
                c.socket.close()
                if now < end:
                    with contextlib.suppress(OSError):
                        c.connect()
                        by_fd[c.socket.fileno()] = c
                        c.begin()
                        poll.register(c.socket.fileno(), sending)
                continue
            if now >= end:
                poll.unregister(fd)
                del by_fd[fd]
                c.socket.close()
                continue
            c.begin()
            if c.left:
                poll.modify(fd, sending)
        if time.perf_counter() > end + _PATIENCE_SECONDS:
            failed += len(by_fd)
            break
    answered = sum(count for status, count in statuses.items() if status == "200")
    return Load(per_second=answered / (end - begin), latencies_ms=latencies, statuses=dict(statuses), failed=failed)


def infer_request(model: str, frame: np.ndarray[Any, Any], *, part_id: str, outputs: Sequence[str]) -> bytes:
    """One inference request of the Open Inference Protocol over HTTP, frame and answer as binary tensors."""
    head = json.dumps(
        {
            "parameters": {"part_id": part_id},
            "inputs": [
                {
                    "name": "image",
                    "datatype": "UINT8",
                    "shape": [1, *frame.shape],
                    "parameters": {"binary_data_size": frame.nbytes},
                }
            ],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
        }
    ).encode()
    return http_request(
        f"/v2/models/{model}/infer", head + frame.tobytes(), {"Inference-Header-Content-Length": str(len(head))}
    )


def http_request(path: str, body: bytes, fields: dict[str, str]) -> bytes:
    """One POST as it goes over the wire."""
    told = {"Host": "127.0.0.1", "Content-Type": "application/octet-stream", "Content-Length": str(len(body))} | fields
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def main(arguments: Sequence[str]) -> None:
    host, port, path, connections, seconds, warm_up = arguments
    data, at, requests = memoryview(Path(path).read_bytes()), 0, []
    while at < len(data):
        (size,) = _SIZE.unpack_from(data, at)
        requests.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    load = _generate((host, int(port)), requests, int(connections), float(seconds), float(warm_up))
    json.dump({f: getattr(load, f) for f in Load.__dataclass_fields__}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
