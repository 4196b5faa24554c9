"""The signed release repository in the bucket (TUF, by python-tuf's metadata API).

    root (person)
      targets (person): only delegations
        engines (person)    engines/*/*                 which files may ever run
        rollouts (online)   channels/*/*, settings/*    which of them should run where, and the devices' settings
      snapshot, timestamp (online, 30 days)

Rules:

1. A target's file is stored under its digest before any metadata names it; nothing is ever overwritten with other
   content that metadata in force names.
2. Order of a commit: targets, delegated metadata, snapshot, and last ``timestamp.json``. A crash before the last step
   leaves the old repository in force; the next commit writes the unused versions anew.
3. What is read back from the bucket is verified against the local root before anything is signed on top of it:
   whoever can write to the bucket can't have their targets signed.
4. Every call is idempotent: the same content again changes nothing. An engine id names one file for ever.
5. `rollouts` refuses to name an engine that `engines` has not signed; a device checks the same again.
6. The timestamp carries ``x-andon-issued-at``, a signed lower bound for the clocks of devices.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported there without saying so
    Metadata,
    MetaFile,
    Role,
    Root,
    TargetFile,
)

from edge_client.contract.bucket import Bucket
from edge_client.contract.chunks import ChunkList, chunks_path
from edge_client.contract.errors import BadEngine, BadRelease, NotFound
from edge_client.contract.onnx_check import check_onnx
from edge_client.contract.releases import (
    METADATA_PREFIX,
    Channel,
    NamedEngine,
    channel_target,
    engine_target,
    selftest_target,
    settings_target,
)
from edge_client.contract.selftest import SelfTest
from edge_client.contract.settings import DeviceSettings
from flows.releases.engine_keys import load_engine_keys, seal_targets
from flows.releases.keys import create_keys, public_key_of, signer_of
from flows.releases.metadata import (
    MAX_METADATA_BYTES,
    ReleaseMetadata,
    load_metadata,
    stored_at,
    target_file,
    to_json,
)

ISSUED_AT = "x-andon-issued-at"
ONLINE_LIFE = timedelta(days=30)  # an outage of the cloud shorter than this does not stop devices
PERSON_LIFE = timedelta(days=730)  # approving anything renews it; `andon doctor` warns before
ROOT_LIFE = timedelta(days=3650)


class Clock(Protocol):
    """Where the repository learns the time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""


class ReleaseRepository:
    """Publishes engines, channels and settings.

    Args:
        bucket: Where the repository lies, under ``releases/``.
        keys_dir: Folder of the roles' keys, and of ``root.json``, the local trust anchor.
        clock: Gives the time that is signed.
    """

    def __init__(self, bucket: Bucket, keys_dir: Path, clock: Clock) -> None:
        self._bucket = bucket
        self._keys = Path(keys_dir)
        self._clock = clock

    def create(self) -> None:
        """Create the keys that are missing and, unless there is one, an empty repository."""
        with self._locked():
            create_keys(self._keys)
            if self._exists():
                self._load()
                return
            anchor = self._keys / "root.json"
            root = anchor.read_bytes() if anchor.exists() else self._make_root()
            self._bucket.put(f"{METADATA_PREFIX}1.root.json", root)
            self._remember_root(root)
            state = ReleaseMetadata.empty(self._keys, self._now())
            self._commit(state, ["targets", "engines", "rollouts"])

    def publish_engine(
        self,
        inspection: str,
        engine_id: str,
        engine: bytes,
        selftest: bytes,
        custom: Mapping[str, Any] | None = None,
    ) -> str:
        """Approve an engine: sign its digest, its self-test's and the list of its chunks with the `engines` key.

        Args:
            inspection: The inspection it is for; must be the one in its metadata.
            engine_id: Its id; must be the one in its metadata.
            engine: The ONNX file.
            selftest: What `SelfTest.pack` returned for it.
            custom: Facts to sign beside the digest (version, run, parity, ...).

        Returns:
            The engine's SHA-256.

        Raises:
            BadEngine: The file is no engine, or of another inspection or id.
            BadRelease: The id names another file already, or the self-test can't be read.
        """
        found = check_onnx(engine).metadata
        if (found.inspection, found.engine_id) != (inspection, engine_id):
            raise BadEngine(
                f"engine says it is {found.engine_id!r} for {found.inspection!r}: it can't be published as "
                f"{engine_id!r} for "
                f"{inspection!r}"
            )
        SelfTest.unpack(selftest)
        paths = {engine_target(inspection, engine_id): engine, selftest_target(inspection, engine_id): selftest}
        digest = hashlib.sha256(engine).hexdigest()
        with self._locked():
            state = self._load()
            signed = state.engines.signed.targets
            files = {path: target_file(path, data, custom or {}) for path, data in paths.items()}
            for path, file in files.items():
                if path in signed and signed[path].hashes != file.hashes:
                    raise BadRelease(
                        f"target {path!r} is published already with digest {signed[path].hashes['sha256'][:16]}…, not "
                        f"{file.hashes['sha256'][:16]}…: an engine id names one file for ever; give the new "
                        "engine its own id"
                    )
            if all(path in signed for path in files):
                return digest
            listed = chunks_path(engine_target(inspection, engine_id))
            paths[listed] = ChunkList.of(engine, selftest).to_json()  # for devices that hold a similar engine
            files[listed] = target_file(listed, paths[listed], {})
            seal_targets(load_engine_keys(self._keys, inspection), files, paths)
            for path, data in paths.items():
                self._put_target(files[path], data)
                signed[path] = files[path]
            self._commit(state, ["engines"])
        return digest

    def set_channel(self, channel: Channel) -> None:
        """Name the engines that the devices on a channel should run (signed with `rollouts`).

        Raises:
            BadRelease: `engines` has not signed one of them, or signed another digest for its id.
        """
        with self._locked():
            state = self._load()
            for engine in channel.every_engine():
                _check_approved(state, channel, engine)
            path = channel_target(channel.inspection, channel.channel)
            now = self.read_channel(channel.inspection, channel.channel, _state=state)
            if now is not None and replace(now, issued_at=channel.issued_at) == channel:
                return
            self._set_rollout(state, path, channel.to_json())

    def read_channel(self, inspection: str, channel: str, *, _state: ReleaseMetadata | None = None) -> Channel | None:
        """Return what a channel names now, or None."""
        data = self._read_target(_state or self._load(), channel_target(inspection, channel))
        return None if data is None else Channel.from_json(data)

    def set_settings(self, name: str, settings: DeviceSettings) -> None:
        """Sign the settings of a device, or of all (``"default"``), with `rollouts`."""
        with self._locked():
            state = self._load()
            self._set_rollout(state, settings_target(name), settings.to_json())

    def read_settings(self, name: str) -> DeviceSettings | None:
        """Return the signed settings of a device (or ``"default"``), or None."""
        data = self._read_target(self._load(), settings_target(name))
        return None if data is None else DeviceSettings.from_json(data)

    def refresh_timestamp(self) -> None:
        """Prolong the online metadata: a new timestamp, and what lives less than half its life longer."""
        with self._locked():
            state = self._load()
            soon = self._now() + ONLINE_LIFE / 2
            aging = ["rollouts"] if state.rollouts.signed.expires < soon else []
            if aging or state.snapshot.signed.expires < soon:
                self._commit(state, aging)
            else:
                self._commit_timestamp(state)

    def root_bytes(self) -> bytes:
        """Return the first root, the trust anchor that goes into a device's bundle.

        Raises:
            BadRelease: There is no repository yet.
        """
        return self._root()

    def versions(self) -> dict[str, int]:
        """Return the metadata versions in force, by role."""
        state = self._load()
        return {
            "timestamp": state.timestamp.signed.version,
            "snapshot": state.snapshot.signed.version,
            **{role: state.of(role).signed.version for role in ("targets", "engines", "rollouts")},
        }

    def expiry(self) -> dict[str, datetime]:
        """Return when each role's metadata ends, by role."""
        state = self._load()
        roles: dict[str, Metadata[Any]] = {"timestamp": state.timestamp, "snapshot": state.snapshot}
        roles |= {role: state.of(role) for role in ("targets", "engines", "rollouts")}
        return {role: metadata.signed.expires for role, metadata in roles.items()}

    # --- reading ---------------------------------------------------------------------------------------------------

    def _exists(self) -> bool:
        return self._bucket.head(f"{METADATA_PREFIX}timestamp.json") is not None

    def _root(self) -> bytes:
        """Return the first root from beside the keys, else from the bucket if the root key signed it (rule 3)."""
        path = self._keys / "root.json"
        if path.exists():
            return path.read_bytes()
        try:
            data = self._bucket.get(f"{METADATA_PREFIX}1.root.json", max_bytes=MAX_METADATA_BYTES)
        except NotFound:
            raise BadRelease("the bucket holds no release repository yet: create it (`andon up` does)") from None
        try:
            root = Metadata[Root].from_bytes(data)
            public_key_of(self._keys, "root").verify_signature(next(iter(root.signatures.values())), root.signed_bytes)
        except Exception as error:
            raise BadRelease(
                f"1.root.json in the bucket is not signed by the root key in {self._keys} ({error}): the "
                "bucket belongs to "
                "another installation or was tampered with; restore keys/root.json from your backup"
            ) from error
        self._remember_root(data)
        return data

    def _remember_root(self, data: bytes) -> None:
        path = self._keys / "root.json"
        temporary = self._keys / ".root.json.new"
        temporary.write_bytes(data)
        temporary.replace(path)

    def _load(self) -> ReleaseMetadata:
        return load_metadata(self._bucket, self._root())

    def _read_target(self, state: ReleaseMetadata, path: str) -> bytes | None:
        file = state.rollouts.signed.targets.get(path)
        if file is None:
            return None
        data = self._bucket.get(stored_at(file), max_bytes=file.length)
        try:
            file.verify_length_and_hashes(data)
        except RepositoryError as error:
            raise BadRelease(f"target {path!r} in the bucket is not what was signed: {error}") from error
        return data

    # --- writing ---------------------------------------------------------------------------------------------------

    def _set_rollout(self, state: ReleaseMetadata, path: str, data: bytes) -> None:
        file = target_file(path, data, {})
        known = state.rollouts.signed.targets.get(path)
        if known is not None and known.hashes == file.hashes:
            return
        self._put_target(file, data)
        state.rollouts.signed.targets[path] = file
        self._commit(state, ["rollouts"])

    def _put_target(self, file: TargetFile, data: bytes) -> None:
        self._bucket.put(stored_at(file), data)

    def _commit(self, state: ReleaseMetadata, changed: list[str]) -> None:
        """Sign and store what changed, then the snapshot, then the timestamp (rule 2)."""
        now = self._now()
        for role in changed:
            metadata = state.of(role)
            metadata.signed.version += 1
            metadata.signed.expires = now + (ONLINE_LIFE if role == "rollouts" else PERSON_LIFE)
            data = self._put_metadata(role, metadata)
            state.snapshot.signed.meta[f"{role}.json"] = MetaFile.from_data(metadata.signed.version, data, ["sha256"])
        state.snapshot.signed.version += 1
        state.snapshot.signed.expires = now + ONLINE_LIFE
        data = self._put_metadata("snapshot", state.snapshot)
        state.timestamp.signed.snapshot_meta = MetaFile.from_data(state.snapshot.signed.version, data, ["sha256"])
        self._commit_timestamp(state)

    def _commit_timestamp(self, state: ReleaseMetadata) -> None:
        now = self._now()
        timestamp = state.timestamp
        timestamp.signed.version += 1
        timestamp.signed.expires = now + ONLINE_LIFE
        timestamp.signed.unrecognized_fields[ISSUED_AT] = now.isoformat()
        timestamp.sign(signer_of(self._keys, "timestamp"))
        self._bucket.put(f"{METADATA_PREFIX}timestamp.json", to_json(timestamp))

    def _put_metadata(self, role: str, metadata: Metadata[Any]) -> bytes:
        metadata.sign(signer_of(self._keys, role))
        data = to_json(metadata)
        self._bucket.put(f"{METADATA_PREFIX}{metadata.signed.version}.{role}.json", data)
        return data

    def _make_root(self) -> bytes:
        roles = ("root", "targets", "snapshot", "timestamp")
        keys = {role: public_key_of(self._keys, role) for role in roles}
        root = Metadata(
            Root(
                version=1,
                expires=self._now() + ROOT_LIFE,
                keys={key.keyid: key for key in keys.values()},
                roles={role: Role([key.keyid], 1) for role, key in keys.items()},
                consistent_snapshot=True,
            )
        )
        root.sign(signer_of(self._keys, "root"))
        return to_json(root)

    def _now(self) -> datetime:
        return self._clock.now().astimezone(UTC).replace(microsecond=0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One publisher at a time on this machine."""
        self._keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._keys / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _check_approved(state: ReleaseMetadata, channel: Channel, engine: NamedEngine) -> None:
    signed = state.engines.signed.targets.get(engine.engine_path)
    if signed is None or engine.selftest_path not in state.engines.signed.targets:
        approved = [p for p in state.engines.signed.targets if p.startswith(f"engines/{channel.inspection}/")]
        raise BadRelease(
            f"channel {channel.channel!r} of {channel.inspection!r} can't name {engine.engine_path!r}: it is not "
            f"approved; approved are {sorted(p for p in approved if p.endswith('.onnx'))}"
        )
    if (signed.hashes["sha256"], signed.length) != (engine.engine_sha256, engine.engine_bytes):
        raise BadRelease(
            f"channel {channel.channel!r} of {channel.inspection!r} names digest {engine.engine_sha256[:16]}… of "
            f"{engine.engine_bytes} bytes, approved is {signed.hashes['sha256'][:16]}… of {signed.length}"
        )
