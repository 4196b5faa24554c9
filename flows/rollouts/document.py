"""What is signed for a channel, from its rollout alone. Pure.

1. Open: the base version, and the rollout's as `staged` with all cohorts that were reached.
2. Done: the rollout's version, for all. Reverted or superseded: the base version, for all.
3. A rollout without a base is done from its beginning: there is nothing to stage against.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from data.rollouts.stages import reached
from data.rollouts.values import Rollout, State
from edge_client.contract.releases import Channel, NamedEngine, Staged


def base_of(rollout: Rollout) -> tuple[str, tuple[NamedEngine, ...]]:
    """The version, with its files, that a channel's devices run unless they are staged."""
    if rollout.state is State.DONE or not rollout.base:
        return rollout.version, rollout.engines
    return rollout.base_version, rollout.base


def document_of(rollout: Rollout, issued_at: datetime) -> Channel:
    """The channel document that the rollout calls for."""
    version, engines = base_of(rollout)
    staged = None
    if rollout.open and rollout.base:
        staged = Staged(
            version=rollout.version,
            engines=rollout.engines,
            salt=rollout.salt,
            cohorts=reached(rollout.stages, rollout.stage),
        )
    return plain_document(rollout.inspection, rollout.channel, version, engines, issued_at, staged=staged)


def plain_document(
    inspection: str,
    channel: str,
    version: str,
    engines: Sequence[NamedEngine],
    issued_at: datetime,
    *,
    staged: Staged | None = None,
) -> Channel:
    """A channel document that names a version's files."""
    first, *others = engines
    return Channel(
        inspection=inspection,
        channel=channel,
        engine_path=first.engine_path,
        engine_sha256=first.engine_sha256,
        engine_bytes=first.engine_bytes,
        engine_id=first.engine_id,
        version=version,
        selftest_path=first.selftest_path,
        issued_at=issued_at,
        variant=first.variant,
        provider=first.provider,
        variants=tuple(others),
        staged=staged,
    )
