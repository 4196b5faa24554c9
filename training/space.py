"""The coordinates a head learns in: standardised features, turned onto their principal axes.

While there are fewer examples than features, all that a linear head can see lies in the span of the examples. Its
coordinates come from the n x n Gram matrix (with more examples from the D x D one), and an L2-penalised head in them is
the same head as in the features, at a fraction of the cost. Small axes are cut: strong regularisation would leave them
unused anyway.

The scale is taken from *both* worlds in equal parts, factory and field, and the field's share counts frames that
were captured but never labelled. After a product change this alone is worth two to three points of average
precision with a hundred labels: the field's mean and spread are known long before its labels are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

#: Principal axes kept at most: more changed no measured score and costs time in every fold.
AXES = 384
#: Field frames from which the field's statistics count as much as the factory's.
FIELD_FRAMES_FOR_HALF = 50
#: A feature that never moved in training must not explode on the first frame where it does.
_LEAST_SCALE = 1e-3
#: Stretch of the anomaly coordinate: 20 to 40 measured the same, 5 to 10 less.
_ANOMALY_STRETCH = 20.0
#: Anomaly scores above this say no more: a frame of something else entirely is not more of a defect.
ANOMALY_LIMIT = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHead:
    """Logits = features @ weights + min(anomaly, limit) · anomaly_weights + bias.

    Attributes:
        weights: float32 [D, K].
        anomaly_weights: float32 [K].
        bias: float32 [K].
    """

    weights: NDArray[np.float32]
    anomaly_weights: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpace:
    """An affine map from features and anomaly score to coordinates.

    Attributes:
        mean: float32 [D].
        scale: float32 [D], positive.
        axes: float32 [D, r], orthonormal columns.
        anomaly_mean: Of the anomaly score.
        anomaly_scale: Of the anomaly score, the stretch included.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    axes: NDArray[np.float32]
    anomaly_mean: float
    anomaly_scale: float

    def project(self, features: NDArray[np.float32], anomaly: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [n, D] and anomaly scores [n] to coordinates [n, r + 1]."""
        turned = ((features - self.mean) / self.scale) @ self.axes
        score = (np.minimum(anomaly, ANOMALY_LIMIT) - self.anomaly_mean) / self.anomaly_scale
        return np.concatenate([turned, score[:, None]], axis=1).astype(np.float32)

    def to_features(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> RawHead:
        """Turn a head over coordinates into the same head over raw features and the raw score.

        Args:
            weights: float [r + 1, K].
            bias: float [K].
        """
        raw = (self.axes.astype(np.float64) @ weights[:-1]) / self.scale[:, None]
        score = weights[-1] / self.anomaly_scale
        return RawHead(
            weights=raw.astype(np.float32),
            anomaly_weights=score.astype(np.float32),
            bias=(bias - self.mean.astype(np.float64) @ raw - self.anomaly_mean * score).astype(np.float32),
        )


def learn_space(
    features: NDArray[np.float32],
    anomaly: NDArray[np.float32],
    field: NDArray[np.bool_],
    unlabelled: NDArray[np.float32],
) -> FeatureSpace:
    """Learn the coordinates.

    Args:
        features: float32 [n, D] of the labelled examples.
        anomaly: float32 [n], their scores by a bank that has not seen them.
        field: bool [n], which of them come from devices.
        unlabelled: float32 [m, D] of captured frames without a label; m may be 0.
    """
    seen = np.concatenate([features[field], unlabelled])
    share = 0.5 * min(1.0, len(seen) / FIELD_FRAMES_FOR_HALF) if not field.all() else 1.0
    mean, square = (_mixed(features[~field], seen, share, power) for power in (1, 2))
    scale = np.sqrt(np.maximum(square - mean**2, 0.0)) + _LEAST_SCALE
    standard = ((features - mean) / scale).astype(np.float32)
    axes = _principal_axes(standard)
    score = np.minimum(anomaly, ANOMALY_LIMIT)
    centre = float(_mixed(score[~field], score[field], min(share, 0.5) if field.any() else 0.0, 1))
    return FeatureSpace(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        axes=axes,
        anomaly_mean=centre,
        anomaly_scale=(float(score.std()) + _LEAST_SCALE) / _ANOMALY_STRETCH,
    )


def _principal_axes(standard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 [D, r]: from the n x n products of examples or the D x D ones of features, whichever is less."""
    few = standard if len(standard) <= standard.shape[1] else standard.T
    size = len(few)
    values, vectors = scipy.linalg.eigh(
        (few @ few.T).astype(np.float64), subset_by_index=[max(0, size - AXES), size - 1]
    )
    keep = values > values[-1] * 1e-7
    if few is not standard:
        return np.asarray(vectors[:, keep], dtype=np.float32)
    return np.asarray(standard.T @ (vectors[:, keep] / np.sqrt(values[keep])).astype(np.float32))


def _mixed(factory: NDArray[np.float32], field: NDArray[np.float32], share: float, power: int) -> NDArray[np.float64]:
    """Mean of the given power, the field counting `share`."""
    sides = ((factory, 1.0 - share if len(field) else 1.0), (field, share if len(factory) else 1.0))
    total = np.zeros(factory.shape[1:], dtype=np.float64)
    for rows, weight in sides:
        if len(rows):
            total = total + weight * np.power(rows, power, dtype=np.float64).mean(axis=0)
    return total
