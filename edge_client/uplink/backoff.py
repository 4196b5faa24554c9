"""How long to pause after failures: exponential, with full jitter.

Devices that lost the bucket at the same moment must not come back at the same moment: the pause is uniform between
nothing and a bound that doubles (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from collections.abc import Callable

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 300.0  # a cloud that comes back is noticed within five minutes
_LEAST_SECONDS = 0.05  # no busy loop when the draw is nothing


def backoff_seconds(failures: int, jitter: Callable[[], float]) -> float:
    """Return the pause after the n-th failure in a row.

    Args:
        failures: n, from 1.
        jitter: Uniform in [0, 1).

    >>> [backoff_seconds(n, lambda: 1.0) for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    >>> backoff_seconds(20, lambda: 0.5)
    150.0
    """
    bound = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(failures - 1, 30))
    return max(_LEAST_SECONDS, bound * jitter())
