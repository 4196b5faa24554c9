"""A device's link to its bucket, as the configuration describes it: asks `permission`, keeps to `turns`.

The local time is that of the bucket where the device's clock is wrong and the bucket told better: "nights only" means
the night outside. A switch from code (`set_metered`) is or-ed with the configuration's.
"""

from collections.abc import Callable
from datetime import datetime, tzinfo

from edge_client.uplink.permission import Permission, UploadRules, permission
from edge_client.uplink.shared_link import SharedLink


class Uplink:
    """What the uploader asks before and while it sends.

    Args:
        rules: What the configuration says.
        link: Bandwidth and the day's bytes; None where neither is limited.
        now: The time, aware.
        metered: Whether the configuration calls the link metered.
        zone: Of the local time; None is the machine's own.
    """

    def __init__(
        self,
        rules: UploadRules,
        *,
        link: SharedLink | None,
        now: Callable[[], datetime],
        metered: bool = False,
        zone: tzinfo | None = None,
    ) -> None:
        self._rules = rules
        self._link = link
        self._now = now
        self._always_metered = metered
        self._zone = zone
        self._metered = False

    def set_metered(self, metered: bool) -> None:
        """Say that the link in use now is metered, or no longer."""
        self._metered = metered

    def follow(self, rules: UploadRules, link: SharedLink | None) -> None:
        """Keep to other rules from the next object on, and to another limit from the next piece on."""
        self._rules, self._link = rules, link

    def permission(self, size: int) -> Permission:
        """Tell whether so many bytes may be sent now."""
        local = self._local()
        return permission(
            self._rules,
            metered=self._metered or self._always_metered,
            local=local,
            used_today=0 if (link := self._link) is None else link.used_on(local.toordinal()),
            size=size,
        )

    def take(self, count: int) -> None:
        """Count bytes that are about to be sent and rest until it is their turn."""
        if (link := self._link) is not None:
            link.take(count, day=self._local().toordinal())

    @property
    def problem(self) -> str:
        """What is wrong with the shared file, or ""."""
        return "" if (link := self._link) is None else link.problem

    def _local(self) -> datetime:
        return self._now().astimezone(self._zone)
