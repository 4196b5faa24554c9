"""How much a device may send a day, and how much it did.

1. What counts is what ingest took over: bytes of shards and windows, by the UTC day on which it did.
2. Over its quota, a device's windows wait in the inbox until the next day; nothing is lost and nothing is refused. Its
   spool fills meanwhile, and the sampler keeps what is worth most.
3. The bound is on what a broken or stolen device can cost the cloud, not on what is captured: that is the device's
   byte budget. A device that stays over its quota is looked at, and revoked if need be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from data.catalog import Catalog
from data.catalog.models import WindowRow

if TYPE_CHECKING:
    from data.policy import QuotaPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was taken over of a device on one day."""

    bytes: int = 0
    windows: int = 0

    def over(self, quota: QuotaPolicy) -> str:
        """Say which bound is reached; "" if none is.

        >>> from data.policy import QuotaPolicy
        >>> Usage(bytes=5, windows=3).over(QuotaPolicy(bytes_per_day=5))
        '5 bytes today, its quota is 5'
        """
        if quota.bytes_per_day and self.bytes >= quota.bytes_per_day:
            return f"{self.bytes:,} bytes today, its quota is {quota.bytes_per_day:,}"
        if quota.windows_per_day and self.windows >= quota.windows_per_day:
            return f"{self.windows:,} windows today, its quota is {quota.windows_per_day:,}"
        return ""

    def plus(self, uploaded_bytes: int) -> Usage:
        """One window more."""
        return Usage(bytes=self.bytes + uploaded_bytes, windows=self.windows + 1)


def usage_of(catalog: Catalog, device: str, at: datetime) -> Usage:
    """What was taken over of a device on the UTC day of `at`."""
    begins = datetime.combine(at.date(), time(), at.tzinfo)
    with catalog.reading() as session:
        found = session.execute(
            select(func.count(), func.coalesce(func.sum(WindowRow.uploaded_bytes), 0)).where(
                WindowRow.device == device,
                WindowRow.ingested_at >= begins,
                WindowRow.ingested_at < begins + timedelta(days=1),
            )
        ).one()
    return Usage(bytes=int(found[1]), windows=int(found[0]))
