"""Which groups no trunk is ever trained on.

A trunk that has seen a frame's label makes features that give the label away: out-of-fold scores of a head over them
flatter, and so would everything that is chosen by them. Rules:

1. Some groups are never shown to a trunk in training. They are picked by a hash of the group alone, so they stay the
   same for every later trunk, and one that starts from an earlier one has not seen them either.
2. A head may learn from all examples, but plans, calibration, thresholds and evidence rest on examples whose group the
   trunk has not seen: those held here, and all that came after it was trained.
3. Of the groups that are shown, some only say when to stop. They count as seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Enough to calibrate and to choose by, little enough not to starve the trunk; see docs/adr/0018.
HELD_SHARE = 0.25
_STOPPING_SHARE = 0.1
_STEPS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What each of n examples is for.

    Attributes:
        shown: bool [n], the trunk trains on it.
        stopping: bool [n], it says when to stop.
        held: bool [n], the trunk never sees it.
    """

    shown: NDArray[np.bool_]
    stopping: NDArray[np.bool_]
    held: NDArray[np.bool_]


def roles_of(groups: NDArray[np.str_], *, stopping: bool, held_share: float = HELD_SHARE) -> Roles:
    """Give each example its role.

    Args:
        groups: str [n].
        stopping: Whether some are set aside to say when to stop.
        held_share: Share of groups that no trunk sees.

    >>> roles = roles_of(np.array(["a", "a", "b", "c"]), stopping=False, held_share=0.5)
    >>> bool(roles.held[0] == roles.held[1]), bool((roles.shown == ~roles.held).all())
    (True, True)
    """
    names, index = np.unique(groups, return_inverse=True)
    held = np.array([_share("held", name) < held_share for name in names.tolist()], dtype=bool)[index]
    stop = np.zeros(len(groups), dtype=bool)
    if stopping:
        stop = np.array([_share("stopping", name) < _STOPPING_SHARE for name in names.tolist()], dtype=bool)[index]
        stop &= ~held
    return Roles(shown=~held & ~stop, stopping=stop, held=held)


def group_digest(group: str) -> str:
    """Return a group's short name in a trunk's record of what it has seen."""
    return hashlib.sha256(group.encode()).hexdigest()[:16]


def seen_by(groups: NDArray[np.str_], digests: Iterable[str]) -> NDArray[np.bool_]:
    """Return bool [n]: which examples' groups are among those that a trunk has seen."""
    known = frozenset(digests)
    if not known:
        return np.zeros(len(groups), dtype=bool)
    names, index = np.unique(groups, return_inverse=True)
    return np.array([group_digest(name) in known for name in names.tolist()], dtype=bool)[index]


def _share(what: str, group: str) -> float:
    return int(hashlib.sha256(f"{what} {group}".encode()).hexdigest()[:8], 16) / _STEPS
