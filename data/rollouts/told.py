"""A rollout as people see it, on the command line and on the console's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.catalog import Catalog
from data.rollouts.acts import possible
from data.rollouts.records import ANOMALY, DEFECT, Record, Sums
from data.rollouts.stored import records_of
from data.rollouts.values import Rollout

MOST_DEVICES = 100
_WORST_FIRST = ("quarantined", "failed", "trying", "waiting", "confirmed")


def told(rollout: Rollout) -> dict[str, Any]:
    """A rollout as JSON, without its devices."""
    return {
        "id": rollout.id,
        "inspection": rollout.inspection,
        "channel": rollout.channel,
        "version": rollout.version,
        "variants": [
            {"engine_id": e.engine_id, "variant": e.variant, "provider": e.provider, "bytes": e.engine_bytes}
            for e in rollout.engines
        ],
        "base_version": rollout.base_version,
        "state": rollout.state.value,
        "open": rollout.open,
        "reason": rollout.reason,
        "stage": rollout.stage + 1,
        "stages": [
            {"text": stage.text, "percent": stage.cohort.percent, "approve": stage.approve} for stage in rollout.stages
        ],
        "started_at": rollout.started_at.isoformat(),
        "stage_at": rollout.stage_at.isoformat(),
        "ready_at": None if rollout.ready_at is None else rollout.ready_at.isoformat(),
        "signed": rollout.revision == rollout.signed_revision,
        "can": list(possible(rollout)),
        "evidence": dict(rollout.evidence),
        "events": [
            {"at": event.at.isoformat(), "who": event.who, "what": event.what, "why": event.why}
            for event in reversed(rollout.events)
        ],
    }


def told_devices(catalog: Catalog, rollout: Rollout) -> dict[str, Any]:
    """What each device showed before and after, those in trouble first; at most a hundred of the staged ones."""
    records = records_of(catalog, rollout)
    staged = [(name, record) for name, record in records.items() if record.joined >= 0]
    staged.sort(key=lambda each: (_WORST_FIRST.index(each[1].outcome), each[0]))
    return {
        "staged": len(staged),
        "controls": len(records) - len(staged),
        "devices": [_device(name, record) for name, record in staged[:MOST_DEVICES]],
    }


def _device(name: str, record: Record) -> dict[str, Any]:
    return {
        "name": name,
        "stage": record.joined + 1,
        "outcome": record.outcome,
        "reason": record.reason,
        "heard_of": record.present,
        "before": _figures(record.before, record.p99_before),
        "after": _figures(record.after, record.p99_after),
    }


def _figures(sums: Sums, p99: tuple[float, ...]) -> Mapping[str, Any]:
    return {
        "frames": sums.frames,
        "defects": sums.rate(DEFECT) if sums.frames else None,
        "anomaly": sums.rate(ANOMALY) if sums.frames else None,
        "p99_ms": sorted(p99)[len(p99) // 2] if p99 else None,
    }
