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
   digest and length, and the channel is the one that was asked for. That holds for every file that this device may
   take: base or staged engine, and each of their variants.
6. Being offline is normal: `Unavailable` (or `Refused`), and nothing changes.
7. While the timestamp is the one that was verified last, what was found then holds (`unchanged`).
8. Engines and settings that need a newer client than this one are not taken; what the device has stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]  # re-exported there without saying so
from tuf.ngclient import Updater, UpdaterConfig  # type: ignore[attr-defined]  # likewise

from edge_client.clock import Clock
from edge_client.contract.bucket import Bucket, Fetched
from edge_client.contract.build_date import BUILT_AT
from edge_client.contract.chunks import chunks_path
from edge_client.contract.conditional import get_changed
from edge_client.contract.credentials import Offer, credentials_target
from edge_client.contract.errors import AndonError, BadRelease, BucketError, NotFound, Refused, Unavailable
from edge_client.contract.releases import Channel, channel_target
from edge_client.contract.shadow import Shadow, shadow_target
from edge_client.contract.software import SOFTWARE_TARGET, Software, version_key, wheel_target
from edge_client.contract.staging import DeviceFacts, as_channel, choice_for
from edge_client.settings_in_force import SignedDocuments
from edge_client.updates.fetching import BucketFetcher, fetch_signed
from edge_client.updates.signed import Release, ShadowOffer, SignedFile, SoftwareOffer, Trusted, signed_file
from edge_client.updates.signed_documents import fetch_documents, fetch_help
from edge_client.updates.slots import open_plain_folder, sync_tree
from edge_client.updates.store import UpdateStore
from edge_client.updates.unchanged import (
    FULL_SECONDS,
    MAX_TIMESTAMP_BYTES,
    TIMESTAMP_KEY,
    Documents,
    LastRefresh,
    RememberingBucket,
)
from edge_client.version import VERSION

ISSUED_AT = "x-andon-issued-at"  # in the timestamp metadata
_MAX_DOCUMENT_BYTES = 1_000_000  # channel, settings
_DELEGATED = ("engines", "rollouts")


class TrustedMetadata:
    """Refreshes and reads the signed metadata.

    Args:
        folder: For metadata files; they are a cache, the floors are in `store`.
        root: The first root's bytes, from the device's bundle.
        store: Keeps floors and the last signed time.
        clock: The device's clock.
        built_at: Build date of the client.
        client_version: Its version.
    """

    def __init__(
        self,
        folder: Path,
        root: bytes,
        store: UpdateStore,
        clock: Clock,
        *,
        built_at: datetime = BUILT_AT,
        client_version: str = VERSION,
    ) -> None:
        self._folder = folder
        self._root = root
        self._store = store
        self._clock = clock
        self._built_at = built_at
        self._last: LastRefresh[Trusted] | None = None
        self._documents = Documents()
        self._client_version = client_version
        self._needs: Software | None = None

    def refresh(
        self, bucket: Bucket, *, inspection: str, channel: str, facts: DeviceFacts, known: SignedDocuments
    ) -> Trusted:
        """Fetch and verify.

        Args:
            bucket: Where the cloud's files are.
            inspection: The inspection to look for.
            channel: The channel that the device follows.
            facts: What decides which of the channel's engines are for this device, and which settings.
            known: Settings and campaigns that were accepted before.

        Raises:
            Unavailable: The bucket can't be reached or holds no releases yet.
            Refused: The bucket refuses this device.
            BadRelease: What the bucket holds is not acceptable: not signed, replayed, expired, too large.
            OSError: The disk failed.
        """
        asked = (inspection, channel, facts)
        timestamp = self._timestamp(bucket, asked)
        if timestamp is None and self._last is not None:
            return self._last.found
        if timestamp is None:
            raise AssertionError("rule 7 broken: a timestamp is unchanged that was never seen")
        source, self._last = bucket, None
        bucket = RememberingBucket(source, timestamp, self._documents)
        os.close(open_plain_folder(self._folder))
        for leftover in self._folder.glob("tmp*"):  # python-tuf's own, after a crash
            leftover.unlink(missing_ok=True)
        try:
            updater = self._begin(bucket)
            updater.refresh()
            self._check_floors(updater)
            found = self._read(updater, bucket, inspection, channel, facts, known)
            self._remember(updater, source, asked, timestamp, found)
            return found
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

    def _timestamp(self, bucket: Bucket, asked: tuple[object, ...]) -> Fetched | None:
        """Rule 7: the timestamp, or None while it is the one of the last refresh."""
        tag = None
        if self._last is not None:
            now, monotonic = self._reference_time(self._last.keys), self._clock.monotonic()
            tag = self._last.tag_for(bucket, asked, now=now, monotonic=monotonic)
        try:
            return get_changed(bucket, TIMESTAMP_KEY, etag=tag, max_bytes=MAX_TIMESTAMP_BYTES)
        except Refused:
            raise
        except NotFound as error:
            raise Unavailable(str(error)) from error
        except Unavailable as error:
            raise Unavailable(f"releases cannot be reached: {error}") from error
        except BucketError as error:
            raise BadRelease(f"release metadata is larger than allowed: {error}") from error

    def _remember(
        self, updater: Updater, bucket: Bucket, asked: tuple[object, ...], timestamp: Fetched, found: Trusted
    ) -> None:
        if timestamp.etag is None or found.problems or found.release_refused:
            return
        trusted = updater._trusted_set
        roles = ("root", "timestamp", "snapshot", "targets", *_DELEGATED)
        self._last = LastRefresh(
            bucket=bucket,
            asked=asked,
            etag=timestamp.etag,
            keys=_fingerprint(trusted.root.roles["timestamp"].keyids),
            found=found,
            until=min(trusted[role].expires for role in roles if trusted.get(role) is not None),
            full_at=self._clock.monotonic() + FULL_SECONDS,
        )

    def _begin(self, bucket: Bucket) -> Updater:
        updater = Updater(
            str(self._folder),
            "bucket://metadata/",
            fetcher=BucketFetcher(bucket),
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

    def _read(
        self,
        updater: Updater,
        bucket: Bucket,
        inspection: str,
        channel: str,
        facts: DeviceFacts,
        known: SignedDocuments,
    ) -> Trusted:
        problems: list[str] = []
        releases: tuple[Release, ...] = ()
        refused = ""
        software = self._software(updater, bucket, facts, problems)
        document = updater.get_targetinfo(channel_target(inspection, channel))
        self._check_floors(updater)
        if document is not None:
            try:
                releases = self._releases(updater, bucket, document, inspection, channel, facts)
            except BucketError:
                raise
            except AndonError as error:
                refused = str(error)

        def fetch(path: str) -> bytes | None:
            return self._content(updater, bucket, path)

        def is_signed(path: str) -> bool:
            return updater.get_targetinfo(path) is not None

        signed = fetch_documents(is_signed, fetch, facts.device, known, problems)
        asked = fetch_help(fetch, facts.device, problems)
        shadow = self._shadow(updater, bucket, inspection, channel, problems)
        offer = self._offer(updater, bucket, facts.device, problems)
        self._check_floors(updater)
        trusted = updater._trusted_set
        roles = ("root", "timestamp", "snapshot", "targets", *_DELEGATED)
        versions = {role: int(trusted[role].version) for role in roles if trusted.get(role) is not None}
        return Trusted(
            releases=releases,
            documents=signed,
            help=asked,
            versions=versions,
            problems=tuple(problems),
            release_refused=refused,
            signed_at=self._store.signed_time(_fingerprint(trusted.root.roles["timestamp"].keyids)),
            software=software,
            shadow=shadow,
            offer=offer,
        )

    def _shadow(
        self, updater: Updater, bucket: Bucket, inspection: str, channel: str, problems: list[str]
    ) -> ShadowOffer | None:
        """Rule 5 for a challenger; what is wrong with it hurts nothing else."""
        target = updater.get_targetinfo(shadow_target(inspection, channel))
        if target is None:
            return None
        try:
            document = Shadow.from_json(fetch_signed(bucket, signed_file(target), _MAX_DOCUMENT_BYTES))
            if (document.inspection, document.channel) != (inspection, channel):
                raise BadRelease(f"it is for {document.inspection!r}, channel {document.channel!r}")
            named = document.engine
            self._check_needs(named.engine_path)
            engine, selftest = (self._approved(updater, path) for path in (named.engine_path, named.selftest_path))
            if (engine.sha256, engine.length) != (named.engine_sha256, named.engine_bytes):
                raise BadRelease(f"it names digest {named.engine_sha256[:16]}…, approved is {engine.sha256[:16]}…")
            return ShadowOffer(document=document, engine=engine, selftest=selftest)
        except BucketError:
            raise
        except AndonError as error:
            problems.append(f"the shadow of channel {channel!r} is not run: {error}")
            return None

    @staticmethod
    def _approved(updater: Updater, path: str) -> SignedFile:
        target = updater.get_targetinfo(path)
        if target is None:
            raise BadRelease(f"{path!r} is not approved by the `engines` key: refused")
        return signed_file(target)

    def _software(
        self, updater: Updater, bucket: Bucket, facts: DeviceFacts, problems: list[str]
    ) -> SoftwareOffer | None:
        """Rule 5 for the client's own software; what is wrong with it hurts neither engines nor settings."""
        self._needs = None
        target = updater.get_targetinfo(SOFTWARE_TARGET)
        if target is None:
            return None
        try:
            named = Software.from_json(fetch_signed(bucket, signed_file(target), _MAX_DOCUMENT_BYTES))
            self._needs = named
            release = named.release_for(facts)
            if release is None:
                return None
            files = []
            for wheel in release.wheels:
                approved = updater.get_targetinfo(wheel_target(wheel.name))
                if approved is None:
                    raise BadRelease(f"wheel {wheel.name!r} is not approved by the `engines` key: refused")
                signed = signed_file(approved)
                if (signed.sha256, signed.length) != (wheel.sha256, wheel.bytes):
                    raise BadRelease(
                        f"wheel {wheel.name!r} is named with digest {wheel.sha256[:16]}… of {wheel.bytes} bytes, "
                        f"approved is {signed.sha256[:16]}… of {signed.length}: refused"
                    )
                files.append(signed)
            return SoftwareOffer(release=release, files=tuple(files))
        except BucketError:
            raise
        except AndonError as error:
            problems.append(f"client software is not taken over: {error}")
            return None

    def _check_needs(self, path: str) -> None:
        """Rule 7."""
        needed = self._needs.needed_by(path) if self._needs is not None else ""
        if needed and version_key(self._client_version) < version_key(needed):
            raise BadRelease(
                f"target {path!r} needs client {needed}, this device runs {self._client_version}: it keeps what it "
                "has; upgrade the client first"
            )

    def _releases(
        self,
        updater: Updater,
        bucket: Bucket,
        document: TargetFile,
        inspection: str,
        channel: str,
        facts: DeviceFacts,
    ) -> tuple[Release, ...]:
        """Rule 5."""
        named = Channel.from_json(fetch_signed(bucket, signed_file(document), _MAX_DOCUMENT_BYTES))
        if (named.inspection, named.channel) != (inspection, channel):
            raise BadRelease(
                f"channel document is for {named.inspection!r}, channel {named.channel!r}: this device "
                f"follows {channel!r} of "
                f"{inspection!r}; refused"
            )
        choice = choice_for(named, facts)
        if not choice.engines:
            raise BadRelease(
                f"channel {channel!r} names no engine for the provider {facts.provider!r} that this device runs on: "
                "release a variant that any provider runs, or change [inspection] provider"
            )
        return tuple(self._release(updater, as_channel(named, choice, engine)) for engine in choice.engines)

    def _release(self, updater: Updater, named: Channel) -> Release:
        """Rule 5, for one file."""
        channel, files = named.channel, {}
        self._check_needs(named.engine_path)
        for path in (named.engine_path, named.selftest_path):
            target = updater.get_targetinfo(path)
            if target is None:
                raise BadRelease(
                    f"channel {channel!r} names {path!r}, which the `engines` key has not approved: refused; "
                    "approve it first"
                )
            files[path] = signed_file(target)
        self._check_floors(updater)
        engine = files[named.engine_path]
        if (engine.sha256, engine.length) != (named.engine_sha256, named.engine_bytes):
            raise BadRelease(
                f"channel {channel!r} names digest {named.engine_sha256[:16]}… of {named.engine_bytes} bytes for "
                f"{named.engine_path!r}, approved is {engine.sha256[:16]}… of {engine.length}: refused"
            )
        listed = updater.get_targetinfo(chunks_path(named.engine_path))
        return Release(
            channel=named,
            engine=engine,
            selftest=files[named.selftest_path],
            chunks=None if listed is None else signed_file(listed),
        )

    def _content(self, updater: Updater, bucket: Bucket, path: str) -> bytes | None:
        """Return a signed document; one that is known is not fetched again (`RememberingBucket`)."""
        target = updater.get_targetinfo(path)
        if target is None:
            return None
        self._check_needs(path)
        return fetch_signed(bucket, signed_file(target), _MAX_DOCUMENT_BYTES)

    def _offer(self, updater: Updater, bucket: Bucket, device: str, problems: list[str]) -> Offer | None:
        target = updater.get_targetinfo(credentials_target(device))
        if target is None:
            return None
        try:
            facts = target.unrecognized_fields.get("custom")
            return Offer(
                sealed=fetch_signed(bucket, signed_file(target), _MAX_DOCUMENT_BYTES),
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


def _fingerprint(keyids: Sequence[str]) -> str:
    return hashlib.sha256(",".join(sorted(keyids)).encode()).hexdigest()[:32]


def _why(error: BaseException) -> str:
    return str(error.__cause__ or error)
