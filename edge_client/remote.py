"""A client of `andon-edge serve`, for machines that have no engine of their own, or borrow a neighbour's.

    remote = RemoteClient(["http://line-1:8080", "http://line-2:8080"], model="solar-cells", token=TOKEN)
    prediction = remote.predict(frame, part_id="A-1042")

Standard library and numpy alone. It keeps connections open, sends frames as binary tensors, and goes to the next server
when one dies or is overloaded (`failover`). A request that broke on its way may have been inspected already, and
captured; it is then inspected once more: an answer is worth more than an exact count.
"""

from __future__ import annotations

import http.client
import json
import math
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import AndonError, BadEngine, BadImage, ConfigError
from edge_client.failover import Failover, share_of_time
from edge_client.http_deadline import Deadline, ask_until
from edge_client.images import check_frames
from edge_client.prediction import Prediction

_OUTPUTS = ("probabilities", "classes", "verdict", "label", "defect_probability", "anomaly", "anomaly_map", "embedding")
_REMEMBERED = 1024  # sample ids, to flag them where they were answered
_KEPT = 8  # idle connections to one server
_MOST_ANSWER = 256 << 20


class ServerRefused(AndonError):
    """A server answered that it will not do this: a wrong token, an unknown model, a request it cannot read."""


class NoServer(AndonError):
    """No server answered in time. The application decides: unanswered is not ok."""


class _Failed(AndonError):
    """This server did not answer."""


class _Overloaded(AndonError):
    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(slots=True, kw_only=True)
class RemoteCounts:
    """What happened since the start.

    Attributes:
        requests: Calls.
        answered: Calls with an answer; requests = answered + refused + lost + those under way.
        refused: Calls that a server refused.
        lost: Calls that no server answered.
        failures: Attempts that broke or were too slow.
        overloaded: Attempts that were turned away.
        elsewhere: Calls answered by another than the first server tried.
    """

    requests: int = 0
    answered: int = 0
    refused: int = 0
    lost: int = 0
    failures: int = 0
    overloaded: int = 0
    elsewhere: int = 0


class RemoteClient:
    """Inspects on other machines. Safe to use from several threads.

    Args:
        urls: Servers, in order of preference: ``http://HOST:PORT`` or ``https://…``.
        model: The inspection.
        token: What the servers ask for, if they do.
        timeout: Most seconds of one call, over all servers.
        attempt_seconds: Most seconds of one attempt on one server.
        tls: For https; None trusts what the system trusts.
        failover: The rules' settings; None for the usual ones.

    Raises:
        ConfigError: A URL cannot be used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str,
        token: str | None = None,
        timeout: float = 10.0,
        attempt_seconds: float = 3.0,
        tls: ssl.SSLContext | None = None,
        failover: Failover | None = None,
    ) -> None:
        if not urls:
            raise ConfigError("RemoteClient needs at least one server's URL")
        self._servers = [_Server(url, token, tls) for url in urls]
        self._model = quote(model, safe="")
        self._timeout = timeout
        self._attempt = attempt_seconds
        self._rules = failover or Failover(len(urls))
        self._lock = threading.Lock()
        self._counts = RemoteCounts()
        self._answered_by: OrderedDict[str, int] = OrderedDict()

    def predict(
        self,
        frame: NDArray[np.uint8] | bytes,
        *,
        part_id: str | Sequence[str | None] | None = None,
        context: Mapping[str, float | str] | None = None,
        capture: bool = True,
    ) -> Any:
        """Inspect one frame or a batch, as `Client.predict` does.

        Args:
            frame: uint8 [H, W, 3] RGB, a batch [N, H, W, 3], or one image file's bytes.
            part_id: The part; for a batch one for each frame, or one for all.
            context: Process values.
            capture: False for frames that must never be kept.

        Returns:
            A `Prediction`; for a batch a list of N.

        Raises:
            BadImage: The frame cannot be inspected.
            BadEngine: Each server's engine failed on it.
            ServerRefused: A server will not do this at all.
            NoServer: No server answered in time.
        """
        batched = not isinstance(frame, bytes) and getattr(frame, "ndim", 0) == 4
        pieces, fields = _request(frame, part_id=part_id, context=context, capture=capture)
        body, head_bytes, server = self._ask("POST", "infer", pieces, fields)
        predictions = _predictions(body, head_bytes, part_id)
        with self._lock:
            for prediction in predictions:
                self._answered_by[prediction.sample_id] = server
            while len(self._answered_by) > _REMEMBERED:
                self._answered_by.popitem(last=False)
        return predictions if batched else predictions[0]

    def flag(self, prediction: Prediction, *, reason: str = "", label: str = "") -> bool:
        """Pull the cord, at the server that answered.

        Returns:
            True once it is stored there; False when it could not be: that server is gone, or has forgotten the sample.
        """
        with self._lock:
            server = self._answered_by.get(prediction.sample_id)
        if server is None:
            return False
        told = {"sample_id": prediction.sample_id, "reason": reason, "label": label}
        try:
            self._ask("POST", "flag", [json.dumps(told).encode()], {}, only=server)
        except (NoServer, ServerRefused):
            return False
        return True

    def report_outcome(self, part_id: str, outcome: str, *, stage: str = "") -> bool:
        """Report what was found out later about a part, to any server.

        Returns:
            True once it is stored durably there.
        """
        told = {"part_id": part_id, "outcome": outcome, "stage": stage}
        try:
            self._ask("POST", "outcome", [json.dumps(told).encode()], {})
        except NoServer:
            return False
        return True

    def status(self) -> dict[str, Any]:
        """Return the counters as plain JSON values."""
        with self._lock:
            return {**asdict(self._counts), "servers": [server.url for server in self._servers]}

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers:
            server.close()

    def __enter__(self) -> RemoteClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside

    def _ask(
        self, method: str, what: str, pieces: Sequence[Any], fields: Mapping[str, str], *, only: int | None = None
    ) -> tuple[bytes, int | None, int]:
        """Ask server after server until one answers; return body, length of its JSON, and which server."""
        deadline = time.monotonic() + self._timeout
        path = f"/v2/models/{self._model}/{what}"
        with self._lock:
            self._counts.requests += 1
        said = "none was tried"
        refusal: AndonError | None = None
        first = True
        while (now := time.monotonic()) < deadline:
            with self._lock:
                order = [only] if only is not None else self._rules.order(now)
            for place, number in enumerate(order):
                server = self._servers[number]
                left = deadline - time.monotonic()
                seconds = share_of_time(left, len(order) - place, most=self._attempt)
                try:
                    body, head_bytes = server.ask(method, path, pieces, fields, seconds)
                except _Overloaded as error:
                    self._failed(number, error)
                    said = f"{server.url}: {error}"
                except _Failed as error:
                    self._failed(number, error)
                    said = f"{server.url}: {error}"
                except BadImage:
                    self._answered(number, counted="refused")  # it is alive; no other would say otherwise
                    raise
                except (ServerRefused, BadEngine) as error:
                    self._answered(number, counted="")
                    refusal = error  # another may have the model, or another engine
                else:
                    self._answered(number, counted="answered", elsewhere=not (first and place == 0))
                    return body, head_bytes, number
            first = False
            if refusal is not None:  # all were asked
                with self._lock:
                    self._counts.refused += 1
                raise refusal
            with self._lock:
                pause = self._rules.next_return(time.monotonic())
            time.sleep(min(max(0.02, pause), max(0.0, deadline - time.monotonic())))
        with self._lock:
            self._counts.lost += 1
        raise NoServer(
            f"none of {len(self._servers)} servers answered in {self._timeout:g} s (last: {said}): check that "
            "`andon-edge serve` runs there and can be reached"
        )

    def _failed(self, number: int, error: _Failed | _Overloaded) -> None:
        now = time.monotonic()
        with self._lock:
            if isinstance(error, _Overloaded):
                self._counts.overloaded += 1
                self._rules.overloaded(number, now, error.retry_after)
            else:
                self._counts.failures += 1
                self._rules.failed(number, now)

    def _answered(self, number: int, *, counted: str, elsewhere: bool = False) -> None:
        with self._lock:
            self._rules.good(number)
            if counted:
                setattr(self._counts, counted, getattr(self._counts, counted) + 1)
            self._counts.elsewhere += elsewhere


class _Server:
    """One server and its open connections."""

    def __init__(self, url: str, token: str | None, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.path not in ("", "/"):
            raise ConfigError(f"{url!r} is no server's URL: expected http://HOST:PORT or https://HOST:PORT")
        self.url = url
        self._host, self._port = parts.hostname, port
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._fields = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []

    def ask(
        self, method: str, path: str, pieces: Sequence[Any], fields: Mapping[str, str], seconds: float
    ) -> tuple[bytes, int | None]:
        """Ask once. A kept connection that turns out to be closed is no failure: a new one is tried.

        Raises:
            _Failed: No answer in `seconds`.
            _Overloaded: It was turned away.
            BadImage, BadEngine, ServerRefused: As the server says.
        """
        deadline = Deadline(time.monotonic() + seconds)
        length = sum(memoryview(piece).nbytes for piece in pieces)
        headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream", **self._fields, **fields}
        while True:
            connection, kept = self._take()
            try:
                answer = ask_until(deadline, connection, method, path, headers, pieces)
                body = answer.read(_MOST_ANSWER + 1)
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()
                if kept and isinstance(error, ConnectionError | http.client.RemoteDisconnected):
                    continue
                raise _Failed(str(error) or type(error).__name__) from error
            if len(body) > _MOST_ANSWER or answer.length:
                connection.close()
                more = f"has more than {_MOST_ANSWER} bytes" if len(body) > _MOST_ANSWER else "was cut off"
                raise _Failed(f"its answer {more}")
            if answer.will_close:
                connection.close()
            else:
                self._give(connection)
            head_bytes = answer.headers.get("Inference-Header-Content-Length")
            if answer.status == 200:
                return body, int(head_bytes) if head_bytes is not None else None
            raise _error_of(answer, body)

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, context=self._tls), False
        return http.client.HTTPConnection(self._host, self._port), False

    def _give(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _error_of(answer: http.client.HTTPResponse, body: bytes) -> AndonError:
    try:
        said = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        said = f"status {answer.status}"
    if answer.status == 503:
        after = answer.headers.get("Retry-After", "1")
        return _Overloaded(said, float(after) if after.isdigit() else 1.0)
    if answer.status == 400:
        return BadImage(said)
    if answer.status == 500:
        return BadEngine(said)
    if answer.status in (408, 502, 504):
        return _Failed(said)
    return ServerRefused(f"status {answer.status}: {said}")


def _request(
    frame: NDArray[np.uint8] | bytes,
    *,
    part_id: str | Sequence[str | None] | None,
    context: Mapping[str, float | str] | None,
    capture: bool,
) -> tuple[list[Any], dict[str, str]]:
    """Return a request's body in pieces, and its fields."""
    if isinstance(frame, bytes):
        data: Any = len(frame).to_bytes(4, "little") + frame
        datatype, shape = "BYTES", [1]
    else:
        batch = check_frames(frame)
        data, datatype, shape = batch.data.cast("B"), "UINT8", list(batch.shape)
    parameters: dict[str, Any] = {"binary_data_output": True, "capture": capture}
    if part_id is not None:
        parameters["part_id"] = part_id if isinstance(part_id, str) else list(part_id)
    if context:
        parameters["context"] = dict(context)
    size = {"binary_data_size": memoryview(data).nbytes}
    told = {
        "parameters": parameters,
        "inputs": [{"name": "image", "datatype": datatype, "shape": shape, "parameters": size}],
        "outputs": [{"name": name} for name in _OUTPUTS],
    }
    head = json.dumps(told).encode()
    return [head, data], {"Inference-Header-Content-Length": str(len(head))}


def _predictions(body: bytes, head_bytes: int | None, part_id: str | Sequence[str | None] | None) -> list[Prediction]:
    """Read an answer.

    Raises:
        ServerRefused: It is not as the protocol says.
    """
    try:
        told = json.loads(body[:head_bytes])
        tensors = _tensors(told["outputs"], body, len(body) if head_bytes is None else head_bytes)
        parameters, version = told["parameters"], told["model_version"]
        ids = parameters["sample_ids"]
        parts = [part_id] * len(ids) if part_id is None or isinstance(part_id, str) else list(part_id)
        return [
            Prediction(
                sample_id=ids[i],
                verdict=tensors["verdict"][i],
                label=tensors["label"][i],
                probabilities=dict(zip(tensors["classes"], tensors["probabilities"][i].tolist(), strict=True)),
                defect_probability=float(tensors["defect_probability"][i]),
                anomaly=float(tensors["anomaly"][i]),
                anomaly_map=tensors["anomaly_map"][i],
                embedding=tensors["embedding"][i],
                engine_id=version,
                engine_sha256=parameters["engine_sha256"],
                latency_ms=float(parameters["latency_ms"]),
                part_id=parts[i],
                advisory=bool(parameters["advisory"]),
            )
            for i in range(len(ids))
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ServerRefused(f"a server's answer is not as the protocol says: {error!r}") from error


def _tensors(outputs: Sequence[Mapping[str, Any]], body: bytes, at: int) -> dict[str, Any]:
    """Read the binary tensors of an answer, which begin at `at`."""
    found: dict[str, Any] = {}
    for output in outputs:
        size = output["parameters"]["binary_data_size"]
        if output["datatype"] == "FP32":
            count = math.prod(output["shape"])
            found[output["name"]] = np.frombuffer(body, "<f4", count, at).reshape(output["shape"])
        else:
            texts, end, here = [], at + size, at
            while here < end:
                length = int.from_bytes(body[here : here + 4], "little")
                texts.append(body[here + 4 : here + 4 + length].decode())
                here += 4 + length
            found[output["name"]] = texts
        at += size
    return found
