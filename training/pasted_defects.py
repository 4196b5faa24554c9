"""Synthetic defects: a marked defect cut out of one frame and pasted onto an ok frame (Dwibedi et al. 2017).

1. Only the marked pixels and a seam of two around them travel. The seam is blended, and the piece is brought to the
   brightness of the place it comes to: what is learnt is the defect, not a rectangle.
2. A piece may be mirrored, never turned: the grain of a surface (grinding, cells, fabric) has a direction, and turned
   pieces made every class but one worse.
3. Which frames are paired follows from hashes of the images alone: a new frame changes few pairs, so that nearly all
   pasted frames have their embeddings already.
4. A pasted frame is trained on and never judged by: it has no weight in the class shares, in the measure of plans, in
   calibration and thresholds, and none in the gate's evidence.
5. A defect class gets as many as it lacks to the number that is asked for, and at most `MOST_OF_ONE` from one frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edge_client.contract.errors import ConfigError
from training.frames import decode

MOST_OF_ONE = 20
#: The setting, in the section `learning`.
KEY = "pasted_defects"
#: More than this many examples of a class need no help.
MOST_ASKED = 1_000
_SEAM = 5  # pixels of the square that widens the mark: two on each side
_SOFTNESS = 1.2  # pixels, of the seam
_RING = 10  # pixels round the mark from which its ground's brightness is taken, at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One pasted frame to be made.

    Attributes:
        defect: Index of the frame with the mark.
        ok: Index of the frame that it is pasted onto.
        label: Class of the result: the defect's.
        seed: Of place and mirroring.
    """

    defect: int
    ok: int
    label: int
    seed: int


def pairs_of(
    labels: NDArray[np.int64],
    ok: NDArray[np.bool_],
    marked: NDArray[np.bool_],
    names: Sequence[str],
    *,
    wanted: int,
) -> list[Pair]:
    """Choose what is pasted onto what (rules 3 and 5).

    Args:
        labels: int [n], class numbers.
        ok: bool [n], frames of kind ok.
        marked: bool [n], frames of a defect with a mark.
        names: n different names of the images, for example their SHA-256.
        wanted: Examples that each class with a marked frame is brought to.

    Returns:
        Pairs by class and name; none where there is no ok frame.
    """
    grounds = np.flatnonzero(ok)
    if not len(grounds):
        return []
    pairs = []
    for label in np.unique(labels[marked & ~ok]).tolist():
        sources = sorted(np.flatnonzero(marked & ~ok & (labels == label)).tolist(), key=lambda i: names[i])
        missing = min(wanted - int((labels == label).sum()), MOST_OF_ONE * len(sources))
        for turn in range(max(missing, 0)):
            source = sources[turn % len(sources)]
            recipe = f"{names[source]} {turn // len(sources)}"
            ground = min(grounds.tolist(), key=lambda i: _hash(f"{recipe} on {names[i]}"))
            pairs.append(Pair(defect=source, ok=ground, label=label, seed=_hash(f"{recipe} on {names[ground]} placed")))
    return pairs


def paste(
    ground: NDArray[np.uint8], frame: NDArray[np.uint8], mark: NDArray[np.bool_], *, seed: int
) -> NDArray[np.uint8]:
    """Paste a marked defect onto an ok frame (rules 1 and 2).

    Args:
        ground: uint8 [H, W, 3].
        frame: uint8 [h, w, 3], with the defect.
        mark: bool [h, w], the defect's pixels, at least one. A piece that is larger than the ground is made smaller.
        seed: Of place and mirroring.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ConfigError: The mark has another size than its frame, or is empty.
    """
    if mark.shape != frame.shape[:2] or not mark.any():
        raise ConfigError(
            f"the mark is {mark.shape[1]} x {mark.shape[0]} with {int(mark.sum())} pixels set, its frame "
            f"{frame.shape[1]} x {frame.shape[0]}; expected the same size and at least one pixel"
        )
    random = np.random.default_rng(seed)
    piece, near = _cut(frame, mark)
    if random.random() < 0.5:
        piece, near = piece[:, ::-1], near[:, ::-1]
    if random.random() < 0.5:
        piece, near = piece[::-1], near[::-1]
    piece, near = _fitted(piece, near, ground.shape[:2])
    height, width = near.shape
    top = int(random.integers(ground.shape[0] - height + 1))
    left = int(random.integers(ground.shape[1] - width + 1))
    share = np.asarray(
        Image.fromarray(near.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(_SOFTNESS)), dtype=np.float32
    )
    share = share[:, :, None] / 255.0
    pasted = ground.astype(np.float32)
    here = pasted[top : top + height, left : left + width]
    here[:] = here * (1.0 - share) + share * (piece + here.mean(axis=(0, 1)))
    return np.asarray(np.clip(np.rint(pasted), 0, 255), dtype=np.uint8)


def mark_of(image: bytes) -> NDArray[np.bool_]:
    """Decode a mark: bool [h, w], true where a pixel is brighter than the middle.

    Raises:
        BadImage: It cannot be decoded.
    """
    return np.asarray(decode(image).max(axis=2) > 127)


def wanted_of(learning: Mapping[str, Any], *, where: str = "[learning]") -> int:
    """Read the setting `pasted_defects`: to how many examples each marked class is brought; 0, the default, for none.

    Raises:
        ConfigError: It is no whole number from 0 to `MOST_ASKED`.
    """
    value = learning.get(KEY, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_ASKED:
        raise ConfigError(f"{where} {KEY} = {value!r}: expected a whole number from 0 to {MOST_ASKED}")
    return value


def _cut(frame: NDArray[np.uint8], mark: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The smallest piece with the mark and its seam: float32 [h, w, 3] less its ground's mean, and bool [h, w]."""
    near = np.asarray(Image.fromarray(mark.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(_SEAM))) > 127
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ring = near & ~mark
    if ring.sum() < _RING:  # the mark fills its frame
        ring = ~mark if (~mark).sum() >= _RING else np.ones_like(mark)
    piece = frame[window].astype(np.float32) - frame[ring].astype(np.float32).mean(axis=0)
    return piece, near[window]


def _fitted(
    piece: NDArray[np.float32], near: NDArray[np.bool_], size: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    factor = min(1.0, size[0] / near.shape[0], size[1] / near.shape[1])
    if factor == 1.0:
        return piece, near
    to = (max(1, int(near.shape[1] * factor)), max(1, int(near.shape[0] * factor)))
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(piece[:, :, c])).resize(to, Image.Resampling.BILINEAR))
        for c in range(piece.shape[2])
    ]
    small = np.asarray(Image.fromarray(near.astype(np.uint8) * 255).resize(to, Image.Resampling.BILINEAR)) > 127
    return np.stack(channels, axis=2).astype(np.float32), small if small.any() else np.ones_like(small)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
