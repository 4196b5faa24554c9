"""The repository's metadata as it is in force: read back and verified, to be changed and committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from securesystemslib.signer import Key
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
from edge_client.contract.releases import MAX_METADATA_BYTES, METADATA_PREFIX, TARGETS_PREFIX

TOP_ROLES = ("root", "targets", "snapshot", "timestamp")  # the root names their keys
_PATHS = {"engines": ["engines/*/*", "client/*"], "rollouts": ["channels/*/*", "settings/*"]}


class ReleaseMetadata:
    """The metadata in force, to be changed and committed."""

    def __init__(
        self,
        *,
        root: Metadata[Root],
        timestamp: Metadata[Timestamp],
        snapshot: Metadata[Snapshot],
        targets: Metadata[Targets],
        engines: Metadata[Targets],
        rollouts: Metadata[Targets],
    ) -> None:
        self.root = root
        self.timestamp = timestamp
        self.snapshot = snapshot
        self.targets = targets
        self.engines = engines
        self.rollouts = rollouts

    @staticmethod
    def empty(root: Metadata[Root], keys: Mapping[str, Key], now: datetime) -> ReleaseMetadata:
        """A repository with its delegations to `keys` and no targets; its first commit makes version 2 of each."""
        delegations = Delegations(
            keys={key.keyid: key for key in keys.values()},
            roles={
                role: DelegatedRole(role, [key.keyid], 1, terminating=True, paths=list(_PATHS[role]))
                for role, key in keys.items()
            },
        )
        return ReleaseMetadata(
            root=root,
            timestamp=Metadata(Timestamp(version=1, expires=now)),
            snapshot=Metadata(Snapshot(version=1, expires=now, meta={})),
            targets=Metadata(Targets(version=1, expires=now, delegations=delegations)),
            engines=Metadata(Targets(version=1, expires=now)),
            rollouts=Metadata(Targets(version=1, expires=now)),
        )

    def of(self, role: str) -> Metadata[Targets]:
        """The targets metadata of a role."""
        return {"targets": self.targets, "engines": self.engines, "rollouts": self.rollouts}[role]

    def keys_of(self, role: str) -> Sequence[Key]:
        """The public keys in force for a role, by the root or by the delegation."""
        delegator: Root | Targets = self.root.signed if role in TOP_ROLES else self.targets.signed
        named = delegator.get_delegated_role(role)
        return [delegator.get_key(keyid) for keyid in named.keyids]

    def outdated(self) -> Sequence[str]:
        """Delegated roles whose signed paths are not those of this version of the software."""
        return [role for role, paths in _PATHS.items() if sorted(self._delegated(role).paths or []) != sorted(paths)]

    def update_paths(self) -> None:
        """Delegate the paths of this version; `targets` has to sign it."""
        for role, paths in _PATHS.items():
            self._delegated(role).paths = list(paths)

    def allows(self, role: str, path: str) -> bool:
        """Whether a device would take a target of this path from a delegated role."""
        return self._delegated(role).is_delegated_path(path)

    def _delegated(self, role: str) -> DelegatedRole:
        delegations = self.targets.signed.delegations
        if delegations is None or delegations.roles is None or role not in delegations.roles:
            raise BadRelease(
                f"the targets metadata in force delegates nothing to {role!r}: it is not one that Andon made; restore "
                "releases/metadata from your backup"
            )
        return delegations.roles[role]


def load_metadata(bucket: Bucket, root: Metadata[Root]) -> ReleaseMetadata:
    """Read the metadata in force and verify it down from the root.

    Raises:
        BadRelease: Something is missing or not signed by the key it should be.
    """
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
    return ReleaseMetadata(
        root=root, timestamp=timestamp, snapshot=snapshot, targets=targets, engines=engines, rollouts=rollouts
    )


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
