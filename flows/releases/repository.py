"""The signed release repository in the bucket (TUF, by python-tuf's metadata API).

    root (person)
      targets (person): only delegations
        engines (person)    engines/*/*, client/*       which files may ever run
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

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]  # re-exported there without saying so

from edge_client.contract.bucket import Bucket
from edge_client.contract.chunks import ChunkList, chunks_path
from edge_client.contract.errors import BadRelease
from edge_client.contract.releases import (
    Channel,
    NamedEngine,
    channel_target,
    engine_target,
    selftest_target,
    settings_target,
)
from edge_client.contract.settings import DeviceSettings
from edge_client.contract.software import wheel_target
from flows.releases.engine_keys import load_engine_keys, seal_targets
from flows.releases.inspection import Inspect, inspect_engine
from flows.releases.keyring import KeyAway, KeyRing
from flows.releases.metadata import ReleaseMetadata, stored_at, target_file
from flows.releases.signed import Clock, SignedRepository

_ONE_ENGINE = "an engine id names one file for ever; give the new engine its own id"


class ReleaseRepository(SignedRepository):
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
        lock: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(bucket, keys_dir, clock, ring=ring, lock=lock)
        self._inspect = inspect

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
            BadEngine: The file is no engine, of another inspection or id, or does not pass its self-test.
            BadRelease: The id names another file already, or the self-test can't be read.
            KeyAway: It waits for approval: the `engines` key is not at hand.
        """
        paths = {engine_target(inspection, engine_id): engine, selftest_target(inspection, engine_id): selftest}
        digest = hashlib.sha256(engine).hexdigest()
        with self._locked():
            state = self._load()
            files = {path: target_file(path, data, custom or {}) for path, data in paths.items()}
            _check_same(files, state.engines.signed.targets, _ONE_ENGINE)
            if all(path in state.engines.signed.targets for path in files):
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
            _check_same(files, state.engines.signed.targets, _ONE_ENGINE)
            listed = chunks_path(engine_target(inspection, engine_id))
            paths[listed] = ChunkList.of(engine, selftest).to_json()  # for devices that hold a similar engine
            files[listed] = target_file(listed, paths[listed], {})
            seal_targets(load_engine_keys(self._keys, inspection), files, paths)
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

    def publish_documents(self, documents: Mapping[str, bytes]) -> None:
        """Sign documents of the role `rollouts` at once: TUF target path → content. Devices see all of them or none.

        Raises:
            BadRelease: A path is not below ``settings/``.
        """
        for path in documents:
            if not path.startswith("settings/"):
                raise BadRelease(f"{path!r} is not below settings/: it cannot be published as a document")
        with self._locked():
            state = self._load()
            signed = state.rollouts.signed.targets
            files = {path: target_file(path, data, {}) for path, data in documents.items()}
            changed = [path for path, file in files.items() if path not in signed or signed[path].hashes != file.hashes]
            for path in changed:
                self._put_target(files[path], documents[path])
                signed[path] = files[path]
            if changed:
                self._commit(state, ["rollouts"])

    def publish_wheels(self, wheels: Mapping[str, bytes], customs: Mapping[str, Mapping[str, Any]]) -> None:
        """Approve wheels of the client's software: sign their digests with the `engines` key.

        Args:
            wheels: File name -> bytes.
            customs: File name -> facts to sign beside its digest.

        Raises:
            BadRelease: A name is no wheel's, or names another file already.
        """
        files = {
            wheel_target(name): target_file(wheel_target(name), data, customs.get(name, {}))
            for name, data in wheels.items()
        }
        with self._locked():
            state = self._load()
            signed = state.engines.signed.targets
            _check_same(files, signed, "a wheel's name is one file for ever; give it another version")
            if all(signed.get(path) == file for path, file in files.items()):
                return
            renewed = self._renewed(state)
            for name, data in wheels.items():
                path = wheel_target(name)
                _check_delegated(state, "engines", path)
                self._put_target(files[path], data)
                signed[path] = files[path]
            self._commit(state, [*renewed, "engines"])

    def wheels(self) -> dict[str, TargetFile]:
        """Return the approved wheels: file name -> what was signed of it."""
        signed = self._load().engines.signed.targets
        return {
            path.removeprefix("client/"): file for path, file in sorted(signed.items()) if path.startswith("client/")
        }

    def read_document(self, path: str) -> bytes | None:
        """Return a document that `rollouts` signed, or None."""
        return self._read_target(self._load(), path)

    def put_document(self, path: str, data: bytes, facts: Mapping[str, str] | None = None) -> None:
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

    # --- reading ---------------------------------------------------------------------------------------------------

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
        _check_delegated(state, "rollouts", path)
        file = target_file(path, data, facts or {})
        known = state.rollouts.signed.targets.get(path)
        if known is not None and (known.hashes, known.unrecognized_fields) == (file.hashes, file.unrecognized_fields):
            return
        self._put_target(file, data)
        state.rollouts.signed.targets[path] = file
        self._commit(state, [*renewed, "rollouts"])

    def _put_target(self, file: TargetFile, data: bytes) -> None:
        self._bucket.put(stored_at(file), data)


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


def _check_delegated(state: ReleaseMetadata, role: str, path: str) -> None:
    """Refuse to sign what no device would see (rule 10)."""
    if not state.allows(role, path):
        raise BadRelease(
            f"target {path!r} is not delegated to `{role}`: the delegations were signed by an older version, and "
            "devices would not see it; renew them with the person's key `targets`: `andon keys renew --keys DIR`"
        )


def _check_same(files: Mapping[str, TargetFile], signed: Mapping[str, TargetFile], rule: str) -> None:
    """What was signed once names one file for ever (rule 4); `rule` says so for its kind, and what to do."""
    for path, file in files.items():
        if path in signed and signed[path].hashes != file.hashes:
            raise BadRelease(
                f"target {path!r} is published already with digest {signed[path].hashes['sha256'][:16]}…, not "
                f"{file.hashes['sha256'][:16]}…: {rule}"
            )
