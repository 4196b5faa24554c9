"""The bucket: the whole interface between edge and cloud, behind seven calls.

`S3Bucket` is the real one, through boto3. `DirectoryBucket` is a folder that behaves the same: a USB stick, or a test.

A call to S3 never hangs: `pace` says when it is given up, whatever the server does. It is signed with the server's
time when the local clock is off (`server_time`).
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge_client.contract.bucket_errors import NotModified, PastTheEnd, translate, unreachable
from edge_client.contract.errors import BucketError, NotFound, Refused, Unavailable
from edge_client.contract.pace import Pace
from edge_client.contract.server_time import NEGLIGIBLE_SECONDS, ServerTime

if TYPE_CHECKING:  # they import botocore, which a device without a bucket need not load
    from edge_client.contract.paced_http import Throttle, Watch, Watchman

_LIST_BYTES = 1_000_000  # a page of a listing, about


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a bucket tells of an object."""

    key: str
    bytes: int
    etag: str | None = None
    modified: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An object as it is now; `etag` tells it from later ones, where the bucket gives one."""

    data: bytes
    etag: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a listing; `more` says that it does not end there."""

    infos: tuple[ObjectInfo, ...]
    more: bool


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
    """Where a bucket is and how to reach it. Without an account (both ""), boto3 finds the machine's own role."""

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
        client: A boto3 S3 client, as `connect` makes it.
        bucket: The bucket's name.
        watchman: Ends requests that stall.
        server_time: Learns the bucket's time.
        throttle: Called before pieces are sent; rests to keep to a bandwidth.
        credentials: botocore's, with which the client signs.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        *,
        watchman: "Watchman",
        server_time: ServerTime,
        throttle: "Throttle | None" = None,
        credentials: Any = None,
    ) -> None:
        self._credentials = credentials
        self.client = client
        self.name = bucket
        self.server_time = server_time
        self._watchman = watchman
        self._throttle = throttle

    @classmethod
    def connect(
        cls,
        settings: S3Settings,
        *,
        connect_timeout: float = 5,
        read_timeout: float = 30,
        attempts: int = 3,
        pace: Pace | None = None,
        server_time: ServerTime | None = None,
    ) -> "S3Bucket":
        """Make a client with time-outs; nothing is sent yet.

        `when_required` checksums: chunked uploads with trailing checksums break Swift and other stores over TLS.

        Args:
            settings: Where and who.
            connect_timeout: Seconds for a connection and for its TLS handshake.
            read_timeout: Seconds without noticeable progress, unless `pace` says otherwise.
            attempts: Tries of one call.
            pace: When a request is given up.
            server_time: The bucket's clock; a new one learns it from the first answer.
        """
        import boto3
        from botocore.config import Config

        from edge_client.contract.paced_http import PacedSession, Watchman
        from edge_client.contract.server_time_signing import sign_with_server_time

        pace = pace or Pace(stall_seconds=read_timeout)
        server_time = server_time or ServerTime()
        config = Config(
            connect_timeout=connect_timeout,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": settings.addressing},
            max_pool_connections=16,
        )
        session = boto3.session.Session(
            aws_access_key_id=settings.access_key_id or None,
            aws_secret_access_key=settings.secret_access_key or None,
            region_name=settings.region,
        )
        client = session.client("s3", endpoint_url=settings.endpoint_url, config=config, verify=settings.ca_bundle)
        paced = PacedSession.like(client, pace, connect_seconds=connect_timeout, ca_bundle=settings.ca_bundle)
        client.meta.events.register("before-send.s3", lambda request, **_: paced.send(request))
        credentials = session.get_credentials()
        sign_with_server_time(client, credentials, server_time)
        return cls(client, settings.bucket, watchman=Watchman(pace), server_time=server_time, credentials=credentials)

    @property
    def access_key_id(self) -> str:
        """The account that requests are signed with."""
        return str(self._credentials.access_key) if self._credentials is not None else ""

    def use(self, access_key_id: str, secret_access_key: str) -> None:
        """Sign with another account from the next request on, in every bucket that shares this client.

        A request signed in just this moment may be refused, as one is now and then; it is repeated like any other.
        """
        self._credentials.secret_key = secret_access_key
        self._credentials.access_key = access_key_id

    def throttled(self, throttle: "Throttle") -> "S3Bucket":
        """Return the same bucket, whose requests rest to keep to a bandwidth."""
        return S3Bucket(
            self.client,
            self.name,
            watchman=self._watchman,
            server_time=self.server_time,
            throttle=throttle,
            credentials=self._credentials,
        )

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store an object; a repeated put replaces it."""
        with self._watchman.request(len(data), self._throttle) as watch:
            self._call("put_object", key, watch, Body=data, ContentType=content_type)

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return an object of at most `max_bytes`.

        Raises:
            BucketError: The object is larger.
        """
        with self._watchman.request(max_bytes) as watch:
            return self._whole(key, self._call("get_object", key, watch), max_bytes, watch)

    def get_changed(self, key: str, *, etag: str | None, max_bytes: int) -> "Fetched | None":
        """Return an object and its tag, or None if it still has the tag `etag`."""
        condition = {} if etag is None else {"IfNoneMatch": etag}
        try:
            with self._watchman.request(max_bytes) as watch:
                answer = self._call("get_object", key, watch, **condition)
                return Fetched(data=self._whole(key, answer, max_bytes, watch), etag=answer.get("ETag"))
        except NotModified:
            return None

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; empty past the end."""
        if length <= 0:
            return b""
        with self._watchman.request(length) as watch:
            try:
                answer = self._call("get_object", key, watch, Range=f"bytes={start}-{start + length - 1}")
            except PastTheEnd:
                return b""
            return self._read(key, answer, length, watch)

    def head(self, key: str) -> ObjectInfo | None:
        """Tell about an object, or None where there is none."""
        try:
            with self._watchman.request(0) as watch:
                answer = self._call("head_object", key, watch)
        except NotFound:
            return None
        return ObjectInfo(
            key=key, bytes=int(answer["ContentLength"]), etag=answer.get("ETag"), modified=answer.get("LastModified")
        )

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        token: dict[str, str] = {}
        while True:
            with self._watchman.request(_LIST_BYTES) as watch:
                answer = self._call("list_objects_v2", None, watch, Prefix=prefix, **token)
            yield from map(_info, answer.get("Contents", []))
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def page(self, prefix: str, *, after: str, most: int = 1000) -> "Page":
        """Return one page of a listing: at most `most` objects whose key comes after the key `after`."""
        begin = {"StartAfter": after} if after else {}
        with self._watchman.request(_LIST_BYTES) as watch:
            answer = self._call("list_objects_v2", None, watch, Prefix=prefix, MaxKeys=most, **begin)
        return Page(
            infos=tuple(_info(item) for item in answer.get("Contents", [])), more=bool(answer.get("IsTruncated"))
        )

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            with self._watchman.request(0) as watch:
                self._call("delete_object", key, watch)
        except NotFound:
            return

    def _call(self, operation: str, key: str | None, watch: "Watch", **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        if key is not None:
            arguments["Key"] = key
        named = key or arguments.get("Prefix", "")
        again = True
        while True:
            signed_off = self.server_time.now() - datetime.now(UTC)
            try:
                return getattr(self.client, operation)(Bucket=self.name, **arguments)
            except ClientError as error:
                refusal = translate(error, self.name, named)
                learnt = self.server_time.now() - datetime.now(UTC)
                moved = abs((learnt - signed_off).total_seconds()) > NEGLIGIBLE_SECONDS
                if again and moved and isinstance(refusal, Refused):
                    again = False  # refused for its time: its answer told the right one
                    continue
                raise refusal from error
            except (BotoCoreError, OSError) as error:
                raise unreachable(error, self.name, self.client.meta.endpoint_url, named, watch.given_up) from error

    def _whole(self, key: str, answer: Any, max_bytes: int, watch: "Watch") -> bytes:
        length = _length_of(answer, key)
        if length > max_bytes:
            answer["Body"].close()
            raise BucketError(f"object {key!r} has {length} bytes: at most {max_bytes} are read")
        return self._read(key, answer, length, watch)

    def _read(self, key: str, answer: Any, most: int, watch: "Watch") -> bytes:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        body, length = answer["Body"], _length_of(answer, key)
        try:
            data: bytes = body.read(most)
        except (BotoCoreError, HTTPError, OSError) as error:
            raise Unavailable(f"object {key!r} stopped in the middle: {watch.given_up or error}") from error
        finally:
            body.close()
        if len(data) < min(most, length):
            raise Unavailable(
                f"object {key!r} stopped in the middle, after {len(data)} of {length} bytes"
                + (f": {watch.given_up}" if watch.given_up else "")
            )
        return data


def _length_of(answer: Any, key: str) -> int:
    """The length that an answer tells. One that tells none may never end: S3 always tells it."""
    if "ContentLength" not in answer:
        answer["Body"].close()
        raise Unavailable(
            f"object {key!r} comes without its length: that is no S3 store, or something between changes it"
        )
    return int(answer["ContentLength"])


def _info(item: Any) -> ObjectInfo:
    return ObjectInfo(
        key=item["Key"], bytes=int(item["Size"]), etag=item.get("ETag"), modified=item.get("LastModified")
    )


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
            found = path.stat()  # one call: another process may remove the file between two
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error}") from error
        if not stat.S_ISREG(found.st_mode):
            return None
        return ObjectInfo(key=key, bytes=found.st_size, modified=datetime.fromtimestamp(found.st_mtime, UTC))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in key order."""
        folder = self.path / prefix.rpartition("/")[0]
        if not folder.is_dir():
            return
        paths = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".put-"))
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
