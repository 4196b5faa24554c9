"""What waits for a person's signature, what is different about it, and signing it.

1. A version waits if an alias names it, the rules of :mod:`flows.approval` let it through, and `engines` has not signed
   its digest.
2. What is shown is read from the engine itself and from what is registered of it, beside what the channel carries now:
   whoever signs sees what changes.
3. Signing is `publish_engine`: the engine is inspected first, here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.errors import AndonError
from edge_client.contract.onnx_check import check_onnx
from edge_client.contract.releases import engine_target
from flows.approval import approval_of
from flows.registry import Registry
from flows.registry_api import ModelVersion
from flows.releases.repository import ReleaseRepository
from flows.tags import Tag
from flows.wanted import CHANNELS, alias_for

_SHOWN_METRICS = 30
_LEAST_DIFFERENCE = 5e-4  # of a metric, as it is printed


class NothingToApprove(AndonError):
    """No version waits for approval, or not this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a person is asked to sign.

    Attributes:
        aliases: Aliases in MLflow that name it.
        decision: What the gate said, and why.
        by: Who let it through, or "".
        refusal: Why the release flow would not release it even if it were signed, or "".
        compared_with: The version that its channel carries now, or "".
        differences: One line each, old → new.
    """

    inspection: str
    version: str
    engine_id: str
    sha256: str
    bytes: int
    aliases: tuple[str, ...]
    decision: str
    by: str
    refusal: str
    compared_with: str
    differences: tuple[str, ...]


def waiting(registry: Registry, repository: ReleaseRepository, inspection: str) -> list[ModelVersion]:
    """The versions of an inspection that wait for a signature (rule 1), oldest first."""
    model = registry.api.model(inspection)
    if model is None:
        return []
    signed = repository.approved(inspection)
    found: dict[str, ModelVersion] = {}
    for channel in CHANNELS:
        alias = alias_for(channel, model.aliases)
        if alias is None:
            continue
        version = registry.api.version(inspection, model.aliases[alias])
        if approval_of(version.tags, alias).given and not _signed(version, signed):
            found[version.number] = version
    return sorted(found.values(), key=lambda version: int(version.number))


def describe(registry: Registry, repository: ReleaseRepository, version: ModelVersion) -> Candidate:
    """Say what would be signed, beside what runs now (rule 2).

    Raises:
        BadEngine: The engine is not the one that was registered, or can't be read.
        NothingToApprove: It is signed already.
    """
    if _signed(version, repository.approved(version.inspection)):
        raise NothingToApprove(f"{version.inspection} version {version.number} is signed already")
    engine = registry.engine_bytes(version)
    model = registry.api.model(version.inspection)
    aliases = tuple(sorted(a for a, number in (model.aliases if model else {}).items() if number == version.number))
    approval = approval_of(version.tags, aliases[0] if aliases else "")
    current = _current(registry, repository, version)
    differences: tuple[str, ...] = ()
    if current is not None:
        before, after = registry.engine_bytes(current), engine
        differences = (
            *engine_differences(check_onnx(before).metadata, check_onnx(after).metadata),
            *_changed("size", f"{len(before):,} bytes", f"{len(after):,} bytes"),
            *metric_differences(registry.metrics_of(current), registry.metrics_of(version)),
        )
    return Candidate(
        inspection=version.inspection,
        version=version.number,
        engine_id=version.tags.get(Tag.ENGINE_ID, ""),
        sha256=version.tags.get(Tag.ENGINE_SHA256, ""),
        bytes=len(engine),
        aliases=aliases,
        decision=": ".join(filter(None, (version.tags.get(Tag.DECISION, "none"), version.tags.get(Tag.REASONS, "")))),
        by=approval.by,
        refusal=approval.refusal,
        compared_with=current.number if current else "",
        differences=differences,
    )


def sign(registry: Registry, repository: ReleaseRepository, version: ModelVersion) -> str:
    """Approve a version: sign the digests of its engine and self-test. Returns the engine's digest.

    Raises:
        KeyAway: The `engines` key is not at hand.
        FailedInspection: It must not be signed.
    """
    return repository.publish_engine(
        version.inspection,
        version.tags[Tag.ENGINE_ID],
        registry.engine_bytes(version),
        registry.selftest_bytes(version),
        {"version": version.number, "run_id": version.run_id},
    )


def engine_differences(before: EngineMetadata, after: EngineMetadata) -> Sequence[str]:
    """What is different about an engine, by what it says of itself."""
    was, will = ({c.name: c.kind.value for c in m.classes} for m in (before, after))
    lines = [f"class {name!r} ({will[name]}) is new" for name in will if name not in was]
    lines += [f"class {name!r} ({was[name]}) is gone" for name in was if name not in will]
    lines += [
        f"class {name!r} changes kind: {was[name]} → {will[name]}"
        for name in will
        if name in was and was[name] != will[name]
    ]
    for name in ("defect", "unsure_low", "unsure_high", "anomaly"):
        lines += _changed(f"threshold {name}", *(f"{getattr(m.thresholds, name):g}" for m in (before, after)))
    own = [dict(zip((c.name for c in m.classes), m.thresholds.by_class, strict=False)) for m in (before, after)]
    for name in dict.fromkeys([*own[0], *own[1]]):
        lines += _changed(f"threshold of {name!r}", *(f"{o[name]:g}" if name in o else "none" for o in own))
    lines += _changed("trunk and features", before.embedding_id, after.embedding_id)
    lines += _changed("variant", before.variant, after.variant)
    lines += _changed("snapshot", before.snapshot_id[:12], after.snapshot_id[:12])
    return lines


def metric_differences(before: Mapping[str, float], after: Mapping[str, float]) -> Sequence[str]:
    """Metrics of two runs that differ, by name; those that only one has are not compared."""
    shared = [n for n in sorted(set(before) & set(after)) if abs(before[n] - after[n]) >= _LEAST_DIFFERENCE]
    lines = [f"{name}: {before[name]:.4g} → {after[name]:.4g}" for name in shared[:_SHOWN_METRICS]]
    return [*lines, *([f"and {len(shared) - len(lines)} more metrics"] if len(shared) > len(lines) else [])]


def _changed(what: str, before: str, after: str) -> list[str]:
    return [] if before == after else [f"{what}: {before or 'none'} → {after or 'none'}"]


def _signed(version: ModelVersion, approved: Mapping[str, object]) -> bool:
    file = approved.get(engine_target(version.inspection, version.tags.get(Tag.ENGINE_ID, "x")))
    hashes: Mapping[str, str] = getattr(file, "hashes", {})
    return hashes.get("sha256") == version.tags.get(Tag.ENGINE_SHA256)


def _current(registry: Registry, repository: ReleaseRepository, version: ModelVersion) -> ModelVersion | None:
    """The version that devices run now: what `stable` carries, else `canary`."""
    for channel in CHANNELS:
        carried = repository.read_channel(version.inspection, channel)
        if carried is not None and carried.version != version.number:
            return registry.api.version(version.inspection, carried.version)
    return None
