"""What the benchmarks of learning share: embedded data sets, near-duplicate groups, fits on rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse.csgraph import connected_components

from benchmarks.embedded_set import embed_once, names_of
from benchmarks.frame_sets import labelled_images, solar_cells
from benchmarks.parity import LabelledFrames
from edge_client.contract.engine_metadata import ClassInfo
from training.anomaly import Bank
from training.examples import FACTORY, Examples
from training.fit import FitRequest
from training.goal import Goal
from training.plans import Plan
from training.trunk import Trunk, float_trunk

Rows = NDArray[np.int64]
_THUMBNAIL = 24  # pixels a side
_NEAR = 0.97  # correlation of two thumbnails from which the frames are of one group


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSet:
    """A data set with features and patches of the float trunk.

    Attributes:
        groups: str [n]; near-duplicates of one class share one.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    labels: Rows
    groups: NDArray[np.str_]
    features: NDArray[np.float32]
    patches: NDArray[np.float16]
    frames: Sequence[NDArray[np.uint8]]
    trunk: Trunk

    def examples(self, rows: Rows, labels: Rows | None = None) -> Examples:
        """Return rows as factory examples; `labels` replaces theirs."""
        names = names_of(rows)
        return Examples(
            ids=names,
            labels=self.labels[rows] if labels is None else labels,
            groups=self.groups[rows],
            origin=np.full(len(rows), FACTORY),
            probability=np.full(len(rows), np.nan),
            device=names,
            station=names,
            features=self.features[rows],
        )

    def request(
        self,
        rows: Rows,
        *,
        seed: int,
        plans: Sequence[Plan] | None = None,
        goal: Goal | None = None,
        classes: tuple[ClassInfo, ...] | None = None,
        labels: Rows | None = None,
    ) -> FitRequest:
        """Ask for the everyday fit of some rows."""
        return FitRequest(
            inspection=self.name,
            classes=self.classes if classes is None else classes,
            trunk=self.trunk,
            examples=self.examples(rows, labels),
            patches=self.patches[rows],
            selftest_images=list(self.frames[:8]),
            seed=seed,
            plans=plans,
            goal=goal or Goal(),
        )

    def anomaly(self, bank: Bank, rows: Rows) -> NDArray[np.float32]:
        """Return the anomaly scores of rows that the bank has not seen."""
        return bank.score(self.patches[rows])


def embedded_set(tiles: Path | None, cache: Path) -> EmbeddedSet:
    """Embed magnetic tiles where their folder or tar is given, else the solar cells.

    Args:
        tiles: A folder or a tar of labelled images with an `index.csv`.
        cache: Folder for trunk and embeddings.
    """
    data = solar_cells() if tiles is None else labelled_images(tiles)
    cache.mkdir(parents=True, exist_ok=True)
    trunk = float_trunk(cache)
    embedded = embed_once(data.name, data.frames, trunk, cache)
    return EmbeddedSet(
        name=data.name,
        classes=data.classes,
        labels=data.labels,
        groups=near_duplicates(data),
        features=embedded.features,
        patches=embedded.patches,
        frames=data.frames,
        trunk=trunk,
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
