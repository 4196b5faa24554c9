"""What the engine's embeddings say about which samples to label: what is new, what neighbours say, what few others are.

Embeddings are float32 [n, D] of length 1; distances are cosine distances, 1 - inner product, in [0, 2]. Everything is
seeded and bounded: products of n candidates with at most a few thousand labelled ones, never n with n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

_FAR_QUANTILE = 0.95  # a distance as large as this one's is fully new
_NEIGHBOURS = 8
_LEAST_LABELLED = 20  # with fewer, neighbours are no opinion
_FRAMES_PER_CLUSTER, _MOST_CLUSTERS = 30, 10  # coarse: many small clusters follow the density, and say nothing
_STEPS = 10
_BLOCK = 2048  # rows of a distance matrix at a time


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length 1; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)


def novel_signal(candidates: Vectors, labelled: Vectors) -> Floats | None:
    """Distance to the nearest labelled embedding against the 95 % quantile of such distances, in [0, 1].

    None if nothing is labelled: then everything is equally new.
    """
    if not len(labelled) or not len(candidates):
        return None
    nearest = np.empty(len(candidates))
    for start in range(0, len(candidates), _BLOCK):
        part = candidates[start : start + _BLOCK]
        nearest[start : start + len(part)] = np.maximum(0.0, 1.0 - (part @ labelled.T).max(axis=1))
    far = float(np.quantile(nearest, _FAR_QUANTILE))
    return np.clip(nearest / far, 0.0, 1.0) if far > 0 else np.zeros(len(nearest))


def neighbour_opinion(
    candidates: Vectors, labelled: Vectors, labels: NDArray[np.int64], classes: int, *, weight: Floats | None = None
) -> Floats | None:
    """What the nearest labelled samples say: float64 [n, K], rows sum to 1.

    A second opinion that costs no second model: the engine's head was learnt before its newest labels came, neighbours
    know them at once. Each neighbour votes by how near it is against the farthest of them.

    Args:
        candidates: float32 [n, D].
        labelled: float32 [m, D].
        labels: int [m], class numbers.
        classes: K.
        weight: float64 [m], how much each vote counts; default alike.

    Returns:
        None with fewer than twenty labelled samples or a single class among them.
    """
    if len(labelled) < _LEAST_LABELLED or len(np.unique(labels)) < 2:
        return None
    votes = np.ones(len(labelled)) if weight is None else weight
    one_hot = np.zeros((len(labelled), classes))
    one_hot[np.arange(len(labelled)), labels] = votes
    count = min(_NEIGHBOURS, len(labelled))
    opinion = np.empty((len(candidates), classes))
    for start in range(0, len(candidates), _BLOCK):
        part = candidates[start : start + _BLOCK]
        distance = np.maximum(0.0, 1.0 - part @ labelled.T)
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(distance, nearest, axis=1)
        trust = 1.0 - near / (near.max(axis=1, keepdims=True) + 1e-9) + 0.1  # the farthest still has a voice
        said = np.einsum("nk,nkc->nc", trust, one_hot[nearest])
        opinion[start : start + len(part)] = said / said.sum(axis=1, keepdims=True)
    return opinion


def cover_signal(candidates: Vectors, frames: Floats, *, seed: int) -> Floats | None:
    """How few frames look like each candidate: square root of the smallest cluster's frames over its own cluster's.

    Squared and divided by its mean (rule 2 of `data.label_scores`) it gives every cluster the same mass, so that a
    draw of n takes about as many from each.

    Args:
        candidates: float32 [n, D].
        frames: float64 [n], how many frames each stands for (1/p₁).
        seed: Of the clusters' first centres.

    Returns:
        None with fewer candidates than make two clusters.
    """
    count = min(_MOST_CLUSTERS, len(candidates) // _FRAMES_PER_CLUSTER)
    if count < 2:
        return None
    _, cluster = kmeans2(candidates, count, iter=_STEPS, minit="++", missing="warn", rng=np.random.default_rng(seed))
    size = np.bincount(cluster, weights=frames, minlength=count)
    return np.asarray(np.sqrt(size[size > 0].min() / size[cluster]), dtype=np.float64)
