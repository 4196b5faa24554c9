"""What one commit puts into the bucket, in its order. Signs; touches neither disk nor network.

Order: targets and delegated metadata, the snapshot, and last ``timestamp.json``, which alone brings all of it into
force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile  # type: ignore[attr-defined]  # re-exported there without saying so

from edge_client.contract.releases import METADATA_PREFIX
from flows.releases.metadata import ReleaseMetadata, to_json

ISSUED_AT = "x-andon-issued-at"
ONLINE_LIFE = timedelta(days=30)  # an outage of the cloud shorter than this does not stop devices
PERSON_LIFE = timedelta(days=730)  # approving anything renews it; `andon doctor` warns before
ROOT_LIFE = timedelta(days=3650)

Put = tuple[str, bytes]
Signers = Callable[[str], Sequence[Signer]]
Least = Mapping[str, int]
NO_LEAST: Least = {}


def sign_commit(
    state: ReleaseMetadata, changed: Sequence[str], signers: Signers, now: datetime, least: Least = NO_LEAST
) -> list[Put]:
    """Sign what changed, the snapshot and the timestamp; `state` becomes what will be in force.

    Args:
        state: In force.
        changed: Roles of targets metadata.
        signers: Who signs.
        now: The time that is signed.
        least: Role -> version below which none is signed any more (`flows.releases.raised`).
    """
    puts: list[Put] = []
    for role in changed:
        metadata = state.of(role)
        metadata.signed.version = _next(metadata.signed.version, role, least)
        metadata.signed.expires = now + (ONLINE_LIFE if role == "rollouts" else PERSON_LIFE)
        puts.append(_signed(role, metadata, signers))
        state.snapshot.signed.meta[f"{role}.json"] = MetaFile.from_data(
            metadata.signed.version, puts[-1][1], ["sha256"]
        )
    state.snapshot.signed.version = _next(state.snapshot.signed.version, "snapshot", least)
    state.snapshot.signed.expires = now + ONLINE_LIFE
    puts.append(_signed("snapshot", state.snapshot, signers))
    state.timestamp.signed.snapshot_meta = MetaFile.from_data(state.snapshot.signed.version, puts[-1][1], ["sha256"])
    return [*puts, sign_timestamp(state, signers, now, least)]


def sign_timestamp(state: ReleaseMetadata, signers: Signers, now: datetime, least: Least = NO_LEAST) -> Put:
    """Sign a new timestamp of the same snapshot."""
    timestamp = state.timestamp
    timestamp.signed.version = _next(timestamp.signed.version, "timestamp", least)
    timestamp.signed.expires = now + ONLINE_LIFE
    timestamp.signed.unrecognized_fields[ISSUED_AT] = now.isoformat()
    sign_by_all(timestamp, signers("timestamp"))
    return f"{METADATA_PREFIX}timestamp.json", to_json(timestamp)


def _next(version: int, role: str, least: Least) -> int:
    return max(version + 1, least.get(role, 0))


def sign_by_all(metadata: Metadata[Any], signers: Sequence[Signer]) -> None:
    """Replace the signatures by one of each signer."""
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)


def _signed(role: str, metadata: Metadata[Any], signers: Signers) -> Put:
    sign_by_all(metadata, signers(role))
    return f"{METADATA_PREFIX}{metadata.signed.version}.{role}.json", to_json(metadata)
