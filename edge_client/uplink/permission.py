"""Whether a device may upload now, and if not, when and why. Pure.

1. On a metered link no window is uploaded, not even one with an operator's flag: a window counts only as a whole.
   Heartbeats and the look for releases go on, they are small (`device.heartbeat_seconds`, `update.poll_seconds`).
2. Outside the schedule's hours none is either.
3. A day's bytes are never exceeded, save by an object that alone is larger: it goes when it is the day's first.

What may not be sent stays in the spool, under the sampler's rules: a device that uploads at night only keeps the best
of the day within the spool's limit, and its estimates stay unbiased.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from edge_client.contract.errors import AndonError
from edge_client.contract.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRules:
    """What the configuration says of the link.

    Attributes:
        schedule: Hours of uploading.
        bytes_per_day: Most bytes of a local day; 0 is no limit.
    """

    schedule: Schedule = field(default_factory=Schedule)
    bytes_per_day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether something may be sent.

    Attributes:
        wait_seconds: Until it may be; 0 is now, None is until a person changes something.
        reason: Why not now; "" when it may.
    """

    wait_seconds: float | None = 0.0
    reason: str = ""

    @property
    def granted(self) -> bool:
        """Whether it may be sent now."""
        return self.wait_seconds == 0.0


class NotNow(AndonError):
    """Uploading is not allowed at this moment; nothing is wrong."""

    def __init__(self, permission: Permission) -> None:
        super().__init__(permission.reason)
        self.permission = permission


def permission(rules: UploadRules, *, metered: bool, local: datetime, used_today: int, size: int) -> Permission:
    """Decide.

    Args:
        rules: What the configuration says.
        metered: Whether the link is metered now.
        local: The local time.
        used_today: Bytes already sent on this local day.
        size: Bytes that are to be sent.
    """
    if metered:
        return Permission(
            wait_seconds=None,
            reason="the link is metered (upload.metered): windows stay in the spool until it is not",
        )
    wait = rules.schedule.seconds_until_open(local)
    if wait:
        opens = local + timedelta(seconds=wait)
        return Permission(wait_seconds=wait, reason=f"upload.hours: the next ones begin {opens:%a %H:%M}")
    if rules.bytes_per_day and used_today and used_today + size > rules.bytes_per_day:
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return Permission(
            wait_seconds=max(1.0, (midnight - local).total_seconds()),
            reason=f"upload.bytes_per_day: {used_today} of {rules.bytes_per_day} bytes were sent today",
        )
    return Permission()
