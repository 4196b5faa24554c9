"""A labelled image set, embedded once by a trunk and kept: what the benchmarks of learning choose rows from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo
from training.anomaly import Bank
from training.examples import FACTORY, FIELD, Examples
from training.fit import FitRequest
from training.goal import Goal
from training.input_choice import DEFAULT_CHOICE, InputChoice
from training.plans import Plan
from training.quantize import int8_trunk
from training.trunk import Embedded, Trunk, float_trunk

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
NO_ROWS: Rows = np.empty(0, dtype=np.int64)


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
        groups: str [n]; near-duplicates share one. None: each row is its own.
        calibration: Rows that set the ranges of the int8 trunk; None where none is asked for.
        cache: Folder for trunks and embeddings.
        variant: ``fp32`` or ``int8``.
        plans: Only these plans, instead of the usual candidates.
        choice: What the trunk looks at.
    """

    def __init__(
        self,
        name: str,
        frames: Sequence[NDArray[np.uint8]],
        labels: Rows,
        classes: Sequence[ClassInfo],
        *,
        groups: NDArray[np.str_] | None = None,
        calibration: Rows | None = None,
        cache: Path,
        variant: str = "fp32",
        plans: Sequence[Plan] | None = None,
        choice: InputChoice = DEFAULT_CHOICE,
    ) -> None:
        self.name, self.frames, self.labels, self.plans = name, frames, labels, plans
        self.classes = tuple(classes)
        self.groups = names_of(np.arange(len(labels))) if groups is None else groups
        self.calibration = NO_ROWS if calibration is None else calibration
        cache.mkdir(parents=True, exist_ok=True)
        self.trunk: Trunk = float_trunk(cache, choice)
        if variant == "int8":
            self.trunk = int8_trunk(self.trunk, [self.frames[i] for i in self.calibration], cache)
        embedded = embed_once(name, self.frames, self.trunk, cache)
        self.features, self.patches = embedded.features, embedded.patches

    def embeddings(self, rows: Rows) -> NDArray[np.float32]:
        """What an engine would answer: float32 [n, D], length 1."""
        found = self.features[rows, : self.trunk.embedding_width]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    def anomaly(self, bank: Bank, rows: Rows) -> NDArray[np.float32]:
        """Return the anomaly scores of rows that the bank has not seen."""
        return bank.score(self.patches[rows])

    def examples(self, rows: Rows, labels: Rows | None = None) -> Examples:
        """Return rows as factory examples; `labels` [n], of these rows, replaces theirs."""
        return self._examples(rows, NO_ROWS, np.empty(0), self.labels[rows] if labels is None else labels)

    def factory_request(
        self,
        rows: Rows,
        *,
        seed: int,
        plans: Sequence[Plan] | None = None,
        goal: Goal | None = None,
        classes: tuple[ClassInfo, ...] | None = None,
        labels: Rows | None = None,
    ) -> FitRequest:
        """Ask for the everyday fit of factory rows; `labels` [n], of these rows, replaces theirs."""
        return FitRequest(
            inspection=self.name,
            classes=self.classes if classes is None else classes,
            trunk=self.trunk,
            examples=self.examples(rows, labels),
            patches=self.patches[rows],
            selftest_images=list(self.frames[:8]),
            seed=seed,
            plans=self.plans if plans is None else plans,
            goal=goal or Goal(),
        )

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
        return FitRequest(
            inspection="benchmark",
            classes=self.classes,
            trunk=self.trunk,
            examples=self._examples(factory, labelled, p, (self.labels if labels is None else labels)[rows]),
            patches=self.patches[rows],
            selftest_images=[self.frames[0]],
            unlabelled=self.features[np.setdiff1d(captured, labelled)],
            seed=seed,
            plans=self.plans,
        )

    def _examples(self, factory: Rows, field: Rows, p: Floats, labels: Rows) -> Examples:
        rows = np.concatenate([factory, field])
        names = names_of(rows)
        return Examples(
            ids=names,
            labels=labels,
            groups=self.groups[rows],
            origin=np.array([FACTORY] * len(factory) + [FIELD] * len(field)),
            probability=np.concatenate([np.full(len(factory), np.nan), p]),
            device=names,
            station=names,
            features=self.features[rows],
        )
