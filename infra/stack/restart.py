"""When a process that died is started again: soon at first, then ever later, spread by chance."""

import random

FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0
SETTLED_SECONDS = 60.0  # a process that was ready for so long begins anew with the first wait


def wait_seconds(deaths: int, rng: random.Random) -> float:
    """How long to wait after the `deaths`-th death in a row: doubled each time, plus or minus a fifth, bounded.

    >>> 0.4 <= wait_seconds(1, random.Random(0)) <= 0.6
    True
    """
    base = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(deaths - 1, 16))
    return min(MOST_SECONDS, base * rng.uniform(0.8, 1.2))


def deaths_in_a_row(before: int, ready_seconds: float | None) -> int:
    """Count a death: one that followed a long healthy time is the first again.

    Args:
        before: Deaths in a row before this one.
        ready_seconds: How long it had been ready, None if it never was.
    """
    if ready_seconds is not None and ready_seconds >= SETTLED_SECONDS:
        return 1
    return before + 1
