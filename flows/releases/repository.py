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
7. An engine is inspected before it is signed: operators on the allow-list, bounded size, and its self-test really run.
8. A key that is not at hand is no fault (`KeyAway`): everything that needs it waits for its person, the rest goes on.
9. Keys change as `flows.releases.rotation` says; a change that was interrupted is finished by the next call.
10. Delegations that are older than this software are renewed as soon as the `targets` key is at hand; until then a path
   that they do not allow is refused here, since devices would not see it.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported there without saying so
    Metadata,
    Role,
    Root,
    TargetFile,
)

from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BadRelease
from edge_client.contract.private_files import replace_private
from edge_client.contract.releases import (
    METADATA_PREFIX,
    Channel,
    channel_target,
    engine_target,
    selftest_target,
    settings_target,
)
from edge_client.contract.settings import DeviceSettings
from flows.releases.commit import ONLINE_LIFE, ROOT_LIFE, sign_commit, sign_timestamp
from flows.releases.inspection import Inspect, inspect_engine
from flows.releases.journal import Journal
from flows.releases.keyring import KeyAway, KeyRing
from flows.releases.keys import create_keys, public_key_of
from flows.releases.metadata import (
    TOP_ROLES,
    ReleaseMetadata,
    load_metadata,
    stored_at,
    target_file,
    to_json,
)
from flows.releases.roots import Roots, root_key
from flows.releases.rotation import Vouches, rotate


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
        ring: Finds the signers; default: the files in `keys_dir`, asking nobody for a passphrase.
        inspect: Looks at an engine before it is signed (rule 7).
    """

    def __init__(
        self,
        bucket: Bucket,
        keys_dir: Path,
        clock: Clock,
        *,
        ring: KeyRing | None = None,
        inspect: Inspect = inspect_engine,
    ) -> None:
        self._bucket = bucket
        self._keys = Path(keys_dir)
        self._clock = clock
        self._ring = ring or KeyRing(self._keys)
        self._inspect = inspect
        self._roots = Roots(self._keys, bucket)
        self._journal = Journal(self._keys)

    def create(self) -> None:
        """Create the keys that are missing and, unless there is one, an empty repository."""
        with self._locked():
            create_keys(self._keys)
            if self._exists():
                state = self._load()
                if state.outdated() and self._ring.has("targets", state.keys_of("targets")):
                    state.update_paths()
                    self._commit(state, ["targets"])
                return
            anchor = self._roots.anchor
            root = anchor.read_bytes() if anchor.exists() else self._make_root()
            self._bucket.put(root_key(1), root)
            replace_private(anchor, root)
            keys = {role: public_key_of(self._keys, role) for role in ("engines", "rollouts")}
            state = ReleaseMetadata.empty(Metadata[Root].from_bytes(root), keys, self._now())
            self._commit(state, ["targets", "engines", "rollouts"])

    def publish_engine(
        self,
        inspection: str,
        engine_id: str,
        engine: bytes,
        selftest: bytes,
        custom: Mapping[str, Any] | None = None,
    ) -> str:
        """Approve an engine: sign its digest and that of its self-test with the `engines` key.

        Args:
            inspection: The inspection it is for; must be the one in its metadata.
            engine_id: Its id; must be the one in its metadata.
            engine: The ONNX file.
            selftest: What `SelfTest.pack` returned for it.
            custom: Facts to sign beside the digest (version, run, parity, ...).

        Returns:
            The engine's SHA-256.

        Raises:
            BadEngine: The file is no engine, of another inspection or id, or does not pass its self-test.
            BadRelease: The id names another file already, or the self-test can't be read.
            KeyAway: It waits for approval: the `engines` key is not at hand.
        """
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
            if not self._ring.has("engines", state.keys_of("engines")):
                raise KeyAway(
                    f"engine {engine_id!r} of {inspection!r} waits for approval: the key `engines` is a person's and "
                    f"not at hand; look at it and sign with `andon approve {inspection} "
                    f"{(custom or {}).get('version', '')}`"
                )
        self._inspect(inspection, engine_id, engine, selftest)  # takes a while: others may commit meanwhile
        with self._locked():
            state = self._load()
            for path, data in paths.items():
                self._put_target(files[path], data)
                state.engines.signed.targets[path] = files[path]
            self._commit(state, [*self._renewed(state), "engines"])
        return digest

    def approved(self, inspection: str) -> Mapping[str, TargetFile]:
        """What `engines` has signed for an inspection: target path -> file."""
        signed = self._load().engines.signed.targets
        return {path: file for path, file in signed.items() if path.startswith(f"engines/{inspection}/")}

    def set_channel(self, channel: Channel) -> None:
        """Name the engine that the devices on a channel should run (signed with `rollouts`).

        Raises:
            BadRelease: `engines` has not signed this engine, or signed another digest for its id.
        """
        with self._locked():
            state = self._load()
            signed = state.engines.signed.targets.get(channel.engine_path)
            if signed is None or channel.selftest_path not in state.engines.signed.targets:
                approved = [p for p in state.engines.signed.targets if p.startswith(f"engines/{channel.inspection}/")]
                raise BadRelease(
                    f"channel {channel.channel!r} of {channel.inspection!r} can't name "
                    f"{channel.engine_path!r}: it is not "
                    f"approved; approved are {sorted(p for p in approved if p.endswith('.onnx'))}"
                )
            if (signed.hashes["sha256"], signed.length) != (channel.engine_sha256, channel.engine_bytes):
                raise BadRelease(
                    f"channel {channel.channel!r} of {channel.inspection!r} names digest "
                    f"{channel.engine_sha256[:16]}… of "
                    f"{channel.engine_bytes} bytes, approved is {signed.hashes['sha256'][:16]}… of {signed.length}"
                )
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

    def put_document(self, path: str, data: bytes, facts: Mapping[str, str]) -> None:
        """Sign a document with `rollouts`, and facts beside its digest.

        Raises:
            BadRelease: The delegation does not allow such a path yet.
        """
        with self._locked():
            self._set_rollout(self._load(), path, data, facts)

    def state_facts(self, path: str, facts: Mapping[str, str]) -> None:
        """Sign other facts beside a document of `rollouts`; nothing where there is none."""
        with self._locked():
            state = self._load()
            file = state.rollouts.signed.targets.get(path)
            if file is None or file.unrecognized_fields.get("custom") == dict(facts):
                return
            file.unrecognized_fields["custom"] = dict(facts)
            self._commit(state, ["rollouts"])

    def remove_document(self, path: str) -> bool:
        """Sign no longer what `rollouts` signed under a path; tell whether there was anything."""
        with self._locked():
            state = self._load()
            if state.rollouts.signed.targets.pop(path, None) is None:
                return False
            self._commit(state, ["rollouts"])
            return True

    def facts_of(self, path: str) -> Mapping[str, str] | None:
        """The facts signed beside a document of `rollouts`; None where there is none."""
        file = self._load().rollouts.signed.targets.get(path)
        return None if file is None else dict(file.unrecognized_fields.get("custom") or {})

    def refresh_timestamp(self) -> None:
        """Prolong the online metadata: a new timestamp, and what lives less than half its life longer."""
        with self._locked():
            state = self._load()
            soon = self._now() + ONLINE_LIFE / 2
            aging = ["rollouts"] if state.rollouts.signed.expires < soon else []
            if aging or state.snapshot.signed.expires < soon:
                self._commit(state, aging)
            else:
                self._bucket.put(*sign_timestamp(state, self._signers(state), self._now()))

    def renew(self) -> Sequence[str]:
        """Sign anew what a person signs, before it ends, and bring the delegations up to date.

        Returns:
            The roles that were signed: those whose key is at hand, except the root (a rotation renews that one).
        """
        with self._locked():
            state = self._load()
            roles = [role for role in ("targets", "engines") if self._ring.has(role, state.keys_of(role))]
            if "targets" in roles:
                state.update_paths()
            if roles:
                self._commit(state, roles)
            return roles

    def replace_keys(self, new: Mapping[str, Sequence[Signer]], *, vouches: Vouches | None = None) -> None:
        """Change the keys of roles (rule 9).

        Args:
            new: Role -> its new signers; the first signs, others are spare. Their keys are stored safely already.
            vouches: Which targets of a rotated delegated role stay; None for all.

        Raises:
            KeyAway: A key that has to sign the change is not at hand.
        """
        with self._locked():
            state = self._load()
            signer = self._signers(state)
            puts = rotate(state, new, lambda role: signer(role)[0], self._now(), vouches=vouches)
            self._journal.write(puts)
            self._finish()

    def change_under_way(self) -> bool:
        """Whether a change of keys was written down and is not finished."""
        return self._journal.pending()

    def signer(self, role: str) -> Signer:
        """Return the signer of a role in force.

        Raises:
            KeyAway: It is not at hand.
        """
        return self._ring.signer(role, self._load().keys_of(role))

    def root_bytes(self) -> bytes:
        """Return the newest root, the trust anchor that goes into a device's bundle.

        Raises:
            BadRelease: There is no repository yet.
        """
        return self._roots.newest()

    def state(self) -> ReleaseMetadata:
        """Return the metadata in force, verified; for looking at."""
        return self._load()

    def key_at_hand(self, role: str, state: ReleaseMetadata | None = None) -> bool:
        """Whether the role could sign now."""
        return self._ring.has(role, (state or self._load()).keys_of(role))

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
        roles["root"] = state.root
        roles |= {role: state.of(role) for role in ("targets", "engines", "rollouts")}
        return {role: metadata.signed.expires for role, metadata in roles.items()}

    # --- reading ---------------------------------------------------------------------------------------------------

    def _exists(self) -> bool:
        return self._bucket.head(f"{METADATA_PREFIX}timestamp.json") is not None

    def _load(self) -> ReleaseMetadata:
        return load_metadata(self._bucket, Metadata[Root].from_bytes(self._roots.newest()))

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

    def _set_rollout(
        self, state: ReleaseMetadata, path: str, data: bytes, facts: Mapping[str, str] | None = None
    ) -> None:
        renewed = self._renewed(state)
        if not state.allows("rollouts", path):
            raise BadRelease(
                f"target {path!r} is not delegated to `rollouts`: the delegations were signed by an older version, and "
                "devices would not see it; renew them with the person's key `targets`: `andon keys renew --keys DIR`"
            )
        file = target_file(path, data, facts or {})
        known = state.rollouts.signed.targets.get(path)
        if known is not None and (known.hashes, known.unrecognized_fields) == (file.hashes, file.unrecognized_fields):
            return
        self._put_target(file, data)
        state.rollouts.signed.targets[path] = file
        self._commit(state, [*renewed, "rollouts"])

    def _renewed(self, state: ReleaseMetadata) -> list[str]:
        """Rule 10: the roles that have to be signed for it."""
        if not state.outdated() or not self._ring.has("targets", state.keys_of("targets")):
            return []
        state.update_paths()
        return ["targets"]

    def _put_target(self, file: TargetFile, data: bytes) -> None:
        self._bucket.put(stored_at(file), data)

    def _commit(self, state: ReleaseMetadata, changed: list[str]) -> None:
        """Sign and store what changed, then the snapshot, then the timestamp (rule 2)."""
        for key, data in sign_commit(state, changed, self._signers(state), self._now()):
            self._bucket.put(key, data)

    def _signers(self, state: ReleaseMetadata) -> Callable[[str], Sequence[Signer]]:
        return lambda role: [self._ring.signer(role, state.keys_of(role))]

    def _finish(self) -> None:
        """Rule 9."""
        for key, data in self._journal.finish(self._bucket):
            if key.endswith(".root.json"):
                self._roots.remember(data)
        self._journal.forget()

    def _make_root(self) -> bytes:
        keys = {role: public_key_of(self._keys, role) for role in TOP_ROLES}
        root = Metadata(
            Root(
                version=1,
                expires=self._now() + ROOT_LIFE,
                keys={key.keyid: key for key in keys.values()},
                roles={role: Role([key.keyid], 1) for role, key in keys.items()},
                consistent_snapshot=True,
            )
        )
        root.sign(self._ring.signer("root", [keys["root"]]))
        return to_json(root)

    def _now(self) -> datetime:
        return self._clock.now().astimezone(UTC).replace(microsecond=0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One publisher at a time on this machine."""
        self._keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._keys / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._finish()
            yield
