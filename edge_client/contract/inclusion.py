"""Inclusion probabilities of priority sampling (Duffield, Lund & Thorup 2007, §2)."""


def inclusion_probability(weight: float, threshold: float) -> float:
    """Return p = min(1, w/τ); with τ = 0 nothing was ever turned away and p = 1.

    >>> inclusion_probability(0.5, 2.0), inclusion_probability(3.0, 2.0), inclusion_probability(0.1, 0.0)
    (0.25, 1.0, 1.0)
    """
    if threshold <= 0:
        return 1.0
    return min(1.0, weight / threshold)


def counts_for_estimates(weight: float, u: float, threshold: float) -> bool:
    """Tell whether a sample is part of the probability sample: q = w/u lies above the final τ."""
    return weight / u > threshold
