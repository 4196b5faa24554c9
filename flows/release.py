"""The release flow: what people decided in MLflow becomes signed channels that devices follow.

1. The truth about what is released is the signed repository in the bucket; tags in MLflow are written after it, and
   written again by the next run if this one dies in between.
2. Engine and self-test are published before a channel names them.
3. Only versions that :mod:`flows.approval` lets through; a refusal is written where the person looks, at the version.
   An engine whose `engines` key is a person's waits for `andon approve`, and one that fails its inspection is refused.
4. Nothing to do is the usual case, and then nothing is written: two runs are one release.
5. A rollback is an alias on an older version: a newer signed channel that names the older engine.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.decisions import ReleaseEntry, record_release
from data.inspections import get_inspection, list_inspections
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from edge_client.contract.releases import Channel, engine_target, selftest_target
from flows.approval import approval_of
from flows.exclusive import only_one
from flows.registry import Registry
from flows.registry_api import ModelVersion, RegisteredModel
from flows.releases.inspection import FailedInspection
from flows.releases.keyring import KeyAway
from flows.releases.repository import ReleaseRepository
from flows.stack import registry_of, repository_of
from flows.tags import Tag, channel_tag, channel_time_tag, refused_tag
from flows.wanted import CHANNELS, alias_for

_log = logging.getLogger("andon.release")
_WAIT_SECONDS = 120.0  # a release takes seconds; another one in progress will have done what this one would


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A channel that names another engine now."""

    inspection: str
    channel: str
    version: str
    engine_id: str
    engine_sha256: str
    previous: str | None
    rollback: bool
    approved_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An alias that was not followed, and why."""

    inspection: str
    channel: str
    version: str
    engine_id: str
    engine_sha256: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOutcome:
    """What one run did."""

    released: tuple[Released, ...] = ()
    refused: tuple[Refused, ...] = ()

    def __str__(self) -> str:
        done = [
            f"{r.inspection}: {r.channel} {'rolled back' if r.rollback else 'released'} to version {r.version}"
            for r in self.released
        ]
        done += [f"{r.inspection}: version {r.version} refused for {r.channel}: {r.reason}" for r in self.refused]
        return "; ".join(done) or "every channel carries what its alias names"


@flow(name="release")
def release(inspection: str | None = None) -> State[Any]:
    """Bring the signed channels in line with the aliases in MLflow, for one inspection or all."""
    outcome = release_once(Workspace.open(), inspection)
    return Completed(message=str(outcome))


def release_once(
    workspace: Workspace,
    inspection: str | None = None,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ReleaseOutcome:
    """Do what the flow does, without Prefect.

    Raises:
        InspectionError: There is no such inspection.
        AndonError: Some inspection could not be reconciled; the others were.
    """
    registry = registry_of(workspace)
    catalog = workspace.catalog()
    names = [i.name for i in ([get_inspection(catalog, inspection)] if inspection else list_inspections(catalog))]
    released: list[Released] = []
    refused: list[Refused] = []
    failed: list[str] = []
    with only_one(workspace.home, "release", wait_seconds=_WAIT_SECONDS):
        repository = repository_of(workspace, clock)
        for name in names:
            with _noting(failed, name):
                for change in reconcile(registry, repository, name, clock()):
                    log_release(workspace, change, clock())
                    if isinstance(change, Released):
                        released.append(change)
                    else:
                        refused.append(change)
    outcome = ReleaseOutcome(released=tuple(released), refused=tuple(refused))
    if failed:
        raise AndonError(f"{'; '.join(failed)} (of the rest: {outcome})")
    return outcome


def reconcile(
    registry: Registry, repository: ReleaseRepository, inspection: str, now: datetime
) -> Iterator[Released | Refused]:
    """Bring the channels of one inspection in line with its aliases."""
    model = registry.api.model(inspection)
    if model is None:
        return
    for channel in CHANNELS:
        alias = alias_for(channel, model.aliases)
        if alias is None:
            continue
        version = registry.api.version(inspection, model.aliases[alias])
        current = repository.read_channel(inspection, channel)
        approval = approval_of(version.tags, alias)
        if not approval.given:
            _note_refusal(registry, model, channel, version, approval.refusal)
            yield Refused(**_named(version, channel), reason=approval.refusal)
            continue
        _note_approval(registry, version, approval.by, now)
        if current is None or not _carries(current, version):
            try:
                publish(registry, repository, version, channel, now)
            except (KeyAway, FailedInspection) as error:  # a person has to come, or must not sign
                _note_refusal(registry, model, channel, version, str(error))
                yield Refused(**_named(version, channel), reason=str(error))
                continue
        previous = model.tags.get(channel_tag(channel)) or None
        if _note_channel(registry, model, channel, version, now):
            outcome = Released(
                **_named(version, channel),
                previous=previous,
                rollback=_is_older(version.number, previous),
                approved_by=approval.by,
            )
            _log.info("%s", ReleaseOutcome(released=(outcome,)))
            yield outcome


def log_release(workspace: Workspace, outcome: Released | Refused, now: datetime) -> None:
    """Note in the catalog what was done or refused, and who wanted it."""
    entry = ReleaseEntry(
        inspection=outcome.inspection,
        channel=outcome.channel,
        action="refused" if isinstance(outcome, Refused) else "rollback" if outcome.rollback else "release",
        who=outcome.approved_by[:128] if isinstance(outcome, Released) else "the release flow",
        at=now,
        version=outcome.version,
        engine_id=outcome.engine_id,
        engine_sha256=outcome.engine_sha256,
        detail={"previous": outcome.previous} if isinstance(outcome, Released) else {"reason": outcome.reason},
    )
    record_release(workspace.catalog(), entry)


def publish(
    registry: Registry, repository: ReleaseRepository, version: ModelVersion, channel: str, now: datetime
) -> Channel:
    """Publish a version's engine and self-test, then make a channel name it."""
    inspection, engine_id = version.inspection, version.tags[Tag.ENGINE_ID]
    engine = registry.engine_bytes(version)
    repository.publish_engine(
        inspection,
        engine_id,
        engine,
        registry.selftest_bytes(version),
        {"version": version.number, "run_id": version.run_id},
    )
    named = Channel(
        inspection=inspection,
        channel=channel,
        engine_path=engine_target(inspection, engine_id),
        engine_sha256=version.tags[Tag.ENGINE_SHA256],
        engine_bytes=len(engine),
        engine_id=engine_id,
        version=version.number,
        selftest_path=selftest_target(inspection, engine_id),
        issued_at=now,
    )
    repository.set_channel(named)
    return named


def _named(version: ModelVersion, channel: str) -> dict[str, str]:
    return {
        "inspection": version.inspection,
        "channel": channel,
        "version": version.number,
        "engine_id": version.tags.get(Tag.ENGINE_ID, ""),
        "engine_sha256": version.tags.get(Tag.ENGINE_SHA256, ""),
    }


def _carries(channel: Channel, version: ModelVersion) -> bool:
    return (channel.version, channel.engine_sha256) == (version.number, version.tags[Tag.ENGINE_SHA256])


def _is_older(number: str, than: str | None) -> bool:
    return than is not None and number.isdigit() and than.isdigit() and int(number) < int(than)


def _note_refusal(registry: Registry, model: RegisteredModel, channel: str, version: ModelVersion, reason: str) -> None:
    _log.warning("%s version %s is not released to %s: %s", model.inspection, version.number, channel, reason)
    _tag_version(registry, version, {Tag.ROLLOUT_STATE: f"not released to {channel}: {reason}"})
    if model.tags.get(refused_tag(channel)) != version.number:
        registry.api.tag_model(model.inspection, {refused_tag(channel): version.number})


def _note_approval(registry: Registry, version: ModelVersion, by: str, now: datetime) -> None:
    if version.tags.get(Tag.APPROVED_BY) != by:
        _tag_version(registry, version, {Tag.APPROVED_BY: by, Tag.APPROVED_AT: now.isoformat(timespec="seconds")})


def _note_channel(
    registry: Registry, model: RegisteredModel, channel: str, version: ModelVersion, now: datetime
) -> bool:
    """Make the tags say what the repository says. Returns whether they said something else before."""
    previous = model.tags.get(channel_tag(channel), "")
    carried = _listed(version.tags.get(Tag.CHANNELS, ""))
    if previous == version.number and channel in carried and refused_tag(channel) not in model.tags:
        return False
    for other in registry.api.versions(model.inspection):
        others = _listed(other.tags.get(Tag.CHANNELS, ""))
        if other.number != version.number and channel in others:
            moved = "was rolled back" if _is_older(version.number, other.number) else "went on"
            left = ", ".join(sorted(set(others) - {channel}))
            state = f"{channel} {moved} to version {version.number}"
            _tag_version(registry, other, {Tag.CHANNELS: left, Tag.ROLLOUT_STATE: state})
    _tag_version(
        registry,
        version,
        {
            Tag.CHANNELS: ", ".join(sorted({*carried, channel})),
            Tag.ROLLOUT_STATE: f"released to {channel} at {now:%Y-%m-%d %H:%M} UTC",
        },
    )
    registry.api.tag_model(
        model.inspection,
        {channel_time_tag(channel): now.isoformat(), channel_tag(channel): version.number},
    )
    registry.api.untag_model(model.inspection, refused_tag(channel))
    return True


def _tag_version(registry: Registry, version: ModelVersion, tags: dict[str, str]) -> None:
    changed = {key: value for key, value in tags.items() if version.tags.get(key) != value}
    registry.api.tag_version(version.inspection, version.number, changed)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@contextmanager
def _noting(failed: list[str], inspection: str) -> Iterator[None]:
    """One inspection's trouble must not hold up the others'."""
    try:
        yield
    except AndonError as error:
        _log.error("%s: %s", inspection, error)
        failed.append(f"{inspection}: {error}")
