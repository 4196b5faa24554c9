"""The second sampling stage's rule: priority sampling of a fixed size (Duffield, Lund & Thorup 2007, §2).

Each offered item i has a score s_i > 0 and u_i ~ U(0, 1]; its priority is q_i = s_i / u_i. The n items of
highest priority are drawn; τ₂ is the (n+1)-th highest priority, 0 if there is none. The inclusion
probability is p₂ = min(1, s/τ₂), for every item, drawn or not: Σ y/p₂ over the drawn is unbiased for Σ y.
A prefix of the drawn, in order of priority, is itself such a sample with a higher τ₂: that is how a draw
that is only partly labelled is used (:func:`rethreshold`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PrioritySample:
    """What was drawn of m offered items.

    Attributes:
        drawn: bool [m].
        p: float64 [m], inclusion probability of each, drawn or not.
        threshold: τ₂.
        order: int [m], item numbers by falling priority.
    """

    drawn: NDArray[np.bool_]
    p: NDArray[np.float64]
    threshold: float
    order: NDArray[np.int64]


def priority_sample(scores: Sequence[float], u: Sequence[float], n: int) -> PrioritySample:
    """Draw ``n`` of the offered items, or all if there are no more.

    Args:
        scores: Positive and finite, [m].
        u: In (0, 1], [m].
        n: How many to draw, at least 1.

    Raises:
        ValueError: a score, a u or n is out of bounds.

    >>> sample = priority_sample([1.0, 1.0, 2.0], [0.5, 1.0, 0.5], 2)
    >>> sample.drawn.tolist(), sample.p.tolist(), sample.threshold
    ([True, False, True], [1.0, 1.0, 1.0], 1.0)
    """
    s, v = np.asarray(scores, dtype=np.float64), np.asarray(u, dtype=np.float64)
    if n < 1:
        raise ValueError(f"cannot draw {n} samples; expected at least 1")
    if not (np.isfinite(s).all() and (s > 0).all()):
        raise ValueError("every score must be a positive, finite number")
    if not ((v > 0).all() and (v <= 1).all()):
        raise ValueError("every u must be in (0, 1]")
    q = s / v
    order = np.argsort(-q, kind="stable")
    threshold = float(q[order[n]]) if n < len(q) else 0.0
    drawn = np.zeros(len(q), dtype=np.bool_)
    drawn[order[:n]] = True
    return PrioritySample(drawn=drawn, p=inclusion(s, threshold), threshold=threshold, order=order)


def inclusion(scores: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """p₂ = min(1, s/τ₂) for each score; τ₂ = 0 gives 1."""
    if threshold <= 0:
        return np.ones_like(scores)
    return np.asarray(np.minimum(1.0, scores / threshold), dtype=np.float64)


def rethreshold(
    scores: NDArray[np.float64], u: NDArray[np.float64], threshold: float, answered: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The sample that a partly answered draw amounts to.

    People see the drawn items in order of priority. With the first unanswered item at priority q*, the
    answered ones above q* are a priority sample with threshold q*; answers below q* are not used.

    Args:
        scores: Of the drawn items, [n].
        u: Of the drawn items, [n].
        threshold: τ₂ of the draw.
        answered: bool [n].

    Returns:
        used: bool [n], and p: float64 [n], for each drawn item.
    """
    q = scores / u
    waiting = q[~answered]
    raised = float(waiting.max()) if waiting.size else threshold
    return answered & (q > raised), inclusion(scores, raised)
