"""What a campaign has brought: samples, bytes, how many of them are what was wanted, how many such frames there are.

1. A sample was brought by a campaign where its weight has a part of it. That part over the whole weight is how much of
   the sample the campaign paid for: `paid` adds it up, of samples and of bytes.
2. Precision is over those that are labelled; its interval is Clopper and Pearson's. Labels that were chosen for what
   they teach make it that of the chosen ones.
3. `frames` estimates how many frames of the line matched, with their inclusion probabilities: the sample stays a
   probability sample whatever was asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import and_, func, select

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.current_labels import current_labels
from data.intervals import Estimate, clopper_pearson, gamma_interval

REQUESTED = "requested:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What one campaign has brought so far.

    Attributes:
        samples: That match, captured since it began.
        paid_samples: How many of them it paid for (rule 1).
        image_bytes: Of the samples that match.
        paid_share: Part of all captured bytes of these devices since then that it paid for.
        precision: Share of what was wanted among those labelled; None where nobody said what was wanted.
        frames: Frames of the line that matched.
        by_device: Samples by device.
    """

    samples: int
    paid_samples: float
    image_bytes: int
    paid_share: float
    precision: Estimate | None
    frames: Estimate
    by_device: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        value = asdict(self)
        value["precision"] = None if self.precision is None else self.precision.to_dict()
        return {**value, "frames": self.frames.to_dict()}


def brought(catalog: Catalog, campaign_id: str, *, since: datetime, wanted: str = "") -> Brought:
    """Add up what a campaign has brought.

    Args:
        catalog: The catalog.
        campaign_id: Its id.
        since: When it began.
        wanted: The class that was hoped for; "" for none.
    """
    part = SampleRow.reasons[REQUESTED + campaign_id].as_float()
    captured = and_(SampleRow.ingested_at >= since, SampleRow.origin == "field")
    with catalog.reading() as session:
        rows = session.execute(
            select(
                SampleRow.sample_id,
                SampleRow.device,
                SampleRow.image_bytes,
                SampleRow.weight,
                SampleRow.p1,
                SampleRow.counted,
                part.label("part"),
            ).where(captured, part > 0)
        ).all()
        devices = sorted({row.device for row in rows if row.device is not None})
        total = session.scalar(select(func.sum(SampleRow.image_bytes)).where(captured, SampleRow.device.in_(devices)))
    shares = np.array([row.part / row.weight if row.weight else 0.0 for row in rows])
    sizes = np.array([row.image_bytes for row in rows], dtype=np.float64)
    p = np.array([row.p1 for row in rows if row.counted and row.p1], dtype=np.float64)
    low, high = gamma_interval(np.ones(len(p)), p) if len(p) else (0.0, 0.0)
    return Brought(
        samples=len(rows),
        paid_samples=float(shares.sum()),
        image_bytes=int(sizes.sum()),
        paid_share=float((shares * sizes).sum() / total) if total else 0.0,
        precision=_precision(catalog, [row.sample_id for row in rows], wanted) if wanted else None,
        frames=Estimate(value=float((1 / p).sum()), low=low, high=high, n=len(p)),
        by_device={name: sum(1 for row in rows if row.device == name) for name in devices},
    )


def _precision(catalog: Catalog, sample_ids: list[str], wanted: str) -> Estimate:
    """Rule 2."""
    labels = {name: label for name, label in current_labels(catalog, sample_ids).items() if label.classes}
    n, found = len(labels), sum(1 for label in labels.values() if wanted in label.classes)
    low, high = clopper_pearson(found, n)
    return Estimate(value=found / n if n else float("nan"), low=low, high=high, n=n, population=len(sample_ids))
