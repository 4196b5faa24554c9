"""One look for drift at an inspection: what was ingested since the look before, device by device.

1. A device is watched against its own reference: the first whole days (UTC, the device's clock) after the beginning,
   as many as policy says. Pictures begin with the device's first window, and anew with an engine whose embeddings are
   in another space (a fine-tuned trunk); rates begin anew with every engine, since they are the engine's. Every sample
   is read from the lake once.
2. What a look learnt, how far it came and the alarms it raised are committed together: a look that is killed is
   repeated, one that ended is not. Windows that arrive out of order, after later ones, are not looked at.
3. While a device has an open alarm of a kind, that kind is not watched. If then another engine is in service, it was
   trained on what came: the alarm is closed and the reference begins anew.
4. Half of the false alarms that policy allows an inspection are for pictures, half for rates; evenly by device. Of
   those for pictures, half are for days that leave their band by chance, half for what is found inside it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from data.catalog import Catalog
from data.catalog.models import WindowRow
from data.drift.alarms import DriftAlarm
from data.drift.look_at_pictures import look_at_pictures
from data.drift.look_at_rates import look_at_rates
from data.drift.watches import Device
from data.lake import Lake
from data.policy import DriftPolicy


def look(catalog: Catalog, lake: Lake, inspection: str, policy: DriftPolicy, *, at: datetime) -> list[DriftAlarm]:
    """Look at every device that sent windows.

    Returns:
        The alarms that were raised now.

    Raises:
        LakeError, BucketError: The lake is damaged or away; what was looked at before stays so.
    """
    with catalog.reading() as session:
        query = select(WindowRow.device).where(WindowRow.inspection == inspection).distinct().order_by(WindowRow.device)
        names = list(session.scalars(query))
    raised: list[DriftAlarm | None] = []
    for name in names:
        device = Device(
            inspection=inspection,
            name=name,
            allowed=policy.false_alarms_per_year / 2 / len(names),
            reference_days=policy.reference_days,
        )
        raised += [look_at_pictures(catalog, lake, device, at), look_at_rates(catalog, device, at)]
    return [alarm for alarm in raised if alarm is not None]
