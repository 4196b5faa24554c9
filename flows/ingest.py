"""The ingest flow: what devices uploaded becomes samples in the catalog.

1. The rules of what counts, and in which order things are written and deleted, are :mod:`data.ingest`'s.
2. Neither torch nor MLflow is imported here: a run that finds nothing must cost next to nothing.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.ingest import IngestReport, ingest_inbox
from data.workspace import Workspace
from edge_client.contract.errors import Unavailable
from flows.exclusive import Busy, only_one

_log = logging.getLogger("andon.ingest")
_WAIT_SECONDS = 300.0  # of a person's command; the schedule's runs come every minute and don't queue


@flow(name="ingest")
def ingest() -> State[Any]:
    """Take over what waits in the inbox: verify, decrypt, check, commit, then delete."""
    try:
        report = ingest_once(Workspace.open(), wait_seconds=1.0)
    except Busy as busy:
        return Completed(message=str(busy), name="Skipped")
    if report.stopped:
        raise Unavailable(told(report))  # the next run, a minute later, goes on
    return Completed(message=told(report))


def ingest_once(
    workspace: Workspace,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> IngestReport:
    """Do what the flow does, without Prefect.

    Raises:
        Busy: Another ingest was running for all of `wait_seconds`.
        BucketError: The bucket is away or refuses; what was committed stays committed.
    """
    with only_one(workspace.home, "ingest", wait_seconds=wait_seconds), workspace.catalog().lean() as catalog:
        report = ingest_inbox(
            catalog,
            workspace.bucket(),
            workspace.lake(),
            workspace.identity(),
            clock,
            split=workspace.policy().split,
            quota=workspace.policy().quota,
            workers=workspace.policy().ingest.workers,
        )
    for key, reason in report.quarantined:
        _log.warning("quarantined %s: %s", key, reason)
    _log.info("%s", told(report))
    return report


def told(report: IngestReport) -> str:
    """Say what a run did in one line."""
    parts = [f"{report.windows} windows, {report.samples} samples, {report.bytes:,} bytes"]
    rest = {
        "known already": report.duplicates,
        "quarantined": len(report.quarantined),
        "missing": report.missing,
        "put off": len(report.deferred),
        "devices over their quota": len(report.over_quota),
    }
    parts += [f"{count} {what}" for what, count in rest.items() if count]
    return ", ".join([*parts, *([f"stopped: {report.stopped}"] if report.stopped else [])])
