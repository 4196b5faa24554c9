"""Releases: whether the device can see a new root, and whether what is signed is still in force.

python-tuf looks for the next root by asking for it, and takes any refusal as "there is none". A device whose account
may no longer read would so keep an old root for ever, in silence. Here roots that must be there are fetched, so that
a refusal shows.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Timestamp  # type: ignore[attr-defined]  # re-exported without saying so

from edge_client.clock import Clock
from edge_client.config import Config
from edge_client.contract.bucket import Bucket
from edge_client.contract.errors import BucketError, NotFound, Refused
from edge_client.contract.releases import MAX_METADATA_BYTES, METADATA_PREFIX
from edge_client.doctor.finding import Finding, ok, problem, warning

_MOST_ROOTS = 64
_SOON = {"root": timedelta(days=30), "timestamp": timedelta(days=7)}


def check_releases(config: Config, bucket: Bucket | None, clock: Clock) -> Iterator[Finding]:
    """Follow the chain of roots, and look at what is signed last.

    Args:
        config: The device's configuration.
        bucket: The bucket that it names.
        clock: Judges expiry.
    """
    if config.releases is None or bucket is None:
        yield warning(
            "releases",
            "no [releases] table, or no bucket: the engine is never updated",
            "enrol the device, or update it from a stick (`andon-edge update --from DIR`)",
        )
        return
    try:
        yield from _follow(config, bucket, clock)
    except NotFound as error:
        yield problem(
            "releases", f"the bucket has no releases: {error}", "release an engine first (`andon release`), then again"
        )
    except BucketError as error:
        yield problem("releases", f"not reached: {error}", "see the finding about the bucket")
    except (OSError, ValueError, RepositoryError) as error:
        yield problem("releases", f"they cannot be read: {error}", "enrol the device again; its root may be damaged")


def _follow(config: Config, bucket: Bucket, clock: Clock) -> Iterator[Finding]:
    assert config.releases is not None
    enrolled_bytes = config.releases.root.read_bytes()
    enrolled = Metadata[Root].from_bytes(enrolled_bytes)
    try:
        _get(bucket, "1.root.json")
        same = _get(bucket, f"{enrolled.signed.version}.root.json")
    except Refused as error:
        yield problem(
            "releases",
            f"the bucket refuses this device a root that is there: {error}. The updater takes that for 'no newer root' "
            "and keeps its old one in silence",
            "ask whether the device was revoked; its account must get below releases/",
        )
        return
    if same != enrolled_bytes:
        yield problem(
            "releases",
            f"the bucket's root {enrolled.signed.version} differs from {config.releases.root}: this device was "
            "enrolled in another stack",
            "enrol it again in this one",
        )
        return
    trusted = _trusted(config) or enrolled
    try:
        newest = _walk(bucket, trusted)
    except RepositoryError as error:
        yield problem(
            "releases",
            f"a newer root is not signed by the one that this device trusts ({error}): it is not followed",
            "ask who rotated the keys; if that was meant, enrol the device again",
        )
        return
    if newest.signed.version > trusted.signed.version:
        yield warning(
            "releases",
            f"this device trusts root {trusted.signed.version}, the bucket has {newest.signed.version}",
            "nothing if the client runs: it follows with its next look; else run `andon-edge update`",
        )
    yield _life("root", newest, clock.now(), "sign a new root (a person's key), and publish it")
    timestamp = Metadata[Timestamp].from_bytes(_get(bucket, "timestamp.json"))
    try:
        newest.signed.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)
    except RepositoryError as error:
        yield problem(
            "timestamp", f"it is not signed by the key that the root names: {error}", "ask who writes to releases/"
        )
        return
    yield _life(
        "timestamp",
        timestamp,
        clock.now(),
        "see that the cloud's release flow runs (`andon status`); the engine in service goes on meanwhile",
    )


def _walk(bucket: Bucket, trusted: "Metadata[Root]") -> "Metadata[Root]":
    newest = trusted
    for version in range(trusted.signed.version + 1, trusted.signed.version + 1 + _MOST_ROOTS):
        try:
            data = _get(bucket, f"{version}.root.json")
        except (NotFound, Refused):  # a store without list rights refuses what is not there
            break
        found = Metadata[Root].from_bytes(data)
        newest.signed.verify_delegate("root", found.signed_bytes, found.signatures)
        found.signed.verify_delegate("root", found.signed_bytes, found.signatures)
        newest = found
    return newest


def _trusted(config: Config) -> "Metadata[Root] | None":
    """Return the root that the updater keeps, if it has looked already."""
    path = config.device.state / "updates" / "metadata" / "root.json"
    return Metadata[Root].from_bytes(path.read_bytes()) if path.is_file() else None


def _life(name: str, metadata: "Metadata[Any]", now: datetime, remedy: str) -> Finding:
    expires: datetime = metadata.signed.expires
    told = f"version {metadata.signed.version}, expires {expires:%Y-%m-%d %H:%M} UTC"
    if now >= expires:
        return problem(name, f"{told}: expired, no release is taken", remedy)
    if now >= expires - _SOON[name]:
        return warning(name, f"{told}: soon", remedy)
    return ok(name, told)


def _get(bucket: Bucket, name: str) -> bytes:
    return bucket.get(METADATA_PREFIX + name, max_bytes=MAX_METADATA_BYTES)
