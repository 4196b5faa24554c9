"""What a person is told about a wrong clock."""

from datetime import datetime, timedelta

from edge_client.contract.bucket import Bucket, S3Bucket

_TOLD_SECONDS = 300.0  # times of capture that far off mislead whoever reads them


def bucket_clock_offset(bucket: Bucket | None) -> float:
    """Return how many seconds the bucket's clock is ahead of this device's; 0 where no bucket has told yet."""
    return bucket.server_time.offset_seconds if isinstance(bucket, S3Bucket) else 0.0


def clock_problem(now: datetime, offset_seconds: float) -> str:
    """Return what is wrong with the clock and what to do, or "".

    Args:
        now: The device's clock.
        offset_seconds: How far the bucket's is ahead of it.
    """
    if abs(offset_seconds) <= _TOLD_SECONDS:
        return ""
    right = now + timedelta(seconds=offset_seconds)
    return (
        f"clock: this device says {now:%Y-%m-%d %H:%M} UTC, the bucket {right:%Y-%m-%d %H:%M}: set the clock (NTP). "
        "Until then requests are signed with the bucket's time, and samples carry a wrong time of capture"
    )
