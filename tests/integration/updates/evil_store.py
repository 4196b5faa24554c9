"""A store over HTTP that holds a bucket's objects and misbehaves for some of them: endless, or a byte a second."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from edge_client.contract.bucket import DirectoryBucket, S3Bucket, S3Settings
from edge_client.contract.pace import Pace

# Only what is slow is waited for; what is refused for its answer must not look slow on a busy machine.
QUICK = Pace(stall_seconds=0.3, least_bytes_per_second=1_000, total_seconds=5)
PATIENT = Pace(stall_seconds=30, total_seconds=120)


class EvilStore:
    """Answers GET from a folder; objects whose key contains `about` are served the `way` says."""

    def __init__(self, objects: DirectoryBucket, way: str, about: str) -> None:
        self.stop = threading.Event()
        self.pace = QUICK if way == "slow" else PATIENT
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    store._answer(self, objects, way, about)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def _answer(self, request: BaseHTTPRequestHandler, objects: DirectoryBucket, way: str, about: str) -> None:
        key = unquote(request.path.partition("?")[0]).removeprefix("/andon/")
        info = objects.head(key)
        if info is None:
            body = b"<Error><Code>NoSuchKey</Code></Error>"
            request.send_response(404)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
            return
        data = objects.get(key, max_bytes=info.bytes)
        evil = way if about in key else ""
        first, last = 0, len(data) - 1
        ranged = request.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if ranged[0]:
            first, last = int(ranged[0]), min(last, int(ranged[2]))
        part = data[first : last + 1]
        request.send_response(206 if ranged[0] else 200)
        if evil == "endless":  # no length, and the connection never ends
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
            while not self.stop.is_set():
                request.wfile.write(chunk)
            return
        length = 1 << 40 if evil == "huge" else len(part)
        request.send_header("Content-Length", str(length))
        request.end_headers()
        if evil == "huge":
            while not self.stop.is_set():
                request.wfile.write(b" " * 65_536)
        if evil == "slow":
            for byte in part:
                request.wfile.write(bytes([byte]))
                request.wfile.flush()
                if self.stop.wait(0.1):
                    return
        request.wfile.write(part)

    def bucket(self) -> S3Bucket:
        """The store as a device reaches it."""
        settings = S3Settings(
            bucket="andon",
            endpoint_url=f"http://127.0.0.1:{self.server.server_port}",
            access_key_id="AK",
            secret_access_key="not one",
        )
        return S3Bucket.connect(settings, attempts=1, pace=self.pace)


@contextlib.contextmanager
def serving(objects: DirectoryBucket, way: str, about: str) -> Iterator[S3Bucket]:
    """Serve in a thread."""
    store = EvilStore(objects, way, about)
    thread = threading.Thread(target=store.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield store.bucket()
    finally:
        store.stop.set()
        store.server.shutdown()
        store.server.server_close()
        thread.join(5)
