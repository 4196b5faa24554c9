"""Asking a bucket only for what is new: conditional reads, and listings by the page.

`S3Bucket` has both as single requests. Any other bucket (a folder, a stick, a wrapper round either) answers with what
every bucket can: it is read, and told from what is known by its digest.
"""

import hashlib
from itertools import islice
from typing import Protocol, runtime_checkable

from edge_client.contract.bucket import Bucket, Fetched, Page


@runtime_checkable
class Conditional(Protocol):
    """A bucket that can be asked for an object if it changed."""

    def get_changed(self, key: str, *, etag: str | None, max_bytes: int) -> Fetched | None:
        """Return an object and its tag, or None if it still has the tag `etag`."""


@runtime_checkable
class Paged(Protocol):
    """A bucket that lists from any key on."""

    def page(self, prefix: str, *, after: str, most: int = 1000) -> Page:
        """Return one page of a listing."""


def get_changed(bucket: Bucket, key: str, *, etag: str | None, max_bytes: int) -> Fetched | None:
    """Return an object and its tag, or None if it is the one that `etag` was given for.

    Args:
        bucket: Where it lies.
        key: Its key.
        etag: What came with it last time; None fetches it whatever it is.
        max_bytes: A larger one is refused.

    Raises:
        BucketError: As the bucket says; `NotFound` where there is none.
    """
    if isinstance(bucket, Conditional):
        return bucket.get_changed(key, etag=etag, max_bytes=max_bytes)
    data = bucket.get(key, max_bytes=max_bytes)
    digest = hashlib.sha256(data).hexdigest()
    return None if digest == etag else Fetched(data=data, etag=digest)


def page_of(bucket: Bucket, prefix: str, *, after: str = "", most: int = 1000) -> Page:
    """Return at most `most` objects under a prefix, in key order, from the key after `after` on.

    Raises:
        BucketError: As the bucket says.
    """
    if isinstance(bucket, Paged):
        return bucket.page(prefix, after=after, most=most)
    found = tuple(islice((info for info in bucket.list(prefix) if info.key > after), most + 1))
    return Page(infos=found[:most], more=len(found) > most)
