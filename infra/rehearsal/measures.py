"""The yardstick: frames that were never streamed, labelled or trained on, and how an engine does on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.workspace import Workspace
from edge_client.contract.decision import decided_class, defect_probability
from edge_client.contract.engine_metadata import ClassInfo, Kind, Thresholds
from flows.champion import metadata_of
from flows.stack import registry_of
from infra.rehearsal.plan import Frame
from infra.rehearsal.results import Figure, HoldoutScore
from training.evaluate import Measure, average_precision, balanced_accuracy
from training.predict import run_engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What an engine says of the holdout.

    Attributes:
        probabilities: float32 [n, K].
        thresholds: By which the engine decides.
    """

    probabilities: NDArray[np.float32]
    thresholds: Thresholds


class HoldoutMeasure:
    """Measures engines on the holdout; each version once.

    Args:
        workspace: Where the registry is.
        inspection: The registered model.
        classes: K classes of the archive.
        frames: The holdout.
        seed: Of the bootstrap.
    """

    def __init__(
        self, workspace: Workspace, inspection: str, classes: Sequence[ClassInfo], frames: Sequence[Frame], seed: int
    ) -> None:
        self._workspace, self._inspection, self._seed = workspace, inspection, seed
        self._classes = tuple(classes)
        self.frames = tuple(frames)
        index = {c.name: i for i, c in enumerate(self._classes)}
        self.labels = np.array([index[f.label] for f in self.frames], dtype=np.int64)
        self._answers: dict[str, Answers] = {}

    def of_version(self, version: str) -> HoldoutScore:
        """Score a registered version."""
        return self.of_answers(self.answers_of(version))

    def answers_of(self, version: str) -> Answers:
        """Return what a registered version says of the holdout."""
        if version not in self._answers:
            registry = registry_of(self._workspace)
            engine = registry.engine_bytes(registry.api.version(self._inspection, version))
            images = (frame.path.read_bytes() for frame in self.frames)
            self._answers[version] = Answers(
                probabilities=run_engine(engine, images).probabilities, thresholds=metadata_of(engine).thresholds
            )
        return self._answers[version]

    def decided(self, answers: Answers) -> NDArray[np.int64]:
        """Return the class [n] that the engine decides for, by its own threshold."""
        return decided_class(answers.probabilities, self._classes, answers.thresholds)

    def of_answers(self, answers: Answers) -> HoldoutScore:
        """Score an engine's answers; balanced accuracy is that of what it decides."""
        kinds = np.array([c.kind is Kind.DEFECT for c in self._classes])
        is_defect = kinds[self.labels]
        probabilities = answers.probabilities
        risk = defect_probability(probabilities, self._classes)
        by_class = {
            c.name: figure(average_precision(self.labels == i, probabilities[:, i], seed=self._seed))
            for i, c in enumerate(self._classes)
            if len(self._classes) > 2
        }
        return HoldoutScore(
            average_precision=figure(average_precision(is_defect, risk, seed=self._seed)),
            balanced_accuracy=figure(balanced_accuracy(self.labels, self.decided(answers), seed=self._seed)),
            class_average_precision=by_class,
        )


def figure(measure: Measure) -> Figure:
    """Return a measure as the report shows it."""
    return Figure(value=float(measure.value), low=float(measure.low), high=float(measure.high), n=int(measure.n))
