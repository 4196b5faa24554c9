"""The bucket: whether it is reached, and whether the credentials allow what a device needs and no more."""

from collections.abc import Iterator

from edge_client.config import Config
from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.errors import BucketError, Refused
from edge_client.doctor.finding import Finding, ok, problem, warning

_ENROL = "ask whether the device was revoked; else enrol it again (`andon enroll`)"


def probe_key(device: str) -> str:
    """The one object that the examination writes, over itself each time; ingest reads no such name."""
    return f"fleet/{device}/doctor"


def check_bucket(config: Config, bucket: Bucket | None) -> Iterator[Finding]:
    """Put a small object where the device may, and try to list, which it must not.

    Args:
        config: The device's configuration.
        bucket: The bucket that it names.
    """
    if bucket is None:
        yield warning(
            "bucket",
            "no [bucket] table: samples stay here",
            "carry them out with `andon-edge export`, or add the table",
        )
        return
    try:
        bucket.put(probe_key(config.device.name), b"written by andon-edge doctor\n", content_type="text/plain")
    except Refused as error:
        yield problem("bucket", f"reached, but it takes nothing from this device: {error}", _ENROL)
        return
    except BucketError as error:
        where = config.bucket.endpoint_url if config.bucket is not None else None
        yield problem(
            "bucket",
            f"not reached: {error}",
            f"check network, DNS, proxy and firewall towards {where or 'the bucket'}; samples are kept meanwhile",
        )
        return
    if isinstance(bucket, DirectoryBucket):
        yield ok("bucket", f"the folder {bucket.path} can be written")
        return
    yield _too_many_rights(config, bucket) or ok("bucket", "reached; it takes what this device puts, and no listing")


def _too_many_rights(config: Config, bucket: Bucket) -> Finding | None:
    try:
        next(iter(bucket.list(f"fleet/{config.device.name}/")), None)
    except BucketError:
        return None
    return warning(
        "bucket",
        "reached; these credentials may also list it, which a device must not: whoever takes the device sees more than "
        "its own",
        "enrol it again, or give the account the policy that enrolment makes (put below its own inbox/ and fleet/, get "
        "below releases/)",
    )
