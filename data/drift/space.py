"""Embeddings in the coordinates of the reference period.

1. Whitened principal components: the reference has mean 0 and variance 1 in each, so a difference of means is Fisher's
   linear discriminant, the direction in which a linear classifier tells two samples apart.
2. What the components leave over is the rest. Novelty is the log of how far out a frame lies: its squared length in
   the components plus its rest against the reference's, per dimension (Mahalanobis distance, regularised).
3. A component needs frames to be known: at most one for every `_FRAMES_EACH` reference frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_COMPONENTS = 32
_FRAMES_EACH = 20
_REACH = 6.0  # coordinates are clipped here: one odd frame must not carry a mean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Space:
    """Coordinates made by :func:`space_of`.

    Attributes:
        mean: float32 [D].
        axes: float32 [D, k], each divided by the reference's standard deviation along it.
        basis: float32 [D, k], the same with length 1.
        rest: Mean squared length of what the components leave over, in the reference.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    basis: NDArray[np.float32]
    rest: float

    def place(self, embeddings: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Coordinates [n, k], clipped, and novelty [n], of embeddings [n, D]."""
        centred = np.asarray(embeddings, dtype=np.float32) - self.mean
        whole = (centred @ self.axes).astype(np.float64)
        left = np.square(centred).sum(axis=1) - np.square(centred @ self.basis).sum(axis=1)
        far = np.square(whole).mean(axis=1) + np.maximum(left, 0.0) / self.rest
        return np.clip(whole, -_REACH, _REACH), np.log(far + 1e-12)


def space_of(embeddings: NDArray[np.floating], p: Floats) -> Space:
    """Make the coordinates of reference embeddings [n, D] with inclusion probabilities [n]; n is 40 or more."""
    rows = np.asarray(embeddings, dtype=np.float64)
    share = (1.0 / p) / (1.0 / p).sum()
    mean = share @ rows
    centred = rows - mean
    k = max(2, min(_MOST_COMPONENTS, len(rows) // _FRAMES_EACH, rows.shape[1] - 1))
    values, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    least = 1e-9 + 1e-6 * float(values[0])
    scale = np.sqrt(np.maximum(values[:k], least))
    return Space(
        mean=mean.astype(np.float32),
        axes=(vectors[:, :k] / scale).astype(np.float32),
        basis=vectors[:, :k].astype(np.float32),
        rest=max(float(values[k:].sum()), least),
    )
