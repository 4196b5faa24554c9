"""From a shard's bytes to checked samples. Nothing here touches bucket or catalog.

Each member is opened by itself: a bad one is yielded as `BadMember`, in its place, and the next is tried.
"""

from __future__ import annotations

import hashlib
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
    listed = [entry for entry in record.manifest if entry.shard == shard.n]
    for entry in listed:
        sealed = members.pop(entry.name, None)
        if sealed is None:
            yield BadMember(entry=entry, reason=f"the record lists it, shard {shard.n} does not have it", sealed=None)
            continue
        try:
            yield _open_member(sealed, entry, record, identity, checker)
        except _Unopened as error:
            yield BadMember(entry=entry, reason=str(error), sealed=sealed, opened=False)
        except (BadSample, BadImage) as error:
            yield BadMember(entry=entry, reason=str(error), sealed=sealed)
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            # Whatever foreign bytes make a parser say is a verdict on this sample, not on its window.
            yield BadMember(entry=entry, reason=f"cannot be read: {type(error).__name__}: {error}", sealed=sealed)


class _Unopened(BadSample):
    """Sealed to another key, or damaged."""


def _open_member(
    sealed: bytes, entry: ManifestEntry, record: WindowRecord, identity: str, checker: ImageChecker
) -> GoodSample | GoodEvents:
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
    return GoodSample(entry=entry, blob=blob, size=checker.check(blob.image, blob.media_type))
