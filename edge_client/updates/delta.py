"""Which parts of a new file are held already, given the files at hand. No I/O.

1. A part counts as held when the digest of the very bytes that will be copied is the one in the signed list: damage of
   a base costs the parts that are damaged, and nothing else.
2. A base is cut by the rule of the list, so that parts are found wherever they lie; and it is looked at where each part
   lies in the new file, from its begin and from its end: a base that is damaged where its layout is told is used too.
3. A short held run between two missing ones is fetched with them: a request costs more than it saves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_client.contract.chunks import FilePieces, chunk_digest

_REQUEST_BYTES = 1500  # what a signed request and the head of its answer take on the wire


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A run of bytes of the new file.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        held: Its bytes, or None: to be fetched.
    """

    start: int
    end: int
    held: memoryview | None


def piece_at(plan: Sequence[Piece], position: int, length: int) -> tuple[memoryview | None, int]:
    """What comes next at a position: bytes that are held, or None; and how many bytes until that changes."""
    for piece in plan:
        if piece.start <= position < piece.end:
            held = None if piece.held is None else piece.held[position - piece.start :]
            return held, piece.end - position
    return None, length - position


def missing_bytes(plan: Sequence[Piece]) -> int:
    """What has to be fetched."""
    return sum(piece.end - piece.start for piece in plan if piece.held is None)


def compare(wanted: FilePieces, bases: Sequence[bytes]) -> tuple[Piece, ...]:
    """Find the parts of a new file that the bases hold; the runs that are not held are joined."""
    needed = set(wanted.digests)
    known: dict[bytes, memoryview] = {}
    for base in bases:
        for piece in _pieces_of(base, wanted):
            digest = chunk_digest(piece)
            if digest in needed:
                known.setdefault(digest, piece)
    found: list[Piece] = []
    start = 0
    for length, digest in zip(wanted.lengths, wanted.digests, strict=True):
        held = known.get(digest) or _in_place(bases, digest, start, length, wanted.length)
        if held is not None and len(held) != length:
            held = None
        found.append(Piece(start=start, end=start + length, held=held))
        start += length
    return tuple(_joined(found))


def _pieces_of(base: bytes, wanted: FilePieces) -> Iterator[memoryview]:
    with contextlib.suppress(ValueError):  # no file of this kind, damaged, or a rule not known here
        yield from wanted.cut_alike(base)


def _in_place(bases: Sequence[bytes], digest: bytes, start: int, length: int, whole: int) -> memoryview | None:
    """Rule 2, where cutting found nothing."""
    for base in bases:
        for at in {start, len(base) - (whole - start)}:
            if 0 <= at <= len(base) - length and chunk_digest(piece := memoryview(base)[at : at + length]) == digest:
                return piece
    return None


def _joined(found: Sequence[Piece]) -> Iterator[Piece]:
    """Join missing neighbours, over short held runs between them too; held pieces stay as they are."""
    missing: Piece | None = None
    between: list[Piece] = []
    for piece in found:
        if piece.held is not None:
            if missing is None:
                yield piece
            else:
                between.append(piece)
                if piece.end - missing.end >= _REQUEST_BYTES:
                    yield missing
                    yield from between
                    missing, between = None, []
            continue
        missing = Piece(start=piece.start if missing is None else missing.start, end=piece.end, held=None)
        between = []
    if missing is not None:
        yield missing
    yield from between
