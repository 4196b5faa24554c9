"""A labelled image set, embedded once by a trunk and kept: what the benchmarks of learning choose rows from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo
from training.examples import FACTORY, FIELD, Examples
from training.fit import FitRequest
from training.plans import Plan
from training.quantize import int8_trunk
from training.trunk import Embedded, Trunk, float_trunk

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def embed_once(name: str, frames: Sequence[NDArray[np.uint8]], trunk: Trunk, cache: Path) -> Embedded:
    """Return the frames' embeddings, kept in the cache's folder by the set's name and the trunk."""
    stored = cache / f"{name}-{trunk.id[:16]}.npz"
    if not stored.exists():
        embedded = trunk.run(frames)
        np.savez(stored, features=embedded.features, patches=embedded.patches)
    with np.load(stored) as arrays:
        return Embedded(features=arrays["features"], patches=arrays["patches"])


def names_of(rows: Rows) -> NDArray[np.str_]:
    """Return an id for each row of a set."""
    return np.array([hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in rows])


class EmbeddedSet:
    """Images, truths and embeddings.

    Args:
        name: Of the file that keeps the embeddings.
        frames: uint8 RGB, [n] of [H, W, 3].
        labels: int [n], class numbers.
        classes: K classes.
        calibration: Rows that set the ranges of the int8 trunk.
        cache: Folder for trunks and embeddings.
        variant: ``fp32`` or ``int8``.
        plans: Only these plans, instead of the usual candidates.
    """

    def __init__(
        self,
        name: str,
        frames: Sequence[NDArray[np.uint8]],
        labels: Rows,
        classes: Sequence[ClassInfo],
        *,
        calibration: Rows,
        cache: Path,
        variant: str,
        plans: Sequence[Plan] | None,
    ) -> None:
        self.frames, self.labels, self.classes, self.plans = list(frames), labels, tuple(classes), plans
        self.calibration = calibration
        cache.mkdir(parents=True, exist_ok=True)
        self.trunk: Trunk = float_trunk(cache)
        if variant == "int8":
            self.trunk = int8_trunk(self.trunk, [self.frames[i] for i in calibration], cache)
        embedded = embed_once(name, self.frames, self.trunk, cache)
        self.features, self.patches = embedded.features, embedded.patches

    def embeddings(self, rows: Rows) -> NDArray[np.float32]:
        """What an engine would answer: float32 [n, D], length 1."""
        found = self.features[rows, : self.trunk.embedding_width]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    def request(
        self,
        factory: Rows,
        labelled: Rows,
        p: Floats,
        captured: Rows,
        seed: int,
        *,
        labels: Rows | None = None,
    ) -> FitRequest:
        """Ask for the everyday fit of factory rows and labelled rows with their inclusion probabilities.

        Args:
            factory: Rows of the factory set.
            labelled: Rows of the field that have a label.
            p: Their inclusion probabilities; nan where there is none.
            captured: Rows of the field that were kept, labelled or not.
            seed: Of the fit.
            labels: int [all rows], what people said, if it is not the truth.
        """
        rows = np.concatenate([factory, labelled])
        names = names_of(rows)
        examples = Examples(
            ids=names,
            labels=(self.labels if labels is None else labels)[rows],
            groups=names,
            origin=np.array([FACTORY] * len(factory) + [FIELD] * len(labelled)),
            probability=np.concatenate([np.full(len(factory), np.nan), p]),
            device=names,
            station=names,
            features=self.features[rows],
        )
        return FitRequest(
            inspection="benchmark",
            classes=self.classes,
            trunk=self.trunk,
            examples=examples,
            patches=self.patches[rows],
            selftest_images=[self.frames[0]],
            unlabelled=self.features[np.setdiff1d(captured, labelled)],
            seed=seed,
            plans=self.plans,
        )
