"""A plant's cloud and its devices' heartbeats, in virtual time, in a real catalog and a folder as the bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from data.catalog import Catalog
from data.catalog.models import FleetCellRow, FleetDeviceRow
from data.devices import register_device
from data.heartbeats import HeartbeatReport, ingest_heartbeats
from data.inspections import create_inspection
from data.policy import FleetPolicy
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.names import status_key
from edge_client.contract.signing import public_hex
from infra.simulation.clocks import VirtualClock
from infra.simulation.link import Meter, TimedBucket

START = datetime(2031, 5, 6, tzinfo=UTC)
INSPECTION = "tiles"
POLICY = FleetPolicy()
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


class Plant:
    """A catalog, a bucket, and devices that say what they are told to."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self.catalog = catalog
        self.clock = VirtualClock(START)
        self.meter = Meter()
        self.bucket = TimedBucket(DirectoryBucket(folder / "bucket"), self.clock, self.meter)
        self.sequence = 0
        create_inspection(catalog, INSPECTION, [("ok", "ok"), ("defect", "defect")])

    def enrol(self, *names: str, site: str = "north", station: str = "oven", key: Ed25519PrivateKey = KEY) -> None:
        for name in names:
            register_device(
                self.catalog, name, site, station, [INSPECTION], public_hex(key), at=self.clock.now(), replace_key=True
            )

    def beat(self, name: str, *, key: Ed25519PrivateKey = KEY, **more: Any) -> None:
        """A device puts its heartbeat."""
        self.sequence += 1
        said = Heartbeat(
            device=name, site="north", station="oven", sequence=self.sequence, sent_at=self.clock.now(),
            client_version="1.0", inspection=INSPECTION, channel="stable", engine_id="e1", engine_sha256="a" * 64,
            slot="a", health="ok", interval_seconds=300.0,
        )  # fmt: skip
        self.bucket.put(status_key(name), replace(said, **more).sign(key))

    def read(self, **more: Any) -> HeartbeatReport:
        """The cloud reads what is new."""
        return ingest_heartbeats(self.catalog, self.bucket, self.clock.now, fleet=POLICY, **more)

    def later(self, seconds: float) -> None:
        self.clock.seconds += seconds

    def states(self) -> dict[str, str]:
        with self.catalog.reading() as session:
            return {row.device: row.state for row in session.scalars(select(FleetDeviceRow))}


def counted(catalog: Catalog) -> Counter[tuple[str, ...]]:
    """What the cells should say, from all rows."""
    row = FleetDeviceRow
    columns = (row.site, row.inspection, row.state, row.outcome, row.engine_id, row.client_version)
    with catalog.reading() as session:
        found = session.execute(select(*columns, func.count()).group_by(*columns)).all()
    return Counter({tuple(each[:-1]): each[-1] for each in found})


def cells(catalog: Catalog) -> Counter[tuple[str, ...]]:
    """What the cells say."""
    with catalog.reading() as session:
        rows: Iterable[FleetCellRow] = session.scalars(select(FleetCellRow)).all()
    return Counter({(r.site, r.inspection, r.state, r.outcome, r.engine_id, r.client_version): r.devices for r in rows})
