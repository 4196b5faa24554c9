"""The signed list of an engine's pieces: what a device compares with the engines it holds, to fetch only the rest.

The list says nothing that the engine's own signed digest does not: whatever was put together from it counts only with
that digest. So digests of pieces may be short: they have to be unlikely to collide by chance, no more.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.onnx_layout import RULE, piece_lengths
from edge_client.contract.releases import MAX_ENGINE_BYTES
from edge_client.contract.signing import canonical_json

DIGEST_BYTES = 16
MAX_CHUNKS = 100_000
MAX_LIST_BYTES = 8 * 1024 * 1024


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
class ChunkList:
    """The pieces of one engine, in order.

    Attributes:
        engine_sha256: Of the whole file.
        rule: How it was cut.
        lengths: Bytes of each piece.
        digests: As many, `DIGEST_BYTES` each.
    """

    engine_sha256: str
    rule: str
    lengths: tuple[int, ...]
    digests: tuple[bytes, ...]

    @staticmethod
    def of(engine: bytes) -> ChunkList:
        """List an engine's pieces.

        Raises:
            ValueError: It is no ONNX file.
        """
        lengths = tuple(piece_lengths(engine))
        return ChunkList(
            engine_sha256=hashlib.sha256(engine).hexdigest(),
            rule=RULE,
            lengths=lengths,
            digests=tuple(chunk_digest(piece) for piece in pieces(engine, lengths)),
        )

    @property
    def engine_bytes(self) -> int:
        """Length of the whole file."""
        return sum(self.lengths)

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json(
            {
                "format": 1,
                "rule": self.rule,
                "engine_sha256": self.engine_sha256,
                "lengths": list(self.lengths),
                "digests": base64.b64encode(b"".join(self.digests)).decode(),
            }
        )

    @staticmethod
    def from_json(data: bytes) -> ChunkList:
        """Read and check.

        Raises:
            BadRelease: Not a list of pieces.
        """
        fields = Fields(read_json(data, "chunk list", BadRelease), "chunk list", BadRelease)
        if fields.whole("format") != 1:
            raise fields.wrong("format", fields.raw("format"), "1; a newer client reads other ones")
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
        return ChunkList(
            engine_sha256=fields.text("engine_sha256", most=64),
            rule=fields.text("rule", most=32),
            lengths=tuple(lengths),
            digests=tuple(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)),
        )


def pieces(data: bytes | memoryview, lengths: tuple[int, ...] | list[int]) -> Iterator[memoryview]:
    """Cut bytes into pieces of the given lengths."""
    view, at = memoryview(data), 0
    for length in lengths:
        yield view[at : at + length]
        at += length
