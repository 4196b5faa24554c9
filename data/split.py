"""Groups, and which side of the split they are on.

1. The split is a function of the group alone (and the salt): near-duplicates never straddle it, and a
   sample never changes sides because others were added.
2. A group is a part if the part is known, else a lot, else the device's day: frames of one stopped belt
   or one shift are near-duplicates of each other.
3. Field groups are ``train`` or ``holdout``; factory groups are ``train`` or ``golden``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

from data.policy import SplitPolicy

_LOT_KEYS = ("lot", "batch")  # of the process context


class Split(str, Enum):
    """The sides of the split."""

    TRAIN = "train"
    HOLDOUT = "holdout"  # field samples never trained on
    GOLDEN = "golden"  # factory samples never trained on: measures forgetting


def group_of(
    *,
    part_id: str | None,
    device: str | None,
    captured_at: datetime,
    context: Mapping[str, object] | None = None,
) -> str:
    """The group of a sample.

    >>> group_of(part_id="A-7", device="line-1", captured_at=datetime(2030, 1, 1, tzinfo=UTC))
    'part:A-7'
    >>> group_of(part_id=None, device="line-1", captured_at=datetime(2030, 1, 1, tzinfo=UTC))
    'day:line-1:2030-01-01'
    """
    if part_id:
        return f"part:{part_id}"
    for key in _LOT_KEYS:
        if context and context.get(key) not in (None, ""):
            return f"lot:{str(context[key])[:256]}"
    return f"day:{device or '-'}:{captured_at.astimezone(UTC):%Y-%m-%d}"


def split_of(group: str, salt: str, shares: Mapping[str, float]) -> str:
    """The side a group is on.

    Args:
        group: From :func:`group_of`, or a source's own.
        salt: Policy's; include the inspection so that inspections are split independently.
        shares: Side → share of groups, beside ``train``, which gets the rest.

    >>> split_of("part:A-7", "andon", {})
    'train'
    """
    point = _unit(f"{salt}\x00{group}")
    edge = 0.0
    for side in sorted(shares):
        edge += shares[side]
        if point < edge:
            return side
    return Split.TRAIN.value


def side_of(group: str, *, inspection: str, origin: str, policy: SplitPolicy) -> str:
    """The side of a group under the policy: golden for ``factory``, holdout for ``field`` samples."""
    salt = f"{policy.salt}\x00{inspection}"
    if origin == "factory":
        return split_of(group, salt, {Split.GOLDEN.value: policy.golden_share})
    return split_of(group, salt, {Split.HOLDOUT.value: policy.holdout_share})


def _unit(text: str) -> float:
    """A number in [0, 1) from the first 64 bits of SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
