"""Changes to HTTP requests of the inference protocol: to the head, to the JSON and the binary data of the body with the
lengths made good, and to how the body is sent.
"""

from __future__ import annotations

import json
import zlib
from random import Random
from typing import Any

from tests.fuzz.mutations.image import mutate_image
from tests.fuzz.mutations.plain import mutate_bytes
from tests.fuzz.mutations.values import mutate_json

_JSON_LENGTH = b"inference-header-content-length"
_LINES = (
    b"Content-Length: 0", b"Content-Length: 5, 5", b"Content-Length: 18446744073709551616", b"Content-Length: -1",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Encoding: gzip",
    b"Expect: 100-continue",
    b"Content-Type: image/png", b"Content-Type: application/json", b"Connection: close",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Inference-Header-Content-Length: 0", b"Inference-Header-Content-Length: 99999", b"Host: a", b"\xff: \xff",
    b" folded",
    b"Authorization: Bearer \xc3\xbc", b"X: " + b"y" * 20_000,
)  # fmt: skip
_TARGETS = (
    b"/", b"*", b"/v2", b"/v2/health/ready", b"/v2/models/solar-cells",
    b"/v2/models/solar-cells/infer?part_id=a&part_id=%ff",
    b"/v2/models/solar-cells/versions/e1/infer", b"/v2/models/solar-cells/versions/%2e%2e/infer",
    b"/v2/models/%ff/infer",
    b"/v2/models/solar-cells/flag", b"/v2/models/solar-cells/outcome", b"/v2/models/solar-cells/status", b"/metrics",
    b"/v2/repository/index", b"http://other/v2", b"/v2/models/" + b"a" * 5000,
)  # fmt: skip
_METHODS = (b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"PRI", b"")


def mutate_http(data: bytes, random: Random) -> bytes:
    """Return the bytes of a connection after a change."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or random.random() < 0.1:
        return mutate_bytes(data, random, _LINES)
    first, *lines = head.split(b"\r\n")
    fields = {line.partition(b":")[0].strip().lower(): line.partition(b":")[2].strip() for line in lines}
    length = _number(fields.get(b"content-length"))
    rest = body[length:] if length is not None else b""
    body = body[:length] if length is not None else body
    kind = random.randrange(10)
    if kind < 5:
        body, fields = _changed_body(body, fields, random)
    elif kind == 5:
        method, _, after = first.partition(b" ")
        first = random.choice(
            (random.choice(_METHODS) + b" " + after, method + b" " + random.choice(_TARGETS) + b" HTTP/1.1")
        )
    elif kind == 6:
        rest = data + rest  # another request behind this one
    elif kind == 7:
        return _send_otherwise(first, fields, body, random) + rest
    lines = [name + b": " + value for name, value in fields.items() if name != b"content-length"]
    if kind == 8:
        lines.insert(random.randrange(len(lines) + 1), random.choice(_LINES))
    elif kind == 9 and lines:
        del lines[random.randrange(len(lines))]
    lines.append(
        b"content-length: %d" % (len(body) if random.random() < 0.97 else random.choice((0, 1, len(body) + 1)))
    )
    return b"\r\n".join((first, *lines)) + b"\r\n\r\n" + body + rest


def _changed_body(body: bytes, fields: dict[bytes, bytes], random: Random) -> tuple[bytes, dict[bytes, bytes]]:
    split = _number(fields.get(_JSON_LENGTH))
    if split == 0 or fields.get(b"content-type", b"").startswith(b"image/"):
        return mutate_image(body, random), fields
    told, binary = (body, b"") if split is None else (body[:split], body[split:])
    if binary and random.random() < 0.4:
        told, binary = _changed_binary(told, binary, random)
    else:
        told = mutate_json(told, random)
    return told + binary, fields if split is None else fields | {_JSON_LENGTH: b"%d" % len(told)}


def _changed_binary(told: bytes, binary: bytes, random: Random) -> tuple[bytes, bytes]:
    """Change the binary data and say its new length in the last input that has one."""
    changed = mutate_bytes(binary, random)
    try:
        value: Any = json.loads(told)
        last = [i for i in value["inputs"] if "binary_data_size" in i.get("parameters", {})][-1]
        last["parameters"]["binary_data_size"] += len(changed) - len(binary)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return told, changed
    return json.dumps(value).encode(), changed


def _send_otherwise(first: bytes, fields: dict[bytes, bytes], body: bytes, random: Random) -> bytes:
    """The same body in chunks, or compressed."""
    kept = [name + b": " + value for name, value in fields.items() if name != b"content-length"]
    if random.random() < 0.5:
        size = random.choice((1, 7, 100, 5000))
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        chunks += random.choice(
            (b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"fffffffffffffffff\r\n")
        )
        return b"\r\n".join((first, *kept, b"transfer-encoding: chunked")) + b"\r\n\r\n" + chunks
    packed = zlib.compress(random.choice((body, body, bytes(30_000_000), b"")), random.choice((0, 6)))
    packed = packed if random.random() < 0.7 else mutate_bytes(packed, random)
    lines = (first, *kept, b"content-encoding: deflate", b"content-length: %d" % len(packed))
    return b"\r\n".join(lines) + b"\r\n\r\n" + packed


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 10 else None
