"""What ok patches look like at each place of the frame: one Gaussian a place (PaDiM's manner, Defard et al. 2021).

1. Patches are standardised and turned onto their principal axes; the first of them are kept. Full covariances would
   make the int8 engine three times as large.
2. A place's covariance leans on the mean covariance of all places, as if that had been seen in so many frames as there
   are axes: a place is known from one patch a frame, and a start may have ten frames.
3. Factory and field weigh the same: after a product change a few field frames must not drown in the factory's.
4. Distances are Mahalanobis distances. Factors are kept in half precision, as the engine has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

AXES = 32
#: Frames of each origin that are looked at: more changed nothing and cost time.
_FRAMES = 600
_SAMPLE = 20_000  # patches that the axes come from
_LEAST_SCALE = 1e-3
_LEAST_VARIANCE = 1e-2  # of a standardised channel: a place that never moved must not explode


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """A Gaussian for each place.

    Attributes:
        axes: float32 [C, d], from raw patches to coordinates.
        mean: float32 [h, w, d], in coordinates.
        factor: float16 [h, w, d, d]; the length of (coordinates - mean) @ factor is the distance.
    """

    axes: NDArray[np.float32]
    mean: NDArray[np.float32]
    factor: NDArray[np.float16]

    def distance(self, patches: NDArray[np.float16]) -> NDArray[np.float32]:
        """Patches [n, h, w, C] to distances float32 [n, h, w]."""
        factor = self.factor.astype(np.float32)
        out = np.empty(patches.shape[:3], dtype=np.float32)
        for row, frame in enumerate(patches):
            gap = frame.astype(np.float32) @ self.axes - self.mean
            out[row] = np.sqrt(np.square(gap[:, :, None, :] @ factor).sum(axis=(2, 3)))
        return out


def learn_places(
    patches: NDArray[np.float16], origins: Sequence[NDArray[np.bool_]], random: np.random.Generator
) -> Places:
    """Learn the places of ok frames.

    Args:
        patches: float16 [n, h, w, C].
        origins: bool [n] each; the ok frames of each origin. One that has none is left out.
        random: Chooses frames and patches where there are more than are needed.
    """
    parts = [np.sort(random.permutation(np.flatnonzero(mask))[:_FRAMES]) for mask in origins if mask.any()]
    rows = np.concatenate(parts)
    weight = np.concatenate([np.full(len(part), 1.0 / (len(part) * len(parts))) for part in parts])
    axes = _axes(_sample(patches, parts, random))
    seen = np.empty((len(rows), *patches.shape[1:3], axes.shape[1]), dtype=np.float32)
    for i, row in enumerate(rows.tolist()):  # one frame at a time: all of them in single precision would not fit
        seen[i] = patches[row].astype(np.float32) @ axes
    mean = np.tensordot(weight.astype(np.float32), seen, axes=1)
    gap = (seen - mean) * np.sqrt(weight).astype(np.float32)[:, None, None, None]
    covariance = np.einsum("nhwi,nhwj->hwij", gap, gap, optimize=True).astype(np.float64)
    width = axes.shape[1]
    typical = covariance.mean(axis=(0, 1)) + _LEAST_VARIANCE * np.eye(width)
    frames = 1.0 / float(np.square(weight).sum())
    covariance = (frames * covariance + width * typical) / (frames + width)
    identity = np.eye(width)
    factor = np.empty(covariance.shape, dtype=np.float16)
    for place in np.ndindex(*covariance.shape[:2]):
        lower = np.linalg.cholesky(covariance[place])
        factor[place] = scipy.linalg.solve_triangular(lower, identity, lower=True).T
    return Places(axes=axes, mean=mean.astype(np.float32), factor=factor)


def _sample(
    patches: NDArray[np.float16], parts: Sequence[NDArray[np.int64]], random: np.random.Generator
) -> NDArray[np.float32]:
    """Patches of each origin, as many of each: float32 [m, C]."""
    places = patches.shape[1] * patches.shape[2]
    each = min(_SAMPLE // len(parts), *(len(part) * places for part in parts))
    chosen = []
    for part in parts:
        which = np.sort(random.permutation(len(part) * places)[:each])
        rows, spot = part[which // places], which % places
        chosen.append(patches[rows, spot // patches.shape[2], spot % patches.shape[2]].astype(np.float32))
    return np.concatenate(chosen)


def _axes(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 [C, d]: standardisation and the turn onto principal axes in one."""
    scale = sample.std(axis=0) + np.float32(_LEAST_SCALE)
    standard = (sample - sample.mean(axis=0)) / scale
    channels = standard.shape[1]
    count = min(AXES, channels)
    _, vectors = scipy.linalg.eigh(
        (standard.T @ standard).astype(np.float64) / len(standard), subset_by_index=[channels - count, channels - 1]
    )
    return np.asarray(vectors[:, ::-1] / scale[:, None], dtype=np.float32)
