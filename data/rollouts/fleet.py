"""The devices that follow a channel, and what they last told, read in one query each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from data.catalog import Catalog
from data.catalog.models import DeviceInspectionRow, DeviceRow, DeviceStatusRow, HeartbeatRow
from data.rollouts.records import Report
from edge_client.contract.staging import DeviceFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A device that follows a channel.

    Attributes:
        facts: As the device itself told them; what is registered where it never told anything.
        report: Its newest heartbeat about the inspection; None before the first.
    """

    facts: DeviceFacts
    report: Report | None

    @property
    def name(self) -> str:
        """The device's name."""
        return self.facts.device

    def answers_since(self, at: datetime) -> bool:
        """Whether it was heard of since then, and its client knows of stages.

        A client of before does not say its hardware; it stays on the base version until the rollout is done, so nobody
        may wait for it.
        """
        return self.report is not None and self.report.received_at >= at and self.report.hardware != ""


def followers(catalog: Catalog, inspection: str, channel: str) -> list[Follower]:
    """Unrevoked devices that follow a channel, by name. Which channel it follows a device knows best."""
    with catalog.reading() as session:
        query = (
            select(DeviceRow.name, DeviceRow.site, DeviceRow.station, DeviceInspectionRow.channel, DeviceStatusRow)
            .join(DeviceInspectionRow, DeviceInspectionRow.device == DeviceRow.name)
            .outerjoin(
                DeviceStatusRow,
                (DeviceStatusRow.device == DeviceRow.name) & (DeviceStatusRow.inspection == inspection),
            )
            .where(DeviceInspectionRow.inspection == inspection, DeviceRow.revoked_at.is_(None))
            .order_by(DeviceRow.name)
        )
        found = []
        for name, site, station, registered, status in session.execute(query):
            follows = registered if status is None else status.channel
            if follows != channel:
                continue
            report = None if status is None else Report.of(status.payload, status.received_at)
            facts = DeviceFacts(
                device=name,
                site=report.site if report else site,
                station=report.station if report else station,
                hardware=report.hardware if report else "",
            )
            found.append(Follower(facts=facts, report=report))
        return found


def history(catalog: Catalog, devices: Sequence[str], inspection: str, *, most: int) -> dict[str, list[Report]]:
    """The newest `most` heartbeats of each device about an inspection, oldest first.

    What a rollout is compared with.
    """
    found: dict[str, list[Report]] = {}
    for begin in range(0, len(devices), 500):  # a statement takes so many names
        names = devices[begin : begin + 500]
        place = (
            select(
                HeartbeatRow.id,
                func.row_number().over(partition_by=HeartbeatRow.device, order_by=HeartbeatRow.id.desc()).label("n"),
            )
            .where(HeartbeatRow.device.in_(names))
            .subquery()
        )
        query = (
            select(HeartbeatRow.device, HeartbeatRow.payload, HeartbeatRow.received_at)
            .join(place, place.c.id == HeartbeatRow.id)
            .where(place.c.n <= most)
            .order_by(HeartbeatRow.id)
        )
        with catalog.reading() as session:
            for device, payload, received_at in session.execute(query):
                if payload["inspection"] == inspection:
                    found.setdefault(device, []).append(Report.of(payload, received_at))
    return found
