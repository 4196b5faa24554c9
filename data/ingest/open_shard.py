"""From a shard's bytes to checked samples. Nothing here touches bucket or catalog.

Each member is opened by itself: a bad one is yielded as `BadMember`, in its place, and the next is tried. Members are
opened ahead of the verdicts on their images, which are another process's.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from data.decode import ImageChecker, ImageSize
from edge_client.contract.errors import BadImage, BadSample, BadShard
from edge_client.contract.record import ManifestEntry, ShardEntry, WindowRecord
from edge_client.contract.sample import EventsBlob, SampleBlob, unpack_blob
from edge_client.contract.sealing import unseal
from edge_client.contract.shard import read_shard


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoodSample:
    """A sample that passed every check."""

    entry: ManifestEntry
    blob: SampleBlob
    size: ImageSize


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoodEvents:
    """A list of events that passed every check."""

    entry: ManifestEntry
    blob: EventsBlob


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BadMember:
    """A member that did not pass.

    Attributes:
        sealed: its bytes; None when the shard does not have it.
        opened: whether it opened with the cloud's identity, so that its content is at fault.
    """

    entry: ManifestEntry
    reason: str
    sealed: bytes | None
    opened: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Unchecked:
    """A sample that passed every check but that of its image."""

    entry: ManifestEntry
    blob: SampleBlob
    sealed: bytes


def open_shard(
    data: bytes, shard: ShardEntry, record: WindowRecord, identity: str, checker: ImageChecker
) -> Iterator[GoodSample | GoodEvents | BadMember]:
    """Check a shard against the record, then open the members that the manifest lists for it, in its order.

    Raises:
        BadShard: the shard as a whole is not what the record names, or not a tar file of the contract.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest != shard.sha256:
        raise BadShard(
            f"shard {shard.n} has SHA-256 {digest[:16]}… ({len(data)} bytes), the signed record names "
            f"{shard.sha256[:16]}… ({shard.bytes} bytes): it was tampered with or damaged"
        )
    members = read_shard(data)
    line: deque[GoodEvents | BadMember | _Unchecked] = deque()

    def images() -> Iterator[tuple[bytes, str]]:
        for entry in record.manifest:
            if entry.shard != shard.n:
                continue
            item = _opened(members.pop(entry.name, None), entry, record, identity)
            line.append(item)
            if isinstance(item, _Unchecked):
                yield item.blob.image, item.blob.media_type

    for verdict in checker.check_many(images()):
        while not isinstance(item := line.popleft(), _Unchecked):
            yield item
        if isinstance(verdict, BadImage):
            yield BadMember(entry=item.entry, reason=str(verdict), sealed=item.sealed)
        else:
            yield GoodSample(entry=item.entry, blob=item.blob, size=verdict)
    for item in line:  # behind the last image
        assert not isinstance(item, _Unchecked)
        yield item


def _opened(
    sealed: bytes | None, entry: ManifestEntry, record: WindowRecord, identity: str
) -> GoodEvents | BadMember | _Unchecked:
    if sealed is None:
        return BadMember(entry=entry, reason=f"the record lists it, shard {entry.shard} does not have it", sealed=None)
    try:
        return _open_member(sealed, entry, record, identity)
    except _Unopened as error:
        return BadMember(entry=entry, reason=str(error), sealed=sealed, opened=False)
    except BadSample as error:
        return BadMember(entry=entry, reason=str(error), sealed=sealed)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        # Whatever foreign bytes make a parser say is a verdict on this sample, not on its window.
        return BadMember(entry=entry, reason=f"cannot be read: {type(error).__name__}: {error}", sealed=sealed)


class _Unopened(BadSample):
    """Sealed to another key, or damaged."""


def _open_member(sealed: bytes, entry: ManifestEntry, record: WindowRecord, identity: str) -> GoodEvents | _Unchecked:
    if hashlib.sha256(sealed).hexdigest() != entry.sha256:
        raise BadSample(f"sample {entry.sample_id}: its sealed bytes are not the ones the record names")
    try:
        plain = unseal(sealed, identity)
    except BadSample as error:
        raise _Unopened(str(error)) from error
    blob = unpack_blob(plain)
    if isinstance(blob, EventsBlob):
        if entry.extra != "events":
            raise BadSample(f"sample {entry.sample_id} holds events, but is listed as a sample")
        return GoodEvents(entry=entry, blob=blob)
    if entry.extra == "events":
        raise BadSample(f"member {entry.name} holds a sample, but is listed as events")
    for what, found, expected in (
        ("sample id", blob.sample_id, entry.sample_id),
        ("device", blob.device, record.device),
        ("inspection", blob.inspection, record.inspection),
    ):
        if found != expected:
            raise BadSample(f"sample {entry.sample_id}: its {what} is {found!r}, the record says {expected!r}")
    return _Unchecked(entry=entry, blob=blob, sealed=sealed)
