"""Where backups lie: a folder, or a bucket that is not the installation's own. And what is called how in it.

    andon-backup.json                what this is, and the recipient to which it is sealed
    identity.age                     the identity that opens it, sealed with a passphrase (not with `--recipient`)
    objects/<2 digits>/<sha256>      objects of the bucket, as they are there
    sealed/<sha256>                  parts of files of the home directory, sealed
    backups/<id>/manifest.json       written last: it makes the backup count
    progress/<number>.json           what an unfinished backup has copied

What is in the first three folders is never changed, only added or, when old backups are removed, taken away.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from edge_client.contract.bucket import Bucket, DirectoryBucket, ObjectInfo, S3Bucket, S3Settings
from edge_client.contract.errors import AndonError, ConfigError

FORMAT_KEY = "andon-backup.json"
IDENTITY_KEY = "identity.age"
OBJECTS, SEALED, BACKUPS, PROGRESS = "objects/", "sealed/", "backups/", "progress/"


class BackupError(AndonError):
    """A backup cannot be taken, verified or restored; the message says what to do."""


@dataclass(frozen=True, slots=True)
class PrefixBucket:
    """The part of a bucket below a prefix, as a bucket."""

    inner: Bucket
    prefix: str

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object."""
        self.inner.put(self.prefix + key, data, content_type=content_type)

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`."""
        return self.inner.get(self.prefix + key, max_bytes=max_bytes)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        return self.inner.get_range(self.prefix + key, start, length)

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None where there is none."""
        info = self.inner.head(self.prefix + key)
        return None if info is None else replace(info, key=key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`."""
        for info in self.inner.list(self.prefix + prefix):
            yield replace(info, key=info.key.removeprefix(self.prefix))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.inner.delete(self.prefix + key)


def object_key(sha256: str) -> str:
    """Where an object of this content lies."""
    return f"{OBJECTS}{sha256[:2]}/{sha256}"


def sealed_key(sha256: str) -> str:
    """Where a sealed part with this digest lies."""
    return f"{SEALED}{sha256}"


def manifest_key(backup_id: str) -> str:
    """Where the manifest of a backup lies."""
    return f"{BACKUPS}{backup_id}/manifest.json"


def open_store(
    where: str,
    *,
    endpoint_url: str | None = None,
    region: str = "us-east-1",
    ca_bundle: str | None = None,
    credentials: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Bucket:
    """Open a folder, or ``s3://bucket/prefix``.

    Args:
        where: As the person named it.
        endpoint_url: Of an S3 store that is not AWS.
        region: Of the bucket.
        ca_bundle: File of the certificates that it is checked with.
        credentials: TOML file with ``access_key_id`` and ``secret_access_key``; default: those of the environment.
        environ: For ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_ENDPOINT_URL``.

    Raises:
        ConfigError: It is neither, or there are no credentials.
    """
    if not where.startswith("s3://"):
        if "://" in where:
            raise ConfigError(f"{where!r} is no place for a backup: expected a folder or s3://BUCKET/PREFIX")
        return DirectoryBucket(Path(where).absolute())
    parts = urlsplit(where)
    if not parts.netloc:
        raise ConfigError(f"{where!r} names no bucket: expected s3://BUCKET/PREFIX")
    key_id, secret = _credentials(credentials, environ)
    settings = S3Settings(
        bucket=parts.netloc,
        endpoint_url=endpoint_url or environ.get("AWS_ENDPOINT_URL"),
        access_key_id=key_id,
        secret_access_key=secret,
        region=region,
        ca_bundle=ca_bundle,
    )
    prefix = parts.path.strip("/")
    bucket = S3Bucket.connect(settings)
    return PrefixBucket(bucket, f"{prefix}/") if prefix else bucket


def _credentials(path: Path | None, environ: Mapping[str, str]) -> tuple[str, str]:
    if path is not None:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
            return str(document["access_key_id"]), str(document["secret_access_key"])
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{path} cannot be read as credentials ({error!r}): expected access_key_id and secret_access_key in "
                "TOML"
            ) from error
    try:
        return environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]
    except KeyError as missing:
        raise ConfigError(
            f"the environment has no {missing}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the backup's "
            "bucket, "
            "or give --credentials FILE"
        ) from None
