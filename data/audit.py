"""The audit: does the catalog have everything that the devices acknowledged, once?

Each device keeps a ledger of every sample that `capture` ever acknowledged and what became of it. For each such sample:

1. `in_catalog`: there it is, once.
2. Else `kept` (the device still has it), `evicted` (the sampler let it go, which τ accounts for), `waiting` (its window
   is in the inbox), or `quarantined` (with its reason).
3. Else it is lost; so is one that the device found damaged on its own disk.
4. Double: two catalog rows for one capture (same device, instant and image), or one id in two ledgers.
5. Unacknowledged: the catalog has it from a device and epoch of these ledgers, but no ledger ever named it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from sqlalchemy import func, select

from data.catalog import Catalog
from data.catalog.models import QuarantineRow, SampleRow
from data.ingest.plan import list_inbox
from data.quarantine import Kind
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import AndonError
from edge_client.contract.names import parse_record_key


class LedgerState(str, Enum):
    """What a device says became of a sample."""

    KEPT = "kept"  # in the spool, not uploaded
    EVICTED = "evicted"  # let go by the sampler
    UPLOADED = "uploaded"  # the bucket acknowledged its window's record
    DAMAGED = "damaged"  # its file on the device could not be read back


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One line of a device's ledger. Event lists are not samples and don't belong here."""

    sample_id: str
    state: LedgerState
    epoch: int
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The answer; `lost` and `double` must be empty."""

    acknowledged: int
    in_catalog: int
    kept: int
    evicted: int
    waiting: int
    quarantined: tuple[tuple[str, str], ...] = ()
    lost: tuple[str, ...] = ()
    double: tuple[str, ...] = ()
    unacknowledged: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, double or of unknown origin."""
        return not (self.lost or self.double or self.unacknowledged)


@dataclass(slots=True)
class _Tally:
    counts: Counter[str] = field(default_factory=Counter)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def parse_ledger(lines: Iterable[Mapping[str, object]]) -> list[LedgerEntry]:
    """Read the `entries` that `andon-edge ledger --json` gives; event lists among them are left out.

    Raises:
        AndonError: an entry is not one; the message shows it.
    """
    entries = []
    for line in lines:
        if line.get("extra") == "events":
            continue
        try:
            entries.append(
                LedgerEntry(
                    sample_id=str(line["sample_id"]),
                    state=LedgerState(line["state"]),
                    epoch=int(str(line["epoch"])),
                    window=int(str(line["window"])),
                )
            )
        except (KeyError, ValueError) as error:
            raise AndonError(
                f"ledger entry {dict(line)!r} cannot be read ({error}); expected sample_id, state "
                f"({', '.join(state.value for state in LedgerState)}), epoch and window"
            ) from error
    return entries


def audit(catalog: Catalog, ledgers: Mapping[str, Sequence[LedgerEntry]], *, bucket: Bucket | None = None) -> Audit:
    """Compare the devices' ledgers with the catalog.

    Args:
        catalog: the catalog.
        ledgers: device -> its whole ledger.
        bucket: to find windows that still wait in the inbox; without it they count as lost.
    """
    rows, twins = _catalog_samples(catalog, ledgers)
    quarantined_samples, quarantined_windows = _quarantined(catalog)
    waiting = set() if bucket is None else {w.name for w in list_inbox(bucket).windows if w.name is not None}
    tally = _Tally()
    seen: Counter[str] = Counter()
    lives = {(device, entry.epoch) for device, entries in ledgers.items() for entry in entries}
    for device, entries in ledgers.items():
        for entry in entries:
            seen[entry.sample_id] += 1
            name = (device, entry.epoch, entry.window)
            reason = quarantined_samples.get(entry.sample_id) or quarantined_windows.get(name)
            if entry.sample_id in rows:
                tally.counts["in_catalog"] += 1
            elif entry.state in (LedgerState.KEPT, LedgerState.EVICTED):
                tally.counts[entry.state.value] += 1
            elif name in waiting:
                tally.counts["waiting"] += 1
            elif reason is not None:
                tally.quarantined.append((entry.sample_id, reason))
            else:
                tally.lost.append(entry.sample_id)
    return Audit(
        acknowledged=seen.total(),
        in_catalog=tally.counts["in_catalog"],
        kept=tally.counts["kept"],
        evicted=tally.counts["evicted"],
        waiting=tally.counts["waiting"],
        quarantined=tuple(tally.quarantined),
        lost=tuple(sorted(tally.lost)),
        double=tuple(sorted({*twins, *(sample_id for sample_id, count in seen.items() if count > 1)})),
        unacknowledged=tuple(sorted(i for i, life in rows.items() if i not in seen and life in lives)),
    )


def _catalog_samples(catalog: Catalog, devices: Iterable[str]) -> tuple[dict[str, tuple[str, int]], list[str]]:
    """(device, epoch) by id of every sample of these devices, and the ids that are a second row for one capture."""
    names = list(devices)
    capture = (SampleRow.device, SampleRow.captured_at, SampleRow.image_sha256)
    with catalog.reading() as session:
        query = select(SampleRow.sample_id, SampleRow.device, SampleRow.epoch).where(SampleRow.device.in_(names))
        ids = {sample_id: (device or "", epoch or 0) for sample_id, device, epoch in session.execute(query)}
        groups = (
            select(func.max(SampleRow.sample_id))
            .where(SampleRow.device.in_(names))
            .group_by(*capture)
            .having(func.count() > 1)
        )
        return ids, list(session.scalars(groups))


def _quarantined(catalog: Catalog) -> tuple[dict[str, str], dict[tuple[str, int, int], str]]:
    """Reasons by sample id, and by window for windows and shards that are in quarantine as a whole."""
    samples: dict[str, str] = {}
    windows: dict[tuple[str, int, int], str] = {}
    with catalog.reading() as session:
        for row in session.scalars(select(QuarantineRow).where(QuarantineRow.kind != Kind.HEARTBEAT.value)):
            if row.sample_id is not None and row.moved_to is not None:
                samples[row.sample_id] = row.reason
            elif row.kind in (Kind.WINDOW.value, Kind.SHARD.value) and row.moved_to is not None:
                name = _window_of(row.key)
                if name is not None:
                    windows[name] = row.reason
    return samples, windows


def _window_of(key: str) -> tuple[str, int, int] | None:
    """(device, epoch, window) of any key below a window's prefix."""
    return parse_record_key(f"{key.rpartition('/')[0]}/window.json")
