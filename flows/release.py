"""The release flow: what people decided in MLflow becomes signed channels that devices follow.

1. The truth about what is released is the signed repository in the bucket; tags in MLflow are written after it, and
   written again by the next run if this one dies in between.
2. Engine and self-test are published before a channel names them.
3. Only versions that :mod:`flows.approval` lets through; a refusal is written where the person looks, at the version.
4. Nothing to do is the usual case, and then nothing is written: two runs are one release.
5. A rollback is an alias on an older version: a newer signed channel that names the older engine.
6. A version reaches a channel's devices by a rollout (:mod:`flows.rollouts`), which the catalog keeps. What is signed
   follows from it alone, so that a run that was killed anywhere is completed by the next one. An alias on another
   version begins another rollout, which supersedes it.
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
from data.rollouts.stored import newest_rollout
from data.rollouts.values import Rollout
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from edge_client.contract.releases import Channel
from flows.approval import approval_of
from flows.exclusive import only_one
from flows.registry import Registry
from flows.registry_api import ModelVersion, RegisteredModel
from flows.releases.repository import ReleaseRepository
from flows.rollouts.desk import Desk
from flows.rollouts.story import story
from flows.stack import registry_of, repository_of
from flows.tags import Tag, channel_tag, channel_time_tag, next_tag, refused_tag
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
class Moved:
    """A rollout that began, went on, was held, halted or taken back."""

    inspection: str
    channel: str
    version: str
    engine_id: str
    engine_sha256: str
    state: str
    stage: str
    who: str
    reason: str

    def __str__(self) -> str:
        return f"{self.inspection}: version {self.version} to {self.channel} {self.state}, {self.stage}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOutcome:
    """What one run did."""

    released: tuple[Released, ...] = ()
    refused: tuple[Refused, ...] = ()
    moved: tuple[Moved, ...] = ()

    def __str__(self) -> str:
        done = [
            f"{r.inspection}: {r.channel} {'rolled back' if r.rollback else 'released'} to version {r.version}"
            for r in self.released
        ]
        done += [f"{r.inspection}: version {r.version} refused for {r.channel}: {r.reason}" for r in self.refused]
        done += [str(each) for each in self.moved]
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
    moved: list[Moved] = []
    failed: list[str] = []
    with only_one(workspace.home, "release", wait_seconds=_WAIT_SECONDS):
        repository = repository_of(workspace, clock)
        for name in names:
            with _noting(failed, name):
                for change in reconcile(workspace, registry, repository, name, clock()):
                    log_release(workspace, change, clock())
                    match change:
                        case Released():
                            released.append(change)
                        case Refused():
                            refused.append(change)
                        case Moved():
                            moved.append(change)
    outcome = ReleaseOutcome(released=tuple(released), refused=tuple(refused), moved=tuple(moved))
    if failed:
        raise AndonError(f"{'; '.join(failed)} (of the rest: {outcome})")
    return outcome


def reconcile(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, inspection: str, now: datetime
) -> Iterator[Released | Refused | Moved]:
    """Bring the channels of one inspection in line with its aliases, each as far as its rollout has got."""
    model = registry.api.model(inspection)
    if model is None:
        return
    desk = Desk(workspace=workspace, registry=registry, repository=repository, now=now)
    for channel in CHANNELS:
        alias = alias_for(channel, model.aliases)
        newest = newest_rollout(desk.catalog, inspection, channel)
        if alias is None:
            if newest is not None and newest.open:
                yield from _follow(desk, model, newest, "nobody: the channel follows no alias now")
            continue
        version = registry.api.version(inspection, model.aliases[alias])
        approval = approval_of(version.tags, alias)
        if not approval.given:
            _note_refusal(registry, model, channel, version, approval.refusal)
            yield Refused(**_named(version, channel), reason=approval.refusal)
            if newest is not None and newest.open:
                yield from _follow(desk, model, desk.hold_for(newest, version), "the release flow")
            continue
        _note_approval(registry, version, approval.by, now)
        current = repository.read_channel(inspection, channel)
        if newest is None and current is not None and _carries(current, version):
            # released before rollouts were kept
            yield from _carried(desk, model, channel, version, approval.by)
            continue
        if newest is None or not desk.is_of(newest, version):
            newest = desk.begin(newest, current, channel, version, approval.by)
        yield from _follow(desk, model, newest, approval.by)


def _follow(desk: Desk, model: RegisteredModel, rollout: Rollout, approved_by: str) -> Iterator[Released | Moved]:
    """Look at a rollout, sign what it calls for, and say so in MLflow."""
    rollout = desk.look(rollout)
    desk.sign(rollout)
    version = desk.registry.api.version(rollout.inspection, rollout.version)
    if rollout.done or not rollout.base:
        yield from _carried(desk, model, rollout.channel, version, approved_by)
        desk.registry.api.untag_model(rollout.inspection, *_set(model, next_tag(rollout.channel)))
    else:
        _tag_version(desk.registry, version, story(rollout))
        told = {next_tag(rollout.channel): rollout.version}
        desk.registry.api.tag_model(rollout.inspection, {k: v for k, v in told.items() if model.tags.get(k) != v})
        desk.registry.api.untag_model(rollout.inspection, *_set(model, refused_tag(rollout.channel)))
    if rollout.revision != rollout.signed_revision:
        desk.signed(rollout)
        if not rollout.done:
            moved = Moved(
                **_named(version, rollout.channel),
                state=rollout.state.value,
                stage=rollout.stage_words(),
                who=rollout.events[-1].who,
                reason=rollout.reason,
            )
            _log.info("%s", moved)
            yield moved


def _carried(
    desk: Desk, model: RegisteredModel, channel: str, version: ModelVersion, approved_by: str
) -> Iterator[Released]:
    """The channel carries a version for all: say so, if that is news."""
    previous = model.tags.get(channel_tag(channel)) or None
    if _note_channel(desk.registry, model, channel, version, desk.now):
        outcome = Released(
            **_named(version, channel),
            previous=previous,
            rollback=_is_older(version.number, previous),
            approved_by=approved_by,
        )
        _log.info("%s", ReleaseOutcome(released=(outcome,)))
        yield outcome


def log_release(workspace: Workspace, outcome: Released | Refused | Moved, now: datetime) -> None:
    """Note in the catalog what was done or refused, and who wanted it."""
    detail: dict[str, Any]
    match outcome:
        case Refused():
            action, who, detail = "refused", "the release flow", {"reason": outcome.reason}
        case Moved():
            action, who = outcome.state, outcome.who
            detail = {"stage": outcome.stage, "reason": outcome.reason}
        case Released():
            action, who = "rollback" if outcome.rollback else "release", outcome.approved_by
            detail = {"previous": outcome.previous}
    entry = ReleaseEntry(
        inspection=outcome.inspection,
        channel=outcome.channel,
        action=action,
        who=who[:128],
        at=now,
        version=outcome.version,
        engine_id=outcome.engine_id,
        engine_sha256=outcome.engine_sha256,
        detail=detail,
    )
    record_release(workspace.catalog(), entry)


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


def _set(model: RegisteredModel, *names: str) -> list[str]:
    """Those of some tags that the model has."""
    return [name for name in names if name in model.tags]


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
