"""Rollouts, reports and records for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from data.rollouts.records import DEFECT, LOST, Record, Report, Sums
from data.rollouts.stages import parse_stages
from data.rollouts.values import Rollout
from edge_client.contract.releases import NamedEngine, engine_target, selftest_target
from edge_client.contract.staging import DeviceFacts

AT = datetime(2026, 11, 1, tzinfo=UTC)
NEW, OTHER, BASE = "b" * 64, "c" * 64, "a" * 64


def named(engine_id: str, sha256: str, variant: str = "") -> NamedEngine:
    return NamedEngine(
        engine_path=engine_target("cells", engine_id),
        engine_sha256=sha256,
        engine_bytes=10,
        engine_id=engine_id,
        selftest_path=selftest_target("cells", engine_id),
        variant=variant,
    )


def rollout(stages: str = "10%, 50%, 100%", **changes: Any) -> Rollout:
    made = Rollout(
        inspection="cells",
        channel="stable",
        version="2",
        engines=(named("e2", NEW), named("e2-fp32", OTHER, "fp32")),
        base_version="1",
        base=(named("e1", BASE),),
        salt="salt",
        stages=parse_stages(stages),
        started_at=AT,
        stage_at=AT,
    )
    return replace(made, **changes)


def facts(*names: str, **more: str) -> list[DeviceFacts]:
    return [DeviceFacts(device=name, **more) for name in names]


def report(sequence: int, *, engine: str = BASE, frames: int = 0, defects: int = 0, **more: Any) -> Report:
    fields: dict[str, Any] = {
        "sequence": sequence,
        "received_at": AT + timedelta(minutes=sequence),
        "engine_sha256": engine,
        "frames": frames,
        "lost": 0,
        "classes": {"ok": frames - defects, "crack": defects},
        "anomaly_mean": 0.25,
        "latency_ms_p99": 8.0,
        "outcome": "none",
        "outcome_sha256": "",
        "reason": "",
        "quarantined": {},
        "site": "plant",
        "station": "end",
        "hardware": "x86_64",
    }
    return Report(**{**fields, **more})


def sums(rate: float, *, batches: int = 20, frames: int = 100, **more: float) -> Sums:
    """Batches that all have the same rate of defects."""
    made = Sums()
    for _ in range(batches):
        values: Mapping[str, float] = {DEFECT: rate * frames, "anomaly": 0.25 * frames, LOST: 0.0}
        made = made.plus(frames, {**values, **{name: value * frames for name, value in more.items()}})
    return made


def staged(rate: float = 0.1, before: float = 0.1, **changes: Any) -> Record:
    made = Record(
        joined=0,
        present=True,
        outcome="confirmed",
        earlier=sums(before),
        after=sums(rate),
        p99_before=(8.0,) * 5,
        p99_after=(8.0,) * 5,
    )
    return replace(made, **changes)


def control(rate: float = 0.1, before: float = 0.1, **changes: Any) -> Record:
    return replace(Record(earlier=sums(before), later=sums(rate), p99_before=(8.0,) * 8), **changes)
