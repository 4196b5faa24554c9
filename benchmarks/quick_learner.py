"""The everyday fit in a tenth of the time, for stories of many splits.

1. Head, class weights, regularisation and class shares are those of `training.fit.learn` with the default plan.
2. Coordinates are found once a split, from the factory set and all that streams, instead of anew for each fit.
3. Nothing is learnt out of fold: the temperature is that of the split's first fit, which is the everyday one. With two
   classes no rank depends on it, only how unsure an engine says it is; with more it moves ranks a little.

`python -m benchmarks.labels --everyday` plays the same stories with the everyday fit.
"""

from __future__ import annotations

import numpy as np

from benchmarks.embedded_set import EmbeddedSet, Floats, Rows
from benchmarks.label_stories import Learner, Parts
from edge_client.contract.engine_metadata import Thresholds
from training.calibration import prior_shift
from training.export import EngineHead
from training.fit import Learnt
from training.head import fit_head
from training.plans import DEFAULT
from training.prior import target_prior
from training.rebalance import rebalance
from training.space import learn_space


class QuickLearner(Learner):
    """See the module."""

    def __init__(self, images: EmbeddedSet, parts: Parts, seed: int, labels: Rows | None = None) -> None:
        super().__init__(images, parts, seed, labels)
        rows = np.concatenate([parts.factory, parts.stream])
        field = np.arange(len(rows)) >= len(parts.factory)
        self._space = learn_space(images.features[rows], self.anomaly(rows), field, images.features[:0])
        self._coordinates = self._space.project(images.features, self.anomaly(np.arange(len(images.labels))))

    def learn(self, labelled: Rows, p: Floats, captured: Rows) -> Learnt:
        """What is learnt from some labels."""
        if not len(labelled) and not len(captured):
            return super().learn(labelled, p, captured)
        nothing: Rows = np.empty(0, dtype=np.int64)
        first = super().learn(nothing, np.empty(0), nothing)
        examples = self.request(labelled, p, nothing).examples
        classes = len(self.images.classes)
        data = rebalance(
            DEFAULT.rebalance,
            self._coordinates[np.concatenate([self.parts.factory, labelled])],
            examples.labels,
            np.where(examples.field, DEFAULT.field_weight, 1.0),
            classes=classes,
            seed=self.seed,
        )
        head = fit_head(data, regularisation=DEFAULT.regularisation, classes=classes)
        prior = target_prior(examples, classes)
        return Learnt(
            head=EngineHead(
                raw=self._space.to_features(head.weights, head.bias),
                temperature=first.metrics["temperature"],
                shift=prior_shift(data.prior, prior).astype(np.float32),
            ),
            thresholds=Thresholds(),
            prior=prior,
            chosen=None,
            oof=np.empty((0, classes), dtype=np.float32),
            metrics={},
        )
