"""The signed list of an engine's pieces, and its self-test's: what a device compares with the files it holds, to fetch
only the rest.

The list says nothing that the files' own signed digests do not: whatever was put together from it counts only with
those. So digests of pieces may be short: they have to be unlikely to collide by chance, no more.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_client.contract import onnx_layout, parted_zip
from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.releases import MAX_ENGINE_BYTES
from edge_client.contract.signing import canonical_json

DIGEST_BYTES = 16
MAX_CHUNKS = 100_000
MAX_LIST_BYTES = 8 * 1024 * 1024
_RULES: dict[str, Callable[[bytes], list[int]]] = {
    onnx_layout.RULE: onnx_layout.piece_lengths,
    parted_zip.RULE: parted_zip.part_lengths,
}


def chunks_path(engine_path: str) -> str:
    """TUF target path of the list that belongs to an engine's.

    >>> chunks_path("engines/cells/e1.onnx")
    'engines/cells/e1.chunks'
    """
    return f"{engine_path.removesuffix('.onnx')}.chunks"


def chunk_digest(data: bytes | memoryview) -> bytes:
    """The digest of a piece."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePieces:
    """The pieces of one file, in order.

    Attributes:
        sha256: Of the whole file.
        rule: How it was cut.
        lengths: Bytes of each piece.
        digests: As many, `DIGEST_BYTES` each.
    """

    sha256: str
    rule: str
    lengths: tuple[int, ...]
    digests: tuple[bytes, ...]

    @staticmethod
    def of(data: bytes, rule: str) -> FilePieces:
        """Cut a file by a rule.

        Raises:
            ValueError: The rule does not fit the file.
        """
        cut = list(_cut(data, rule))
        return FilePieces(
            sha256=hashlib.sha256(data).hexdigest(),
            rule=rule,
            lengths=tuple(len(piece) for piece in cut),
            digests=tuple(chunk_digest(piece) for piece in cut),
        )

    @property
    def length(self) -> int:
        """Length of the whole file."""
        return sum(self.lengths)

    def cut_alike(self, base: bytes) -> Iterator[memoryview]:
        """Cut another file by the same rule.

        Raises:
            ValueError: The rule is not known here, or does not fit the file.
        """
        return _cut(base, self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkList:
    """The pieces of an engine and of its self-test."""

    engine: FilePieces
    selftest: FilePieces

    @staticmethod
    def of(engine: bytes, selftest: bytes) -> ChunkList:
        """List their pieces.

        Raises:
            ValueError: The engine is no ONNX file.
        """
        return ChunkList(
            engine=FilePieces.of(engine, onnx_layout.RULE), selftest=FilePieces.of(selftest, parted_zip.RULE)
        )

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json({"format": 1, "engine": _to_json(self.engine), "selftest": _to_json(self.selftest)})

    @staticmethod
    def from_json(data: bytes) -> ChunkList:
        """Read and check.

        Raises:
            BadRelease: Not a list of pieces.
        """
        fields = Fields(read_json(data, "chunk list", BadRelease), "chunk list", BadRelease)
        if fields.whole("format") != 1:
            raise fields.wrong("format", fields.raw("format"), "1; a newer client reads other ones")
        return ChunkList(engine=_from_json(fields.raw("engine")), selftest=_from_json(fields.raw("selftest")))


def _to_json(pieces: FilePieces) -> dict[str, Any]:
    return {
        "sha256": pieces.sha256,
        "rule": pieces.rule,
        "lengths": list(pieces.lengths),
        "digests": base64.b64encode(b"".join(pieces.digests)).decode(),
    }


def _from_json(value: object) -> FilePieces:
    fields = Fields(value, "chunk list: file", BadRelease)
    lengths = fields.items("lengths", most=MAX_CHUNKS)
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, int) or not 0 < length <= MAX_ENGINE_BYTES:
            raise fields.wrong("lengths", length, f"whole numbers from 1 to {MAX_ENGINE_BYTES}")
    text = fields.text("digests", most=MAX_LIST_BYTES)
    try:
        joined = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise fields.wrong("digests", text, "base64") from None
    if len(joined) != DIGEST_BYTES * len(lengths):
        raise fields.wrong("digests", len(joined), f"{DIGEST_BYTES} bytes for each of {len(lengths)} lengths")
    return FilePieces(
        sha256=fields.text("sha256", most=64),
        rule=fields.text("rule", most=32),
        lengths=tuple(lengths),
        digests=tuple(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)),
    )


def _cut(data: bytes, rule: str) -> Iterator[memoryview]:
    if rule not in _RULES:
        raise ValueError(f"rule {rule!r} is not known here: known are {sorted(_RULES)}")
    return _pieces(data, _RULES[rule](data))


def _pieces(data: bytes, lengths: Sequence[int]) -> Iterator[memoryview]:
    view, at = memoryview(data), 0
    for length in lengths:
        yield view[at : at + length]
        at += length
