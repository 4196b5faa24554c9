"""Anomaly score of patches: nearest neighbours in a bank (PatchCore, Roth et al. 2022), and a Gaussian for each place.

1. The bank is a coreset of patches of ok frames: greedy k-centre on a random projection (§3.2 there). Factory and field
   get half of it each: after a product change a few field frames must not drown in the factory's.
2. The score of a patch is its distance to the nearest of the bank plus its distance from what is usual at its place
   (`places`), each in units of what held-out ok frames have. Places find more where parts lie alike in the frame; the
   bank holds where they do not.
3. The score of a frame is the mean of its highest fiftieth of patches: most defects are small.
4. Every example is also scored by a bank that has not seen it or its group. Those scores are what the head learns with
   and what sets the scale, so nothing is ever judged by itself.
5. Scores are divided by a quantile of such scores of ok frames: 1.0 is the alarm threshold, and the bank says which
   share of ok frames will pass it, with an interval (`alarm_threshold`). Factory and field are asked apart, and the
   higher threshold counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import AndonError
from training.alarm_threshold import AlarmRate, alarm_threshold
from training.folds import group_folds
from training.places import Places, learn_places

BANK_PATCHES = 512
#: Frames of each origin that give patches to the bank: more changed nothing and cost memory.
_FRAMES = 300
_CANDIDATES = 10_000
_PROJECTION = 32
_FOLDS = 4
LEAST_FRAMES = 4
#: ok field frames from which their quantile counts.
_ENOUGH_FIELD = 20
_LEAST_SCALE = 1e-3
_HIGHEST_SHARE = 50  # one patch in so many makes the score of the frame


class TooFewOkFrames(AndonError):
    """The anomaly score needs at least four frames of kind ok."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """What the anomaly score compares with.

    Attributes:
        mean: float32 [C], of ok patches.
        scale: float32 [C], positive.
        patches: float16 [M, C], standardised.
        places: What is usual at each place.
        units: What a held-out ok frame typically has as distance from the bank, and from its places.
        threshold: Score that becomes 1.0.
        held_out: How many held-out scores set the threshold.
        passing: Which share of ok frames will pass it; None until it is set.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    patches: NDArray[np.float16]
    places: Places
    units: tuple[float, float]
    threshold: float
    held_out: int
    passing: AlarmRate | None = None

    def distance(self, patches: NDArray[np.float16]) -> NDArray[np.float32]:
        """Patches [n, h, w, C] to distances float32 [n, h, w], not yet divided by the threshold."""
        bank, places = self.distances(patches)
        return np.asarray(bank / np.float32(self.units[0]) + places / np.float32(self.units[1]))

    def distances(self, patches: NDArray[np.float16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Patches [n, h, w, C] to distances from the bank and from the places, float32 [n, h, w] each, in no units."""
        bank = self.patches.astype(np.float32)
        square = np.square(bank).sum(axis=1)
        distances = np.empty(patches.shape[:3], dtype=np.float32)
        for row, frame in enumerate(patches):
            here = (frame.reshape(-1, frame.shape[-1]).astype(np.float32) - self.mean) / self.scale
            nearest = (square - 2.0 * (here @ bank.T)).min(axis=1) + np.square(here).sum(axis=1)
            distances[row] = np.sqrt(np.maximum(nearest, 0.0)).reshape(frame.shape[:2])
        return distances, self.places.distance(patches)

    def score(self, patches: NDArray[np.float16]) -> NDArray[np.float32]:
        """Patches [n, h, w, C] to anomaly scores float32 [n]."""
        return np.asarray(frame_score(self.distance(patches)) / np.float32(self.threshold), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A bank and what it says about the examples it came from.

    Attributes:
        bank: From all ok frames.
        scores: float32 [n], every example's score by a bank that did not see its group.
    """

    bank: Bank
    scores: NDArray[np.float32]


def highest_patches(patches: int) -> int:
    """How many of a frame's patches make its score."""
    return max(1, patches // _HIGHEST_SHARE)


def frame_score(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances [n, h, w] of patches to float32 [n], the mean of each frame's highest."""
    flat = distance.reshape(len(distance), -1)
    count = highest_patches(flat.shape[1])
    return np.asarray(np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:].mean(axis=1), dtype=np.float32)


def build_bank(
    patches: NDArray[np.float16],
    groups: NDArray[np.str_],
    ok: NDArray[np.bool_],
    field: NDArray[np.bool_],
    *,
    seed: int,
    size: int = BANK_PATCHES,
    alarm_rate: float = 0.01,
) -> Scored:
    """Build the bank, score the examples across folds, set the threshold.

    Args:
        patches: float16 [n, h, w, C].
        groups: str [n]; a group is wholly in a bank or wholly held out of it.
        ok: bool [n], which frames are like what should be.
        field: bool [n], which frames come from devices.
        seed: Of folds, sampling and projection.
        size: M, patches kept.
        alarm_rate: Share of ok frames that may alarm.

    Raises:
        TooFewOkFrames: Fewer than four ok frames.
    """
    if ok.sum() < LEAST_FRAMES:
        raise TooFewOkFrames(
            f"the anomaly score has {ok.sum()} ok frames to learn from; expected at least {LEAST_FRAMES}, better 100: "
            "label or import more frames that are ok"
        )
    # Where all ok frames are of one group, one frame a group is the best there is.
    names = groups if len(np.unique(groups[ok])) > 1 else np.arange(len(groups)).astype(str)
    fold = group_folds(names, ok * 2 + field, folds=_FOLDS, seed=seed)
    random = np.random.default_rng(seed)
    apart = np.empty((2, *patches.shape[:3]), dtype=np.float32)
    for held in (fold == k for k in range(fold.max() + 1)):
        known = ok & ~held
        # A fold may hold all ok frames when they are few: then they are judged by themselves.
        rest = known if known.any() else ok
        apart[:, held] = _bank(patches, [rest & ~field, rest & field], size, random).distances(patches[held])
    bank = replace(_bank(patches, [ok & ~field, ok & field], size, random), units=_units(apart[:, ok]))
    scores = frame_score(apart[0] / np.float32(bank.units[0]) + apart[1] / np.float32(bank.units[1]))
    asked = [side for side in (ok & ~field, ok & field) if side.sum() >= _ENOUGH_FIELD] or [ok]
    found, passing = max((alarm_threshold(scores[s], names[s], alarm_rate) for s in asked), key=lambda both: both[0])
    threshold = max(found, _LEAST_SCALE)
    return Scored(
        bank=replace(bank, threshold=threshold, held_out=sum(int(side.sum()) for side in asked), passing=passing),
        scores=np.asarray(scores / np.float32(threshold), dtype=np.float32),
    )


def _units(apart: NDArray[np.float32]) -> tuple[float, float]:
    """What is typical of held-out ok frames: distances [2, n, h, w] to the median of their frame scores."""
    from_bank, from_places = (max(float(np.median(frame_score(one))), _LEAST_SCALE) for one in apart)
    return from_bank, from_places


def _bank(
    patches: NDArray[np.float16], origins: Sequence[NDArray[np.bool_]], size: int, random: np.random.Generator
) -> Bank:
    """A bank of `size` patches, in equal parts from each origin that has frames; units and threshold not yet set."""
    width = patches.shape[-1]
    samples = []
    for frames in (np.flatnonzero(mask) for mask in origins if mask.any()):
        kept = np.sort(random.permutation(frames)[:_FRAMES])
        flat = patches[kept].reshape(-1, width)
        samples.append(flat[np.sort(random.permutation(len(flat))[:_CANDIDATES])].astype(np.float32))
    even = min(len(sample) for sample in samples)
    both = np.concatenate([sample[:: max(1, len(sample) // even)] for sample in samples])
    mean, scale = both.mean(axis=0), both.std(axis=0) + np.float32(_LEAST_SCALE)
    chosen = []
    for sample in samples:
        standard = (sample - mean) / scale
        chosen.append(standard[_coreset(standard, size // len(samples), random)])
    return Bank(
        mean=mean,
        scale=scale,
        patches=np.concatenate(chosen).astype(np.float16),
        places=learn_places(patches, origins, random),
        units=(1.0, 1.0),
        threshold=1.0,
        held_out=0,
    )


def _coreset(candidates: NDArray[np.float32], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Greedy k-centre: each next patch is the one farthest from all chosen so far."""
    size = min(size, len(candidates))
    width = min(_PROJECTION, candidates.shape[1])
    projection = random.standard_normal((candidates.shape[1], width)).astype(np.float32) / np.float32(np.sqrt(width))
    points = candidates @ projection
    square = np.square(points).sum(axis=1)
    chosen = np.empty(size, dtype=np.int64)
    chosen[0] = random.integers(len(points))
    nearest = np.full(len(points), np.inf, dtype=np.float32)
    for k in range(1, size):
        last = chosen[k - 1]
        np.minimum(nearest, square + (square[last] - 2.0 * (points @ points[last])), out=nearest)
        chosen[k] = int(nearest.argmax())
    return chosen
