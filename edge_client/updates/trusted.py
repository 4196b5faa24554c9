"""What the cloud signed, as far as this device believes it.

python-tuf verifies; this module adds what it leaves to its users:

1. Metadata comes through the `Bucket` seam, so that a USB stick works as the network does.
2. The versions of accepted metadata are floors in the updater's database. A floor belongs to the keys that signed, so
   that a key rotation also undoes what a thief raised. Below a floor: refused as a replay, even if every metadata
   file was lost.
3. The time that expiry is judged by is max(clock, last signed issue time, build date): a clock at 1970 does not open
   the way to old metadata. A clock far ahead makes everything look expired; then nothing changes until it is right.
4. Metadata is synced to disk after a refresh.
5. A release counts only if the channel (signed by `rollouts`) and the engine's entry (signed by `engines`) agree on
   digest and length, and the channel is the one that was asked for.
6. Being offline is normal: `Unavailable` (or `Refused`), and nothing changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]  # re-exported there without saying so
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig  # type: ignore[attr-defined]  # likewise

from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket
from edge_client.contract.build_date import BUILT_AT
from edge_client.contract.credentials import Offer, credentials_target
from edge_client.contract.errors import AndonError, BadRelease, BucketError, NotFound, Refused, Unavailable
from edge_client.contract.releases import METADATA_PREFIX, TARGETS_PREFIX, Channel, channel_target, settings_target
from edge_client.contract.settings import DeviceSettings
from edge_client.updates.slots import open_plain_folder, sync_tree
from edge_client.updates.store import UpdateStore

ISSUED_AT = "x-andon-issued-at"  # in the timestamp metadata
_MAX_METADATA_BYTES = 5_000_000
_MAX_DOCUMENT_BYTES = 1_000_000  # channel, settings
_MAX_SELFTEST_BYTES = 64 * 1024 * 1024
_DELEGATED = ("engines", "rollouts")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile:
    """A target as signed."""

    path: str
    sha256: str
    length: int

    @property
    def key(self) -> str:
        """Where the bucket keeps it."""
        folder, _, name = self.path.rpartition("/")
        return f"{TARGETS_PREFIX}{folder}/{self.sha256}.{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An engine that both roles name for this device."""

    channel: Channel
    engine: SignedFile
    selftest: SignedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The result of a refresh.

    Attributes:
        release: What the channel names; None when the channel does not exist yet.
        settings: Signed settings for this device, or for all; None when there are none.
        versions: Accepted metadata versions by role.
        problems: What was refused without touching the rest.
        release_refused: Why the channel's release can't be accepted, or "".
        offer: What the cloud offers this device alone: new credentials, a new key; None when nothing.
    """

    release: Release | None
    settings: DeviceSettings | None
    versions: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[str] = ()
    release_refused: str = ""
    offer: Offer | None = None


class TrustedMetadata:
    """Refreshes and reads the signed metadata.

    Args:
        folder: For metadata files; they are a cache, the floors are in `store`.
        root: The first root's bytes, from the device's bundle.
        store: Keeps floors and the last signed time.
        clock: The device's clock.
        built_at: Build date of the client.
    """

    def __init__(
        self, folder: Path, root: bytes, store: UpdateStore, clock: Clock, *, built_at: datetime = BUILT_AT
    ) -> None:
        self._folder = folder
        self._root = root
        self._store = store
        self._clock = clock
        self._built_at = built_at

    def refresh(self, bucket: Bucket, *, inspection: str, channel: str, device: str) -> Trusted:
        """Fetch and verify.

        Raises:
            Unavailable: The bucket can't be reached or holds no releases yet.
            Refused: The bucket refuses this device.
            BadRelease: What the bucket holds is not acceptable: not signed, replayed, expired, too large.
            OSError: The disk failed.
        """
        os.close(open_plain_folder(self._folder))
        for leftover in self._folder.glob("tmp*"):  # python-tuf's own, after a crash
            leftover.unlink(missing_ok=True)
        try:
            updater = self._begin(bucket)
            updater.refresh()
            self._check_floors(updater)
            return self._read(updater, bucket, inspection, channel, device)
        except tuf_errors.ExpiredMetadataError as error:
            raise BadRelease(self._expired(error)) from error
        except (tuf_errors.BadVersionNumberError, tuf_errors.EqualVersionNumberError) as error:
            raise BadRelease(
                f"release metadata is older than what this device has seen: {error}; refused as a replay"
            ) from error
        except tuf_errors.RepositoryError as error:
            raise BadRelease(f"release metadata does not verify: {error}; nothing is changed") from error
        except tuf_errors.DownloadLengthMismatchError as error:
            raise BadRelease(f"release metadata is larger than allowed: {error}") from error
        except tuf_errors.DownloadHTTPError as error:
            raise (Refused if error.status_code == 403 else Unavailable)(_why(error)) from error
        except tuf_errors.DownloadError as error:
            raise Unavailable(f"releases cannot be reached: {_why(error)}") from error
        finally:
            sync_tree(self._folder)

    def _begin(self, bucket: Bucket) -> Updater:
        updater = Updater(
            str(self._folder),
            "bucket://metadata/",
            fetcher=_BucketFetcher(bucket),
            config=UpdaterConfig(max_root_rotations=64, max_delegations=4),
            bootstrap=self._root,
        )
        # python-tuf has no seam for the clock; this is the field its own tests set
        trusted = updater._trusted_set
        if not isinstance(trusted.reference_time, datetime):
            raise TypeError("this version of python-tuf keeps its reference time elsewhere: pin the tested version")
        trusted.reference_time = self._reference_time(_fingerprint(trusted.root.roles["timestamp"].keyids))
        return updater

    def _reference_time(self, keys: str) -> datetime:
        """Rule 3."""
        signed = self._store.signed_time(keys)
        return max(self._clock.now(), self._built_at, signed or self._built_at)

    def _check_floors(self, updater: Updater) -> None:
        """Rule 2, for every role that is loaded; then raise the floors and the signed time."""
        trusted = updater._trusted_set
        top = {role: trusted.root.roles[role].keyids for role in ("root", "timestamp", "snapshot", "targets")}
        delegated = trusted.targets.delegations.roles if trusted.targets.delegations else None
        loaded = {role: trusted[role].version for role in (*top, *_DELEGATED) if trusted.get(role) is not None}
        keys = top | {role: (delegated or {})[role].keyids for role in _DELEGATED if role in loaded}
        found = {(role, _fingerprint(keys[role])): version for role, version in loaded.items()}
        for (role, fingerprint), version in found.items():
            floor = self._store.floor(role, fingerprint)
            if version < floor:
                raise BadRelease(
                    f"{role} metadata has version {version}, but this device has accepted version {floor}: "
                    "refused as a replay"
                )
        self._store.raise_floors(found)
        issued = trusted.timestamp.unrecognized_fields.get(ISSUED_AT)
        if isinstance(issued, str):
            try:
                at = datetime.fromisoformat(issued)
            except ValueError:
                return
            if at.tzinfo is not None:
                # never beyond its own expiry: a signed time can't outlive what it dates
                self._store.raise_signed_time(_fingerprint(top["timestamp"]), min(at, trusted.timestamp.expires))

    def _read(self, updater: Updater, bucket: Bucket, inspection: str, channel: str, device: str) -> Trusted:
        problems: list[str] = []
        release, refused = None, ""
        document = updater.get_targetinfo(channel_target(inspection, channel))
        self._check_floors(updater)
        if document is not None:
            try:
                release = self._release(updater, bucket, document, inspection, channel)
            except BucketError:
                raise
            except AndonError as error:
                refused = str(error)
        settings = self._settings(updater, bucket, device, problems)
        offer = self._offer(updater, bucket, device, problems)
        self._check_floors(updater)
        trusted = updater._trusted_set
        roles = ("root", "timestamp", "snapshot", "targets", *_DELEGATED)
        versions = {role: int(trusted[role].version) for role in roles if trusted.get(role) is not None}
        return Trusted(
            release=release,
            settings=settings,
            versions=versions,
            problems=tuple(problems),
            release_refused=refused,
            offer=offer,
        )

    def _release(
        self, updater: Updater, bucket: Bucket, document: TargetFile, inspection: str, channel: str
    ) -> Release:
        """Rule 5."""
        named = Channel.from_json(_fetch(bucket, _signed_file(document), _MAX_DOCUMENT_BYTES))
        if (named.inspection, named.channel) != (inspection, channel):
            raise BadRelease(
                f"channel document is for {named.inspection!r}, channel {named.channel!r}: this device "
                f"follows {channel!r} of "
                f"{inspection!r}; refused"
            )
        files = {}
        for path in (named.engine_path, named.selftest_path):
            target = updater.get_targetinfo(path)
            if target is None:
                raise BadRelease(
                    f"channel {channel!r} names {path!r}, which the `engines` key has not approved: refused; "
                    "approve it first"
                )
            files[path] = _signed_file(target)
        self._check_floors(updater)
        engine = files[named.engine_path]
        if (engine.sha256, engine.length) != (named.engine_sha256, named.engine_bytes):
            raise BadRelease(
                f"channel {channel!r} names digest {named.engine_sha256[:16]}… of {named.engine_bytes} bytes for "
                f"{named.engine_path!r}, approved is {engine.sha256[:16]}… of {engine.length}: refused"
            )
        return Release(channel=named, engine=engine, selftest=files[named.selftest_path])

    def _settings(self, updater: Updater, bucket: Bucket, device: str, problems: list[str]) -> DeviceSettings | None:
        for name in (device, "default"):
            target = updater.get_targetinfo(settings_target(name))
            if target is None:
                continue
            try:
                return DeviceSettings.from_json(_fetch(bucket, _signed_file(target), _MAX_DOCUMENT_BYTES))
            except BucketError:
                raise
            except AndonError as error:
                problems.append(f"settings {name!r} are not taken over: {error}")
                return None
        return None

    def _offer(self, updater: Updater, bucket: Bucket, device: str, problems: list[str]) -> Offer | None:
        target = updater.get_targetinfo(credentials_target(device))
        if target is None:
            return None
        try:
            facts = target.unrecognized_fields.get("custom")
            return Offer(
                sealed=_fetch(bucket, _signed_file(target), _MAX_DOCUMENT_BYTES),
                facts=dict(facts) if isinstance(facts, dict) else {},
            )
        except BucketError:
            raise
        except AndonError as error:
            problems.append(f"new credentials are not taken over: {error}")
            return None

    def _expired(self, error: Exception) -> str:
        now = self._clock.now()
        return (
            f"release metadata has expired: {error}; this device's clock says {now:%Y-%m-%d %H:%M} UTC. If "
            "that is right, the cloud "
            "has not renewed its releases; else set the clock. The engine in service goes on"
        )


def fetch_selftest(bucket: Bucket, release: Release) -> bytes:
    """Fetch a release's self-test into memory and check it.

    Raises:
        BadRelease: Too large, or not what was signed.
        BucketError: As the bucket says.
    """
    return _fetch(bucket, release.selftest, _MAX_SELFTEST_BYTES)


class _BucketFetcher(FetcherInterface):
    """python-tuf's way out, through a bucket (rule 1)."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def _fetch(self, url: str) -> Iterator[bytes]:
        key = METADATA_PREFIX + url.removeprefix("bucket://metadata/")
        try:
            yield self._bucket.get(key, max_bytes=_MAX_METADATA_BYTES)
        except NotFound as error:
            raise tuf_errors.DownloadHTTPError(str(error), 404) from error
        except Refused as error:
            raise tuf_errors.DownloadHTTPError(str(error), 403) from error
        except Unavailable as error:
            raise tuf_errors.DownloadError(str(error)) from error
        except BucketError as error:
            raise tuf_errors.DownloadLengthMismatchError(str(error)) from error


def _fetch(bucket: Bucket, file: SignedFile, most: int) -> bytes:
    if file.length > most:
        raise BadRelease(f"target {file.path!r} has {file.length} bytes: at most {most} are fetched")
    data = bucket.get(file.key, max_bytes=most)
    if len(data) != file.length or hashlib.sha256(data).hexdigest() != file.sha256:
        raise BadRelease(f"target {file.path!r} in the bucket is not what was signed: it was damaged or tampered with")
    return data


def _signed_file(target: Any) -> SignedFile:
    digest = target.hashes.get("sha256")
    if digest is None:
        raise BadRelease(f"target {target.path!r} is signed without a SHA-256 digest: refused")
    return SignedFile(path=target.path, sha256=digest, length=target.length)


def _fingerprint(keyids: Sequence[str]) -> str:
    return hashlib.sha256(",".join(sorted(keyids)).encode()).hexdigest()[:32]


def _why(error: BaseException) -> str:
    return str(error.__cause__ or error)
