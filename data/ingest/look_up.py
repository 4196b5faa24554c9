"""What the catalog knows of windows that wait: asked once for a group of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import WindowRow
from data.devices import Device, devices_named
from data.ingest.plan import WaitingWindow
from data.quarantine import quarantined_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a group.

    Attributes:
        records: (device, epoch, window) of those in the catalog -> SHA-256 of the record by which they are.
        quarantined: Keys of records that are in quarantine as a whole.
        devices: Name -> device, of those that keys claim and the catalog has.
    """

    records: Mapping[tuple[str, int, int], str]
    quarantined: frozenset[str]
    devices: Mapping[str, Device]


def look_up(catalog: Catalog, group: Sequence[WaitingWindow]) -> Known:
    """Ask for a group of at most some hundred windows."""
    names = [waiting.name for waiting in group if waiting.name is not None]
    records: dict[tuple[str, int, int], str] = {}
    with catalog.reading() as session:
        for device, epoch in sorted({(device, epoch) for device, epoch, _ in names}):
            numbers = [window for d, e, window in names if (d, e) == (device, epoch)]
            query = select(WindowRow.window, WindowRow.record_sha256).where(
                WindowRow.device == device, WindowRow.epoch == epoch, WindowRow.window.in_(numbers)
            )
            records.update({(device, epoch, window): digest for window, digest in session.execute(query)})
        quarantined = quarantined_windows(session, [waiting.record.key for waiting in group])
        devices = devices_named(session, sorted({device for device, _, _ in names}))
    return Known(records=records, quarantined=frozenset(quarantined), devices=devices)
