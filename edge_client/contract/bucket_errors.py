"""What a bucket's answers and failures are called here: one of our own errors, with what a person can do."""

import socket
from datetime import UTC, datetime
from typing import Any

from edge_client.contract.errors import BucketError, NotFound, Refused, Unavailable, Untrusted


def unreachable(error: Exception, bucket: str, endpoint: str, key: str, given_up: str) -> Unavailable:
    """Say what kept a request from an answer, and what a person can do."""
    found = f"bucket {bucket!r} cannot be reached for {key!r}"
    cause = getattr(error, "kwargs", {}).get("error") or error  # botocore's own text names only the endpoint
    if given_up:
        return Unavailable(f"{found}: the request was given up: {given_up}; tried again later")
    if "CERTIFICATE_VERIFY_FAILED" in str(cause):
        return Untrusted(
            f"{found}: its certificate is not accepted ({cause}): this device's clock says "
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; set the clock if that is wrong, else check bucket.ca_bundle"
        )
    if type(cause).__name__ == "NameResolutionError" or isinstance(cause, socket.gaierror):
        return Unavailable(
            f"{found}: the name in {endpoint} cannot be resolved: check DNS and bucket.endpoint_url; tried again later"
        )
    return Unavailable(f"{found}: {cause}; check the network and bucket.endpoint_url ({endpoint}); tried again later")


class PastTheEnd(BucketError):
    """A range begins at or after the end of the object."""


class NotModified(BucketError):
    """A conditional request: the object is the one that is known."""


def translate(error: Any, bucket: str, key: str) -> BucketError:
    """Return our error for botocore's `ClientError`: what the bucket answered."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "404"):
        return NotFound(f"bucket {bucket!r} has no object {key!r} ({code})")
    if status in (401, 403):
        return Refused(
            f"bucket {bucket!r} refuses {key!r} ({code}): the credentials lack this right or were revoked; "
            "ask for a new enrolment"
        )
    if status == 304:
        return NotModified(f"object {key!r} is unchanged")
    if status == 416:
        return PastTheEnd(f"object {key!r} has no bytes in that range")
    return Unavailable(f"bucket {bucket!r} answered {status} {code} for {key!r}: try again later")
