"""Small signed files and metadata out of the bucket, never more of them than was signed or is allowed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from tuf.api import exceptions as tuf_errors
from tuf.ngclient import FetcherInterface  # type: ignore[attr-defined]  # re-exported there without saying so

from edge_client.contract.bucket import Bucket
from edge_client.contract.chunks import MAX_LIST_BYTES, ChunkList
from edge_client.contract.errors import BadRelease, BucketError, NotFound, Refused, Unavailable
from edge_client.contract.releases import MAX_METADATA_BYTES, METADATA_PREFIX
from edge_client.updates.delta import Piece
from edge_client.updates.signed import Release, SignedFile

_MAX_SELFTEST_BYTES = 64 * 1024 * 1024


def fetch_selftest(bucket: Bucket, release: Release, plan: Sequence[Piece] = ()) -> bytes:
    """Fetch a release's self-test into memory and check it.

    Args:
        bucket: Where it lies.
        release: Names it.
        plan: Which parts of it are held already; what comes of them counts only with the signed digest.

    Raises:
        BadRelease: Too large, or not what was signed.
        BucketError: As the bucket says.
    """
    file = release.selftest
    if plan and file.length <= _MAX_SELFTEST_BYTES:
        data = b"".join(
            piece.held if piece.held is not None else bucket.get_range(file.key, piece.start, piece.end - piece.start)
            for piece in plan
        )
        if len(data) == file.length and hashlib.sha256(data).hexdigest() == file.sha256:
            return data
    return fetch_target(bucket, file)


def fetch_chunks(bucket: Bucket, listed: SignedFile) -> ChunkList:
    """Fetch the list of an engine's chunks and check it.

    Raises:
        BadRelease: Too large, not what was signed, or no list.
        BucketError: As the bucket says.
    """
    return ChunkList.from_json(fetch_signed(bucket, listed, MAX_LIST_BYTES))


def fetch_target(bucket: Bucket, file: SignedFile) -> bytes:
    """Fetch a small signed file, such as a self-test, into memory and check it.

    Raises:
        BadRelease: Too large, or not what was signed.
        BucketError: As the bucket says.
    """
    return fetch_signed(bucket, file, _MAX_SELFTEST_BYTES)


class BucketFetcher(FetcherInterface):
    """python-tuf's way out, through a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def _fetch(self, url: str) -> Iterator[bytes]:
        key = METADATA_PREFIX + url.removeprefix("bucket://metadata/")
        try:
            yield self._bucket.get(key, max_bytes=MAX_METADATA_BYTES)
        except NotFound as error:
            raise tuf_errors.DownloadHTTPError(str(error), 404) from error
        except Refused as error:
            raise tuf_errors.DownloadHTTPError(str(error), 403) from error
        except Unavailable as error:
            raise tuf_errors.DownloadError(str(error)) from error
        except BucketError as error:
            raise tuf_errors.DownloadLengthMismatchError(str(error)) from error


def fetch_signed(bucket: Bucket, file: SignedFile, most: int) -> bytes:
    """Fetch a signed file of at most so many bytes into memory and check it.

    Raises:
        BadRelease: Too large, or not what was signed.
        BucketError: As the bucket says.
    """
    if file.length > most:
        raise BadRelease(f"target {file.path!r} has {file.length} bytes: at most {most} are fetched")
    data = bucket.get(file.key, max_bytes=most)
    if len(data) != file.length or hashlib.sha256(data).hexdigest() != file.sha256:
        raise BadRelease(f"target {file.path!r} in the bucket is not what was signed: it was damaged or tampered with")
    return data
