"""What waits in the inbox, and whether a window's record may be believed. Decides; changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from data.devices import Device
from edge_client.contract.bucket import Bucket, ObjectInfo
from edge_client.contract.errors import AndonError, BadRecord, BadSignature
from edge_client.contract.inclusion import counts_for_estimates, inclusion_probability
from edge_client.contract.names import parse_record_key
from edge_client.contract.record import ManifestEntry, WindowRecord

INBOX = "inbox/"
MOST_SHARD_BYTES = 256 << 20
"""A device packs some MiB into a shard; this bounds what one process holds in memory."""
_LARGEST_COUNT = 2**31 - 1  # PostgreSQL's integer


class Rejected(AndonError):
    """A window is not acceptable as a whole; it goes into quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingWindow:
    """A window whose record is in the inbox.

    Attributes:
        name: (device, epoch, window) as the key says, None if the key is not one that a device may write.
        record: the record object.
        others: the other objects below the same prefix, as listed; a shard may be missing here and still exist.
    """

    name: tuple[str, int, int] | None
    record: ObjectInfo
    others: tuple[ObjectInfo, ...]

    @property
    def device(self) -> str | None:
        """The device that the key claims."""
        return self.name[0] if self.name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxListing:
    """What one listing of the inbox found; `unfinished` counts windows whose record is not up yet."""

    windows: tuple[WaitingWindow, ...]
    unfinished: int


def list_inbox(bucket: Bucket) -> InboxListing:
    """List the inbox once, by prefix."""
    records: dict[str, ObjectInfo] = {}
    others: dict[str, list[ObjectInfo]] = {}
    for info in bucket.list(INBOX):
        prefix, _, name = info.key.rpartition("/")
        if name == "window.json":
            records[prefix] = info
            others.setdefault(prefix, [])
        else:
            others.setdefault(prefix, []).append(info)
    windows = tuple(
        WaitingWindow(name=parse_record_key(info.key), record=info, others=tuple(others[prefix]))
        for prefix, info in sorted(records.items())
    )
    return InboxListing(windows=windows, unfinished=len(others) - len(records))


def believe(document: bytes, waiting: WaitingWindow, device: Device | None) -> WindowRecord:
    """The record, if the registered device signed it for this very place.

    Args:
        document: the object's bytes.
        waiting: where it was found.
        device: the device of that name in the catalog, None if there is none.

    Raises:
        Rejected: with the reason.
    """
    if waiting.name is None:
        raise Rejected("the key is not one that a device may write")
    name, epoch, window = waiting.name
    if device is None:
        raise Rejected(f"device {name!r} is not registered; enrol it, then restore this window")
    if device.revoked:
        raise Rejected(f"device {name!r} was revoked at {device.revoked_at:%Y-%m-%d %H:%M} UTC")
    try:
        record = device.verified(lambda public_key: WindowRecord.verify(document, public_key))
    except (BadSignature, BadRecord) as error:
        raise Rejected(str(error)) from error
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise Rejected(f"the record cannot be read: {type(error).__name__}: {error}") from error
    if (record.device, record.epoch, record.window) != (name, epoch, window):
        raise Rejected(
            f"the record is of {record.device} {record.epoch}-{record.window}, "
            f"but lies in the place of {name} {epoch}-{window}"
        )
    if record.inspection not in device.inspection_names:
        raise Rejected(
            f"device {name!r} is not enrolled for inspection {record.inspection!r} "
            f"(it is for {', '.join(device.inspection_names) or 'none'})"
        )
    _check_bounds(record)
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFigures:
    """What the manifest promises, whatever of it arrives."""

    entries: int
    counted: int
    inverse_p: float


def manifest_figures(record: WindowRecord) -> ManifestFigures:
    """Sum up the samples (not the events) that a record promises.

    `inverse_p` is Σ 1/p₁ over the samples that count for estimates: the Horvitz–Thompson estimate of the frames.
    """
    samples = [entry for entry in record.manifest if entry.extra != "events"]
    chances = [p for entry in samples if (p := first_stage(entry, record.threshold)) is not None]
    return ManifestFigures(entries=len(samples), counted=len(chances), inverse_p=math.fsum(1 / p for p in chances))


def first_stage(entry: ManifestEntry, threshold: float) -> float | None:
    """p₁ of a sample; None for one that does not count for estimates (an extra, or q ≤ τ)."""
    if entry.extra is not None or not counts_for_estimates(entry.weight, entry.u, threshold):
        return None
    return inclusion_probability(entry.weight, threshold)


def still_arriving(record: ObjectInfo, now: datetime, grace_seconds: float) -> bool:
    """Whether a shard that can't be found may yet appear: some stores show a new object a little late."""
    return record.modified is not None and (now - record.modified).total_seconds() < grace_seconds


def _check_bounds(record: WindowRecord) -> None:
    """What the catalog's columns and sums can hold; a record beyond it is nonsense or an attack."""
    counts: Sequence[tuple[str, int]] = (
        ("epoch", record.epoch),
        ("window", record.window),
        ("frames", record.frames),
        ("excluded", record.excluded),
        ("overload", record.overload),
        *(("run length", length) for _, length in record.runs),
    )
    for what, value in counts:
        if value > _LARGEST_COUNT:
            raise Rejected(f"{what} {value} is beyond {_LARGEST_COUNT}")
    for shard in record.shards:
        if shard.bytes > MOST_SHARD_BYTES:
            raise Rejected(f"shard {shard.n} has {shard.bytes} bytes, at most {MOST_SHARD_BYTES} are read")
    try:
        finite = math.isfinite(manifest_figures(record).inverse_p) and math.isfinite(record.weight_total)
    except (ZeroDivisionError, OverflowError):
        finite = False
    if not finite:
        raise Rejected("an inclusion probability is so small that sums overflow")
