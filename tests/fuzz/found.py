"""Inputs that once did something other than being refused, reduced to what made them do it."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edge_client.contract.heartbeat import PURPOSE as HEARTBEAT
from edge_client.contract.record import PURPOSE as RECORD
from edge_client.contract.signing import sign_payload
from tests.fuzz.mutations.signed import KEY
from tests.fuzz.mutations.tar import extended, pax_record
from tests.fuzz.targets import TARGETS

_LARGE = "1" + "0" * 400  # an int to Python; no float holds it
_DEEP = "[" * 2000 + "]" * 2000
_LONG = "y" * 5000
_SEGMENT = b"\xff\xd8\xff\xe8\x99+o>zv\xd7\xff\xd9\xff\xd8\xff"
_TERABYTES = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"
_SPARSE = (b"GNU.sparse.map=1099511627776,0", b"GNU.sparse.size=1099511627776")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding: which reader, what is special about the input, and the input."""

    target: str
    what: str
    make: Callable[[], bytes]


def _json(target: str, field: str, text: str) -> Callable[[], bytes]:
    """The first seed with one field replaced by a piece of JSON."""

    def make() -> bytes:
        value = json.loads(TARGETS[target].seeds()[0])
        holder, names = value, field.split(".")
        for name in names[:-1]:
            holder = holder[name]
        holder[names[-1]] = "\x01"
        return json.dumps(value).replace('"\\u0001"', text).encode()

    return make


def _signed(target: str, purpose: str, **fields: object) -> Callable[[], bytes]:
    """The first seed with fields of its payload replaced, signed again."""

    def make() -> bytes:
        payload = json.loads(TARGETS[target].seeds()[0])["payload"]
        return sign_payload({**payload, **fields}, KEY, purpose=purpose)

    return make


def _sample(field: str, text: str) -> Callable[[], bytes]:
    """The first blob with one field of its header replaced by a piece of JSON."""

    def make() -> bytes:
        data = TARGETS["sample"].seeds()[0]
        length = int.from_bytes(data[8:12], "big")
        header = json.loads(data[12 : 12 + length])
        header[field] = "\x01"
        changed = json.dumps(header).replace('"\\u0001"', text).encode()
        return data[:8] + len(changed).to_bytes(4, "big") + changed + data[12 + length :]

    return make


def _tar(*records: bytes, times: int = 1) -> Callable[[], bytes]:
    """A tar with PAX headers before its first member."""
    blocks = extended(b"x", b"".join(map(pax_record, records))) * times
    return lambda: b"".join(blocks) + TARGETS["shard"].seeds()[0]


def _npz(**replaced: bytes | None) -> Callable[[], bytes]:
    """The first self-test with members replaced, or left out where None."""

    def make() -> bytes:
        with zipfile.ZipFile(io.BytesIO(TARGETS["selftest"].seeds()[0])) as archive:
            members = {info.filename.removesuffix(".npy"): archive.read(info) for info in archive.infolist()}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, body in (members | replaced).items():
                if body is not None:
                    archive.writestr(f"{name}.npy", body)
        return buffer.getvalue()

    return make


def _npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def _saved(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _packed_by_no_method() -> bytes:
    data = bytearray(TARGETS["selftest"].seeds()[0])
    start = data.index(b"PK\x01\x02")
    data[start + 10 : start + 12] = (99).to_bytes(2, "little")
    return bytes(data)


def _palette_without_colours() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"\0\1\2" * 2)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*pair) for pair in ((b"IHDR", head), (b"tRNS", b"\0"), (b"IDAT", pixels), (b"IEND", b""))
    )


def _toml(old: bytes, new: bytes) -> Callable[[], bytes]:
    """The first configuration with one piece replaced."""
    return lambda: TARGETS["configuration"].seeds()[0].replace(old, new, 1)


def _chunks_and_an_offer() -> bytes:
    """A body in chunks that is no request, and a second request that offers another protocol."""
    offer = b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    infer = b"POST /v2/models/solar-cells/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return infer + b"2\r\n{}\r\n0\r\n\r\n" + offer


def _opset_as_a_number() -> bytes:
    """The operator set written as a fixed number of 64 bits, which a runtime skips and a careless reader reads."""
    data = TARGETS["engine"].seeds()[0]
    operator_set = b"\x42\x04\x0a\x00\x10\x11"  # field 8: domain "", version 17
    assert data.count(operator_set) == 1
    return data.replace(operator_set, b"\x41\x0a\x00\x10\x11\x10\x11\x10\x11")


def _shape_twice() -> bytes:
    """An output whose shape is given twice: a runtime puts the second behind the first."""
    model = onnx.load_from_string(TARGETS["engine"].seeds()[0])
    shape = model.graph.output[1].type.tensor_type.shape.SerializeToString()
    once = b"\x12" + bytes((len(shape),)) + shape  # field 2 of the tensor's type
    twice = b"\x08\x01" + once + once
    kind = b"\x0a" + bytes((len(twice),)) + twice
    output = b"\x0a\x07anomaly\x12" + bytes((len(kind),)) + kind
    del model.graph.output[1]
    graph = model.graph.SerializeToString() + b"\x62" + bytes((len(output),)) + output  # field 12: an output
    model.ClearField("graph")
    return model.SerializeToString() + b"\x3a" + _varint(len(graph)) + graph  # field 7: the graph


def _varint(value: int) -> bytes:
    return bytes((value & 127 | 128,)) + _varint(value >> 7) if value > 127 else bytes((value,))


FOUND = (
    Found(target="engine", what="an operator set that a runtime does not see", make=_opset_as_a_number),
    Found(target="engine", what="a shape that is given twice", make=_shape_twice),
    Found(target="metadata", what="brackets nested too deep", make=_json("metadata", "classes", _DEEP)),
    Found(target="metadata", what="a threshold of 400 digits", make=_json("metadata", "thresholds.defect", _LARGE)),
    Found(target="metadata", what="a prior of 400 digits", make=_json("metadata", "training_prior", f"[{_LARGE}, 1]")),
    Found(target="metadata", what="a list for a text", make=_json("metadata", "embedding_id", "[]")),
    Found(target="metadata", what="half a surrogate pair", make=_json("metadata", "run_id", '"\\ud800"')),
    Found(target="metadata", what="NaN for a text", make=_json("metadata", "snapshot_id", "NaN")),
    Found(target="metadata", what="a field name to fill a log", make=_json("metadata", _LONG, "0")),
    Found(target="settings", what="a number of 400 digits", make=_json("settings", "window_seconds", _LARGE)),
    Found(target="settings", what="half a surrogate pair", make=_json("settings", "recipient", '"age1\\udfff"')),
    Found(target="settings", what="a field name to fill a log", make=_json("settings", _LONG, "0")),
    Found(target="settings", what="an object for a digest", make=_json("settings", "deny_engines", "[{}]")),
    Found(target="channel", what="a name that is no name", make=_json("channel", "channel", '"../up"')),
    Found(target="channel", what="half a surrogate pair", make=_json("channel", "version", '"\\ud800"')),
    Found(target="selftest", what="a header that is half a Python literal", make=_npz(frames=_npy(b"("))),
    Found(target="selftest", what="an array of four terabytes", make=_npz(anomaly=_npy(_TERABYTES))),
    Found(target="selftest", what="no array at all", make=_npz(frames=b"not numpy's")),
    Found(target="selftest", what="a single value for frames", make=_npz(frames=_saved(np.uint8(1)))),
    Found(target="selftest", what="records for answers", make=_npz(anomaly=_saved(np.zeros(2, [("a", "<f4")])))),
    Found(target="selftest", what="answers that are no numbers", make=_npz(anomaly=_saved(np.full(2, np.nan, "<f4")))),
    Found(target="selftest", what="a tolerance without end", make=_npz(tolerance=_saved(np.float64(np.inf)))),
    Found(target="selftest", what="a packing that zip does not know", make=_packed_by_no_method),
    Found(target="configuration", what="a path with a NUL", make=_toml(b'"device.key"', b'"\\u0000"')),
    Found(target="configuration", what="a path that is too long", make=_toml(b'"state"', b'"%s"' % (b"a" * 4000))),
    Found(target="configuration", what="a home that is not there", make=_toml(b'"state"', b'"~nobody-here/x"')),
    Found(target="configuration", what="brackets nested too deep", make=lambda: b"a = " + _DEEP.encode()),
    Found(target="configuration", what="a number of 5000 digits", make=lambda: b"a = " + b"9" * 5000),
    Found(target="configuration", what="a number of 400 digits", make=_toml(b"30.0", _LARGE.encode())),
    Found(target="configuration", what="a number that cannot be shown", make=_toml(b"0.3", b"0x" + b"f" * 4000)),
    Found(target="configuration", what="hours to fill a log", make=_toml(b"mon-fri", _LONG.encode())),
    Found(target="configuration", what="a table to fill a log", make=lambda: b"[%s]" % _LONG.encode()),
    Found(
        target="configuration",
        what="a goal to fill a log",
        make=_toml(b'"throughput"', b'"%s"' % _LONG.encode()),
    ),
    Found(target="image", what="transparency of a palette that is not there", make=_palette_without_colours),
    Found(target="record", what="a name that is no name", make=_signed("record", RECORD, station="../up")),
    Found(target="record", what="a number of 400 digits", make=_signed("record", RECORD, weight_total=int(_LARGE))),
    Found(target="record", what="a histogram to fill a log", make=_signed("record", RECORD, histograms={_LONG: {}})),
    Found(target="heartbeat", what="a name that is no name", make=_signed("heartbeat", HEARTBEAT, channel="../up")),
    Found(target="heartbeat", what="400 digits", make=_signed("heartbeat", HEARTBEAT, anomaly_mean=int(_LARGE))),
    Found(target="shard", what="a sparse file of a terabyte in a kilobyte", make=_tar(*_SPARSE)),
    Found(target="shard", what="extended headers in a long chain", make=_tar(b"path=b.age", times=1100)),
    Found(target="stream", what="a WebP that ends in its own beginning", make=lambda: b"RIFF\x01\x00\x00\x00WEBP"),
    Found(target="stream", what="a segment that is longer than an image may be", make=lambda: _SEGMENT),
    Found(target="request", what="an offer of another protocol behind chunks", make=_chunks_and_an_offer),
    Found(target="told", what="a part id that is a number", make=lambda: b'{"part_id": 5}'),
    Found(target="told", what="a part id with half a surrogate pair", make=lambda: b'{"part_id": "\\udcff"}'),
    Found(
        target="told", what="a process value of 400 digits", make=lambda: b'{"context": {"a": %s}}' % _LARGE.encode()
    ),
    Found(target="told", what="half a surrogate pair in a name", make=lambda: b'{"context": {"\\udcff": 1}}'),
    Found(target="sample", what="half a surrogate pair", make=_sample("part_id", '"\\ud800"')),
    Found(target="sample", what="a process value without end", make=_sample("context", '{"humidity": 1e999}')),
    Found(target="sample", what="a class name to fill a log", make=_sample("classes", f'["ok", "{_LONG}"]')),
)
