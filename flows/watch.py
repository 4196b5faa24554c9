"""The watch flow: what devices say becomes what people see, and signed metadata never runs out.

1. Heartbeats are taken over by :mod:`data.heartbeats`' rules; the story of each version is written into its tags in
   MLflow.
2. Timestamp and snapshot are signed anew when fewer than ten of their thirty days remain: an outage of the cloud of
   up to ten days stops no device.
3. What is wanted next is said, not done: the sentinel, or the next scheduled run, does it.
4. Rollouts that are under way are looked at, and go on, wait or are taken back (:mod:`flows.rollouts`).
5. Drift is looked for in what was ingested since, and answered by policy (:mod:`flows.drift`).
6. Labels that an outcome contradicts are suggested for a second look (:mod:`data.label_reviews`).
7. One server being away does not keep the rest from being done; what failed is said at the end.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.devices import device_statuses, list_devices
from data.ingest import ingest_heartbeats
from data.inspections import Inspection, list_inspections
from data.label_reviews import record_contradictions
from data.rollouts.stored import any_open
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from edge_client.contract.heartbeat import Heartbeat
from flows.accounts import settle_accounts
from flows.drift import labels_that_start_a_retrain, watch_drift
from flows.exclusive import Busy, only_one
from flows.label_count import count_label_events
from flows.notify.delivery import notify_once
from flows.registry import Registry
from flows.release import release_once
from flows.retrain_settings import may_start_by_itself
from flows.rollout import rollout_of, rollout_tags
from flows.shadow import tag_shadows
from flows.stack import registry_of, repository_of
from flows.tags import Tag
from flows.variants import digests_of
from flows.wanted import labels_since, releases_wanted, retrain_wanted

_log = logging.getLogger("andon.watch")
REFRESH_BELOW = timedelta(days=10)
_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOutcome:
    """What one run saw and did.

    Attributes:
        heartbeats: New ones taken over.
        tagged: (inspection, version) whose tags changed.
        silent: Devices whose silence is an alarm since this run.
        refreshed: Whether timestamp and snapshot were signed anew.
        retrain_wanted: Inspection -> label events since its newest retrain, where they are enough.
        release_wanted: Inspections whose aliases and channels differ.
        drift: What alarms of drift say, each answered by policy.
        rollouts: What became of rollouts in this run.
        failed: What could not be done now, and why.
    """

    heartbeats: int = 0
    silent: tuple[str, ...] = ()
    tagged: tuple[tuple[str, str], ...] = ()
    refreshed: bool = False
    retrain_wanted: dict[str, int]
    release_wanted: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    rollouts: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.heartbeats} heartbeats", f"{len(self.tagged)} versions retagged"]
        if self.silent:
            parts.append(f"{len(self.silent)} devices are silent now")
        if self.refreshed:
            parts.append("release metadata signed anew")
        parts += [f"retrain of {name} wanted ({n} new labels)" for name, n in self.retrain_wanted.items()]
        parts += [f"release of {name} wanted" for name in self.release_wanted]
        return ", ".join([*parts, *self.drift, *self.rollouts, *self.failed])


@flow(name="watch")
def watch() -> State[Any]:
    """Take over heartbeats, write the fleet's state into MLflow, keep the signed metadata fresh."""
    try:
        outcome = watch_once(Workspace.open(), wait_seconds=1.0)
    except Busy as busy:
        return Completed(message=str(busy), name="Skipped")
    if outcome.failed:
        raise AndonError(str(outcome))
    return Completed(message=str(outcome))


def watch_once(
    workspace: Workspace,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> WatchOutcome:
    """Do what the flow does, without Prefect.

    Raises:
        Busy: Another watch was running for all of `wait_seconds`.
    """
    failed: list[str] = []
    heartbeats, refreshed = 0, False
    silent: list[str] = []
    tagged: list[tuple[str, str]] = []
    retrain: dict[str, int] = {}
    release: list[str] = []
    drift: list[str] = []
    rollouts: list[str] = []
    with only_one(workspace.home, "watch", wait_seconds=wait_seconds):
        catalog = workspace.catalog()
        with _noting(failed, "heartbeats"):
            policy = workspace.policy()
            report = ingest_heartbeats(
                catalog, workspace.bucket(), clock, fleet=policy.fleet, retention=policy.retention
            )
            heartbeats, silent = len(report.new), report.silent
            failed += [f"heartbeat {key}: {reason}" for key, reason in report.deferred]
        with _noting(failed, "accounts"):
            settle_accounts(workspace, clock)
        with _noting(failed, "release metadata"):
            refreshed = refresh(workspace, clock)
        for inspection in list_inspections(catalog):
            with _noting(failed, f"drift of {inspection.name}"):
                alarms = watch_drift(workspace, inspection.name, clock=clock)
                drift += [f"drift of {alarm.inspection} on {alarm.device}: {alarm.words}" for alarm in alarms]
            with _noting(failed, f"outcomes of {inspection.name}"):
                record_contradictions(catalog, inspection.name, workspace.policy().outcomes, at=clock())
            with _noting(failed, inspection.name):
                if any_open(catalog, inspection.name):
                    moved = release_once(workspace, inspection.name, clock=clock)
                    rollouts += [str(each) for each in (*moved.moved, *moved.released)]
                registry = registry_of(workspace)
                tagged += tag_versions(workspace, registry, inspection)
                tagged += tag_shadows(registry, inspection.name, _heartbeats(workspace, inspection.name))
                model = registry.api.model(inspection.name)
                events = count_label_events(catalog, inspection.name)
                needed = labels_that_start_a_retrain(catalog, inspection.name, workspace.policy())
                if may_start_by_itself(inspection) and retrain_wanted(events, model, needed):
                    retrain[inspection.name] = labels_since(events, model)
                if model is not None and releases_wanted(model):
                    release.append(inspection.name)
        with _noting(failed, "notices"):
            notify_once(workspace, clock=clock)  # what could not be sent waits in the outbox
    outcome = WatchOutcome(
        heartbeats=heartbeats,
        silent=tuple(silent),
        tagged=tuple(tagged),
        refreshed=refreshed,
        retrain_wanted=retrain,
        release_wanted=tuple(release),
        drift=tuple(drift),
        rollouts=tuple(rollouts),
        failed=tuple(failed),
    )
    _log.info("%s", outcome)
    return outcome


def refresh(workspace: Workspace, clock: Callable[[], datetime]) -> bool:
    """Sign timestamp and snapshot anew if they end soon. Returns whether it did."""
    repository = repository_of(workspace, clock)
    if min(repository.expiry()[role] for role in ("timestamp", "snapshot", "rollouts")) - clock() >= REFRESH_BELOW:
        return False
    with only_one(workspace.home, "release", wait_seconds=_WAIT_SECONDS):
        repository.refresh_timestamp()
    return True


def tag_versions(workspace: Workspace, registry: Registry, inspection: Inspection) -> list[tuple[str, str]]:
    """Write what the fleet says into the tags of the versions that it concerns; only what changed."""
    name = inspection.name
    heartbeats = _heartbeats(workspace, name)
    followers = [d for d in list_devices(workspace.catalog(), name) if not d.revoked]
    changed: list[tuple[str, str]] = []
    for version in registry.api.versions(name):
        rollout = rollout_of(digests_of(version.tags), heartbeats)
        channels = [c.strip() for c in version.tags.get(Tag.CHANNELS, "").split(",") if c.strip()]
        if not rollout.seen and not channels and Tag.DEVICES not in version.tags:
            continue  # no device ever had to do with it
        following = sum(1 for d in followers if any(i == name and c in channels for i, c in d.inspections))
        tags = rollout_tags(rollout, channels, following)
        fresh = {key: value for key, value in tags.items() if version.tags.get(key) != value}
        if fresh:
            registry.api.tag_version(name, version.number, fresh)
            changed.append((name, version.number))
    return changed


def _heartbeats(workspace: Workspace, inspection: str) -> list[Heartbeat]:
    known = device_statuses(workspace.catalog(), inspection).values()
    return [status.heartbeat for status in known if status.heartbeat.inspection == inspection]


@contextmanager
def _noting(failed: list[str], what: str) -> Iterator[None]:
    """One server's absence must not hold up the rest; `failed` gets what went wrong."""
    try:
        yield
    except AndonError as error:
        _log.warning("%s: %s", what, error)
        failed.append(f"{what}: {error}")
