"""Ways to choose what is labelled next, which the queue is compared with. None of them gives inclusion probabilities.

Each takes a pool (what was captured and has no label yet) and returns the n rows it would ask for:

    margin, entropy   the least certain answers (with two classes they are one)
    coreset           farthest-first from what is labelled (Sener & Savarese 2018, k-center greedy)
    badge             k-means++ on the gradients of the last layer (Ash et al. 2020)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_set import Floats, Rows

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What a strategy sees.

    Attributes:
        embeddings: float32 [m, D], of the candidates.
        probabilities: float64 [m, K], by the engine that the labels so far gave.
        labelled: float32 [l, D], embeddings of what is labelled in the field.
        labels: int [l].
    """

    embeddings: Vectors
    probabilities: Floats
    labelled: Vectors
    labels: Rows


Strategy = Callable[[Pool, int, np.random.Generator], Rows]


def margin(pool: Pool, n: int, random: np.random.Generator) -> Rows:
    """The smallest difference of the two best answers."""
    best = np.sort(pool.probabilities, axis=1)
    return np.argsort(best[:, -1] - best[:, -2], kind="stable")[:n]


def entropy(pool: Pool, n: int, random: np.random.Generator) -> Rows:
    """The largest entropy."""
    p = np.clip(pool.probabilities, 1e-12, 1)
    return np.argsort((p * np.log(p)).sum(axis=1), kind="stable")[:n]


def coreset(pool: Pool, n: int, random: np.random.Generator) -> Rows:
    """Farthest first; the first at random where nothing is labelled."""
    if len(pool.labelled):
        nearest = (1 - pool.embeddings @ pool.labelled.T).min(axis=1)
    else:
        nearest = random.random(len(pool.embeddings)) + 2
    chosen: list[int] = []
    for _ in range(min(n, len(pool.embeddings))):
        far = int(nearest.argmax())
        chosen.append(far)
        nearest = np.minimum(nearest, 1 - pool.embeddings @ pool.embeddings[far])
        nearest[far] = -np.inf
    return np.array(chosen, dtype=np.int64)


def badge(pool: Pool, n: int, random: np.random.Generator) -> Rows:
    """k-means++ on (p - the answer) times the embedding: far apart, and with large gradients.

    Distances between such products need no K·D vectors: the square is |a|²|x|² + |b|²|y|² - 2 (a·b)(x·y).
    """
    answer = np.eye(pool.probabilities.shape[1])[pool.probabilities.argmax(axis=1)]
    left, x = pool.probabilities - answer, pool.embeddings.astype(np.float64)
    size = np.square(left).sum(axis=1) * np.square(x).sum(axis=1)
    chosen = [int(size.argmax())]
    distance = np.full(len(x), np.inf)
    for _ in range(min(n, len(x)) - 1):
        last = chosen[-1]
        distance = np.minimum(distance, size + size[last] - 2 * (left @ left[last]) * (x @ x[last]))
        distance = np.maximum(distance, 0.0)
        distance[chosen] = 0.0
        if distance.sum() <= 0:
            rest = np.setdiff1d(np.arange(len(x)), chosen)
            chosen.append(int(random.choice(rest)))
        else:
            chosen.append(int(random.choice(len(x), p=distance / distance.sum())))
    return np.array(chosen, dtype=np.int64)


OWN: dict[str, Strategy] = {"margin": margin, "entropy": entropy, "coreset": coreset, "badge": badge}
