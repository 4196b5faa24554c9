"""The set that the benchmarks of plans learn from: solar cells or tiles, with groups of near-duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse.csgraph import connected_components

from benchmarks.embedded_set import EmbeddedSet
from benchmarks.frame_sets import labelled_images, solar_cells
from benchmarks.parity import LabelledFrames
from training.input_choice import DEFAULT_CHOICE, InputChoice

_THUMBNAIL = 24  # pixels a side
_NEAR = 0.97  # correlation of two thumbnails from which the frames are of one group


def embedded_set(tiles: Path | None, cache: Path, choice: InputChoice = DEFAULT_CHOICE) -> EmbeddedSet:
    """Embed magnetic tiles where their folder or tar is given, else the solar cells.

    Args:
        tiles: A folder or a tar of labelled images with an `index.csv`.
        cache: Folder for trunk and embeddings.
        choice: What the trunk looks at.
    """
    data = solar_cells() if tiles is None else labelled_images(tiles)
    return EmbeddedSet(
        data.name, data.frames, data.labels, data.classes, groups=near_duplicates(data), cache=cache, choice=choice
    )


def near_duplicates(data: LabelledFrames) -> NDArray[np.str_]:
    """Return a group for each frame: frames of one class whose thumbnails are nearly equal share one."""
    side = (_THUMBNAIL, _THUMBNAIL)
    small = np.stack(
        [np.asarray(Image.fromarray(f).convert("L").resize(side), dtype=np.float32).ravel() for f in data.frames]
    )
    small -= small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True) + 1e-6
    near = (small @ small.T > _NEAR) & (data.labels[:, None] == data.labels[None, :])
    _, group = connected_components(near, directed=False)
    return np.array([f"g{g}" for g in group])
