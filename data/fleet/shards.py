"""How the listing of heartbeats is cut into shards. No I/O.

A bucket tells what changed only by listing, a thousand keys a request. Shards are those pages, with their beginnings
remembered:

1. A shard holds the keys after its own beginning up to the next shard's beginning. The first begins before all keys.
2. A page that does not reach the shard's end has found more keys than fit: a new shard begins after its last key.
3. An object is read again only when its tag, or the key by which it was judged, is another than last time.
4. The shard that was not looked at for the longest comes first, so that a run that ends early is unfair to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from edge_client.contract.bucket import ObjectInfo, Page

PREFIX = "fleet/"
_STATUS = "/status.json"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Seen = tuple[str, str]
"""What an object was when it was last read: its tag, and by which key it was judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One page of heartbeats.

    Attributes:
        after: It begins after this key.
        seen: Key → what it was when it was last read.
        listed_at: When all of it was last looked at.
    """

    after: str = ""
    seen: Mapping[str, Seen] = field(default_factory=dict)
    listed_at: datetime | None = None


def in_turn(shards: Iterable[Shard]) -> list[Shard]:
    """Rule 4."""
    return sorted(shards, key=lambda shard: (shard.listed_at or _LONG_AGO, shard.after))


def end_of(shard: Shard, shards: Iterable[Shard]) -> str | None:
    """The last key that may be in a shard; None for the last one."""
    return min((other.after for other in shards if other.after > shard.after), default=None)


def belonging(page: Page, end: str | None) -> list[ObjectInfo]:
    """The statuses of a page that are in the shard that ends there."""
    return [info for info in page.infos if (end is None or info.key <= end) and device_of(info.key) is not None]


def continues_after(page: Page, end: str | None) -> str | None:
    """Rule 2: where a new shard begins, or None."""
    if not page.more or not page.infos:
        return None
    last = page.infos[-1].key
    return last if end is None or last < end else None


def changed(
    infos: Sequence[ObjectInfo], shard: Shard, judged_by: Mapping[str, str]
) -> list[tuple[ObjectInfo, str, Seen]]:
    """Rule 3: the objects to read, with their device and what is remembered once they were read.

    Args:
        infos: The shard's statuses.
        shard: What is remembered of it.
        judged_by: Device → the key that its heartbeats must be signed with, or why there is none.
    """
    found = []
    for info in infos:
        name = device_of(info.key) or ""
        now = (tag_of(info), judged_by.get(name, ""))
        if tuple(shard.seen.get(info.key, ())) != now:
            found.append((info, name, now))
    return found


def device_of(key: str) -> str | None:
    """The device whose status lies there, or None for any other object.

    >>> device_of("fleet/line-1/status.json"), device_of("fleet/line-1/log.txt")
    ('line-1', None)
    """
    name = key.removeprefix(PREFIX).removesuffix(_STATUS)
    return name if key == f"{PREFIX}{name}{_STATUS}" and "/" not in name else None


def tag_of(info: ObjectInfo) -> str:
    """What tells an object from the one that lay there before."""
    at = "" if info.modified is None else info.modified.isoformat()
    return (info.etag or "").strip('"') or f"{at} {info.bytes}"
