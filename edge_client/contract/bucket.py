"""The bucket: the whole interface between edge and cloud, behind seven calls.

`S3Bucket` is the real one, through boto3. `DirectoryBucket` is a folder that behaves the same: a USB stick, or a test.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from edge_client.contract.errors import BucketError, NotFound, Refused, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a bucket tells of an object."""

    key: str
    bytes: int
    etag: str | None = None
    modified: datetime | None = None


class Bucket(Protocol):
    """Object storage. Every call raises `NotFound`, `Refused` or `Unavailable`, never a library's own error."""

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object; a repeated put replaces it."""

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """Where a bucket is and how to reach it."""

    bucket: str
    endpoint_url: str | None
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str = "us-east-1"
    ca_bundle: str | None = None
    addressing: str = "path"  # "virtual" for providers that demand it


class S3Bucket:
    """A bucket reached through boto3.

    Args:
        client: A boto3 S3 client.
        bucket: The bucket's name.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self.client = client
        self.name = bucket

    @classmethod
    def connect(
        cls, settings: S3Settings, *, connect_timeout: float = 5, read_timeout: float = 30, attempts: int = 3
    ) -> "S3Bucket":
        """Make a client with time-outs; nothing is sent yet.

        `when_required` checksums: chunked uploads with trailing checksums break Swift and other stores over TLS.
        """
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"max_attempts": attempts, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": settings.addressing},
            max_pool_connections=16,
        )
        session = boto3.session.Session(
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            region_name=settings.region,
        )
        client = session.client("s3", endpoint_url=settings.endpoint_url, config=config, verify=settings.ca_bundle)
        return cls(client, settings.bucket)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object; a repeated put replaces it."""
        self._call("put_object", key, Body=data, ContentType=content_type)

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`.

        Raises:
            BucketError: The object is larger.
        """
        answer = self._call("get_object", key)
        length = int(answer["ContentLength"])
        if length > max_bytes:
            answer["Body"].close()
            raise BucketError(f"object {key!r} has {length} bytes: at most {max_bytes} are read")
        return self._read(key, answer["Body"], length)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; empty past the end."""
        if length <= 0:
            return b""
        try:
            answer = self._call("get_object", key, Range=f"bytes={start}-{start + length - 1}")
        except _PastTheEnd:
            return b""
        return self._read(key, answer["Body"], length)

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None where there is none."""
        try:
            answer = self._call("head_object", key)
        except NotFound:
            return None
        return ObjectInfo(
            key=key, bytes=int(answer["ContentLength"]), etag=answer.get("ETag"), modified=answer.get("LastModified")
        )

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        token: dict[str, str] = {}
        while True:
            answer = self._call("list_objects_v2", None, Prefix=prefix, **token)
            for item in answer.get("Contents", []):
                yield ObjectInfo(
                    key=item["Key"], bytes=int(item["Size"]), etag=item.get("ETag"), modified=item.get("LastModified")
                )
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            self._call("delete_object", key)
        except NotFound:
            return

    def _call(self, operation: str, key: str | None, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        if key is not None:
            arguments["Key"] = key
        try:
            return getattr(self.client, operation)(Bucket=self.name, **arguments)
        except ClientError as error:
            raise _translate(error, self.name, key or arguments.get("Prefix", "")) from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(f"bucket {self.name!r} cannot be reached for {key!r}: {error}") from error

    def _read(self, key: str, body: Any, most: int) -> bytes:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        try:
            data: bytes = body.read(most)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise Unavailable(f"object {key!r} stopped in the middle: {error}") from error
        finally:
            body.close()
        return data


class _PastTheEnd(BucketError):
    """A range begins at or after the end of the object."""


def _translate(error: Any, bucket: str, key: str) -> BucketError:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "404"):
        return NotFound(f"bucket {bucket!r} has no object {key!r} ({code})")
    if status in (401, 403):
        return Refused(
            f"bucket {bucket!r} refuses {key!r} ({code}): the credentials lack this right or were revoked; "
            "ask for a new enrolment"
        )
    if status == 416:
        return _PastTheEnd(f"object {key!r} has no bytes in that range")
    return Unavailable(f"bucket {bucket!r} answered {status} {code} for {key!r}: try again later")


class DirectoryBucket:
    """A folder that behaves as a bucket. Writes are atomic and durable."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object; a repeated put replaces it."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".put-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error}") from error

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`.

        Raises:
            BucketError: The object is larger.
        """
        info = self.head(key)
        if info is None:
            raise NotFound(f"{self.path} has no object {key!r}")
        if info.bytes > max_bytes:
            raise BucketError(f"object {key!r} has {info.bytes} bytes: at most {max_bytes} are read")
        return self.get_range(key, 0, max_bytes)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; empty past the end."""
        try:
            with open(self._path(key), "rb") as file:
                file.seek(start)
                return file.read(length)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"{self.path} has no object {key!r}") from None
        except OSError as error:
            raise Unavailable(f"{self._path(key)} cannot be read: {error}") from error

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None where there is none."""
        path = self._path(key)
        try:
            if not path.is_file():
                return None
            stat = path.stat()
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error}") from error
        return ObjectInfo(key=key, bytes=stat.st_size, modified=datetime.fromtimestamp(stat.st_mtime, UTC))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        if not self.path.is_dir():
            return
        paths = (p for p in self.path.rglob("*") if p.is_file() and not p.name.startswith(".put-"))
        keys = sorted(p.relative_to(self.path).as_posix() for p in paths)
        for key in keys:
            if key.startswith(prefix) and (info := self.head(key)) is not None:
                yield info

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._path(key)} cannot be removed: {error}") from error

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") for part in parts):
            raise BucketError(f"key {key!r} is not allowed: expected names joined by '/'")
        return self.path.joinpath(*parts)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
