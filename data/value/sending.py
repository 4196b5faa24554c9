"""What sending every frame would have taken. Pure.

The mean size of a frame is estimated from the captured ones, each of which speaks for 1/p of all: the ratio Σ b/p over
Σ 1/p, with its linearised variance Σ ((b − mean)/p)² (1 − p) over (Σ 1/p)² (Särndal, Swensson & Wretman 1992, §5.7) and
Student's interval. It follows from six sums, so that the database makes them whatever the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from data.value.amounts import Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSums:
    """Over the captured samples that count, with b the bytes of one and p its inclusion probability.

    Attributes:
        n: How many.
        weight: Σ 1/p.
        sized: Σ b/p.
        doubt: Σ (1 − p)/p².
        doubt_sized: Σ b (1 − p)/p².
        doubt_squared: Σ b² (1 − p)/p².
    """

    n: int
    weight: float
    sized: float
    doubt: float
    doubt_sized: float
    doubt_squared: float


def mean_bytes(sums: SizeSums, level: float = 0.95) -> Amount | None:
    """Bytes of a frame, as it is encoded for sending; None while no sample counts.

    >>> mean_bytes(SizeSums(n=4, weight=4, sized=4_000, doubt=0, doubt_sized=0, doubt_squared=0)).value
    1000.0
    """
    if sums.n == 0 or sums.weight <= 0:
        return None
    mean = sums.sized / sums.weight
    spread = max(0.0, sums.doubt_squared - 2 * mean * sums.doubt_sized + mean**2 * sums.doubt) ** 0.5 / sums.weight
    reach = float(stats.t.ppf((1 + level) / 2, sums.n - 1)) * spread if sums.n > 1 else mean
    return Amount(value=mean, low=max(0.0, mean - reach), high=mean + reach, n=sums.n)
