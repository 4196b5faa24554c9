"""The repository's metadata as it is in force: read back and verified, to be changed and committed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported there without saying so
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from edge_client.contract.bucket import Bucket
from edge_client.contract.engine_keys import Sealing
from edge_client.contract.errors import BadRelease, NotFound
from edge_client.contract.releases import METADATA_PREFIX, TARGETS_PREFIX
from flows.releases.keys import public_key_of

MAX_METADATA_BYTES = 5_000_000  # python-tuf's own bound for targets metadata
_PATHS = {"engines": ["engines/*/*"], "rollouts": ["channels/*/*", "settings/*"]}


class ReleaseMetadata:
    """The metadata in force, to be changed and committed."""

    def __init__(
        self,
        *,
        timestamp: Metadata[Timestamp],
        snapshot: Metadata[Snapshot],
        targets: Metadata[Targets],
        engines: Metadata[Targets],
        rollouts: Metadata[Targets],
    ) -> None:
        self.timestamp = timestamp
        self.snapshot = snapshot
        self.targets = targets
        self.engines = engines
        self.rollouts = rollouts

    @staticmethod
    def empty(keys_dir: Path, now: datetime) -> ReleaseMetadata:
        """A repository with its delegations and no targets; its first commit makes version 2 of each."""
        keys = {role: public_key_of(keys_dir, role) for role in _PATHS}
        delegations = Delegations(
            keys={key.keyid: key for key in keys.values()},
            roles={
                role: DelegatedRole(role, [key.keyid], 1, terminating=True, paths=_PATHS[role])
                for role, key in keys.items()
            },
        )
        return ReleaseMetadata(
            timestamp=Metadata(Timestamp(version=1, expires=now)),
            snapshot=Metadata(Snapshot(version=1, expires=now, meta={})),
            targets=Metadata(Targets(version=1, expires=now, delegations=delegations)),
            engines=Metadata(Targets(version=1, expires=now)),
            rollouts=Metadata(Targets(version=1, expires=now)),
        )

    def of(self, role: str) -> Metadata[Targets]:
        """The targets metadata of a role."""
        return {"targets": self.targets, "engines": self.engines, "rollouts": self.rollouts}[role]


def load_metadata(bucket: Bucket, root_bytes: bytes) -> ReleaseMetadata:
    """Read the metadata in force and verify it down from the root.

    Raises:
        BadRelease: Something is missing or not signed by the key it should be.
    """
    root = Metadata[Root].from_bytes(root_bytes)
    try:
        timestamp = Metadata[Timestamp].from_bytes(_read(bucket, "timestamp"))
        root.signed.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)
        meta = timestamp.signed.snapshot_meta
        data = _read(bucket, "snapshot", meta.version)
        meta.verify_length_and_hashes(data)
        snapshot = Metadata[Snapshot].from_bytes(data)
        root.signed.verify_delegate("snapshot", snapshot.signed_bytes, snapshot.signatures)
        targets = _load_targets(bucket, "targets", snapshot.signed, root.signed)
        engines = _load_targets(bucket, "engines", snapshot.signed, targets.signed)
        rollouts = _load_targets(bucket, "rollouts", snapshot.signed, targets.signed)
    except NotFound as error:
        raise BadRelease(
            f"the release repository in the bucket is incomplete ({error}): create it, or restore the bucket"
        ) from error
    except (RepositoryError, KeyError) as error:
        raise BadRelease(
            f"the release repository in the bucket does not verify ({error!r}): it was tampered with, or its "
            "keys are not "
            "those of this installation; nothing is signed on top of it"
        ) from error
    return ReleaseMetadata(timestamp=timestamp, snapshot=snapshot, targets=targets, engines=engines, rollouts=rollouts)


def _load_targets(bucket: Bucket, role: str, snapshot: Snapshot, delegator: Root | Targets) -> Metadata[Targets]:
    meta = snapshot.meta[f"{role}.json"]
    data = _read(bucket, role, meta.version)
    meta.verify_length_and_hashes(data)
    metadata = Metadata[Targets].from_bytes(data)
    delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    return metadata


def _read(bucket: Bucket, role: str, version: int | None = None) -> bytes:
    name = f"{role}.json" if version is None else f"{version}.{role}.json"
    return bucket.get(f"{METADATA_PREFIX}{name}", max_bytes=MAX_METADATA_BYTES)


def target_file(path: str, data: bytes, custom: Mapping[str, Any]) -> TargetFile:
    """Describe a target for signing: length, SHA-256, and facts beside them."""
    file = TargetFile.from_data(path, data, ["sha256"])
    if custom:
        file.unrecognized_fields["custom"] = dict(custom)
    return file


def stored_at(file: TargetFile) -> str:
    """The key of a target's file: before its name the digest of what lies there, which for a sealed one is its own."""
    folder, _, name = file.path.rpartition("/")
    sealing = Sealing.from_custom(file.unrecognized_fields.get("custom"))
    return f"{TARGETS_PREFIX}{folder}/{file.hashes['sha256'] if sealing is None else sealing.sha256}.{name}"


def to_json(metadata: Metadata[Any]) -> bytes:
    """Serialise signed metadata."""
    data: bytes = metadata.to_bytes(JSONSerializer(compact=True))
    return data
