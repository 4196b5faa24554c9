"""A sample of the queue as the pages get it."""

from __future__ import annotations

from typing import Any

from data.queue import QueueItem


def shown(item: QueueItem) -> dict[str, Any]:
    """JSON values of a queue item."""
    return {
        "sample_id": item.sample_id,
        "why": item.why,
        "reason": item.reason,
        "captured_at": item.captured_at.isoformat(),
        "device": item.device,
        "station": item.station,
        "part_id": item.part_id,
        "opinion": [{"name": n, "probability": p} for n, p in zip(item.classes, item.probabilities, strict=False)],
        "anomaly": item.anomaly,
        "verdict": item.verdict,
        "reasons": dict(item.reasons),
        "context": dict(item.context),
        "chosen": dict(item.chosen),
        "like": list(item.like),
        "leased_until": item.leased_until.isoformat(),
        "seen": item.seen,
    }
