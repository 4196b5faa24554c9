"""What a heartbeat says, put together from counters, updates and spool."""

from collections.abc import Sequence
from datetime import datetime

from edge_client.config import Config
from edge_client.contract.heartbeat import Heartbeat
from edge_client.counters import Counts
from edge_client.figures import SpoolFigures
from edge_client.updates.outcome import UpdateStatus
from edge_client.version import VERSION


def describe(
    config: Config,
    *,
    at: datetime,
    counts: Counts,
    update: UpdateStatus,
    figures: SpoolFigures | None,
    problems: Sequence[str],
) -> Heartbeat:
    """Build a heartbeat; the writer sets its sequence. One that could not be sent is no news in the next one."""
    told = [p[:500] for p in problems if not p.startswith("heartbeat:")][:50]
    return Heartbeat(
        device=config.device.name,
        site=config.device.site,
        station=config.device.station,
        sequence=0,
        sent_at=at,
        client_version=VERSION,
        inspection=config.inspection.name,
        channel=config.inspection.channel,
        engine_id=update.engine_id,
        engine_sha256=update.engine_sha256,
        slot=update.place,
        health="degraded" if told else "ok",
        problems=tuple(told),
        frames=counts.frames,
        requests_lost=counts.lost,
        latency_ms_p50=counts.latency_ms_p50,
        latency_ms_p99=counts.latency_ms_p99,
        class_counts=counts.classes,
        anomaly_mean=counts.anomaly_mean,
        spool_bytes=figures.bytes if figures else 0,
        spool_limit=figures.limit_bytes if figures else 0,
        spool_windows=figures.waiting_windows if figures else 0,
        rollout=update.rollout,
        metadata_versions=update.metadata_versions,
        quarantined=update.quarantined,
        hardware=config.device.hardware_name(),
        variant=update.variant[:32],
    )
