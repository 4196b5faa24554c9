"""Answers over HTTP: what each action says, as status, fields and body."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import orjson

from edge_client.serving.answer import Buffer, http_body
from edge_client.serving.http_head import Head
from edge_client.serving.inference import one_image, read_http
from edge_client.serving.problems import Kind, Refusal, bad
from edge_client.serving.routes import Action, MethodRefused, Route, route
from edge_client.serving.service import Service

_JSON = b"application/json"
_BINARY = b"application/octet-stream"
_OPEN = (Action.LIVE, Action.READY)  # probes have no token
_RETRY_SECONDS = b"1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A head, where it goes, and whether it may."""

    head: Head
    route: Route | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """An answer that is ready to be sent."""

    status: int
    pieces: Sequence[Buffer]
    media_type: bytes = _JSON
    fields: bytes = b""
    reason: str = ""

    def on_the_wire(self, *, keep_alive: bool, with_body: bool = True) -> list[Buffer]:
        """Return status line, fields and body."""
        length = sum(map(len, self.pieces))
        head = b"%sDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n" % (
            _STATUS_LINES[self.status],
            _date(int(time.time())),
            self.media_type,
            length,
            self.fields,
            b"" if keep_alive else b"Connection: close\r\n",
        )
        return [head, *self.pieces] if with_body else [head]


_STATUS_LINES = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
    for status in (200, *(kind.value for kind in Kind))
}


@lru_cache(maxsize=2)
def _date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


def prepare(head: Head, token: str | None) -> Prepared:
    """Find where a request goes, and check its token."""
    try:
        found = route(head.method, head.path)
        if token is not None and found.action not in _OPEN:
            _check_token(head, token)
        return Prepared(head=head, route=found, refusal=None)
    except Refusal as refusal:
        return Prepared(head=head, route=None, refusal=refusal)


def refused(refusal: Refusal) -> Answer:
    """Return the answer that says why there is no other."""
    fields = b""
    if refusal.kind is Kind.OVERLOADED:
        fields = b"Retry-After: " + _RETRY_SECONDS + b"\r\n"
    elif refusal.kind is Kind.UNAUTHORIZED:
        fields = b"WWW-Authenticate: Bearer\r\n"
    elif isinstance(refusal, MethodRefused):
        fields = b"Allow: " + ", ".join(refusal.allowed).encode() + b"\r\n"
    return Answer(
        status=refusal.kind.value, pieces=[orjson.dumps({"error": str(refusal)})], fields=fields, reason=refusal.reason
    )


def answer(service: Service, prepared: Prepared, body: memoryview) -> Answer:
    """Do what a request asks.

    Raises:
        Refusal: It is not done.
    """
    if prepared.refusal is not None:
        raise prepared.refusal
    to = prepared.route
    assert to is not None
    if to.action is Action.INFER:
        return _infer(service, prepared.head, to, body)
    return _ANSWERS[to.action](service, to, body)


def _infer(service: Service, head: Head, to: Route, body: memoryview) -> Answer:
    media_type = head.fields.get("content-type", "")
    if media_type.startswith("image/"):
        asked = parse_qs(head.query)
        part = asked["part_id"][0] if "part_id" in asked else None
        call, predictions = service.infer(to.model, to.version, lambda: one_image(bytes(body), part=part))
    else:
        call, predictions = service.infer(to.model, to.version, lambda: read_http(body, head.json_bytes))
    pieces, json_bytes = http_body(to.model, call, predictions)
    if json_bytes is None:
        return Answer(status=200, pieces=pieces)
    return Answer(
        status=200,
        pieces=pieces,
        media_type=_BINARY,
        fields=b"Inference-Header-Content-Length: %d\r\n" % json_bytes,
    )


def _model(service: Service, to: Route, body: memoryview) -> Answer:
    model = service.models.named(to.model)
    model.check_version(to.version)
    return _ok(model.metadata())


def _model_ready(service: Service, to: Route, body: memoryview) -> Answer:
    service.models.named(to.model).check_version(to.version)
    return _ready(service, to, body)


def _ready(service: Service, to: Route, body: memoryview) -> Answer:
    if not service.ready:
        raise Refusal(Kind.OVERLOADED, "this server is ending", reason="ending")
    return _ok({"ready": True})


def _ok(value: object) -> Answer:
    return Answer(status=200, pieces=[orjson.dumps(value)])


def _object(body: memoryview) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad(f"the request is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise bad(f"the request is a JSON {type(told).__name__}: expected an object")
    return told


def _metrics(service: Service, to: Route, body: memoryview) -> Answer:
    text = service.metrics().encode()
    return Answer(status=200, pieces=[text], media_type=b"text/plain; version=0.0.4; charset=utf-8")


_ANSWERS: dict[Action, Callable[[Service, Route, memoryview], Answer]] = {
    Action.SERVER: lambda service, to, body: _ok(service.server()),
    Action.LIVE: lambda service, to, body: _ok({"live": True}),
    Action.READY: _ready,
    Action.INDEX: lambda service, to, body: _ok(service.index()),
    Action.METRICS: _metrics,
    Action.MODEL: _model,
    Action.MODEL_READY: _model_ready,
    Action.FLAG: lambda service, to, body: _ok(service.flag(to.model, _object(body))),
    Action.OUTCOME: lambda service, to, body: _ok(service.outcome(to.model, _object(body))),
    Action.STATUS: lambda service, to, body: _ok(service.models.named(to.model).client.status()),
}


def _check_token(head: Head, token: str) -> None:
    kind, _, given = head.fields.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Refusal(
            Kind.UNAUTHORIZED,
            "this server asks for its token: send it as the field 'Authorization: Bearer TOKEN'",
        )
