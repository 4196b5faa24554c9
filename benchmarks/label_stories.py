"""Stories of labelling: a stream comes in rounds, a device keeps some of it, somebody is asked to label a share.

1. In each round the device keeps three tenths of what streams, by its own weigher and the engine that the queue's own
   labels gave so far. That captured stream is recorded; every peer chooses from the same one, by the engine that *its*
   labels gave. Random labels are drawn from the whole stream: nobody has to capture for them.
2. The queue draws from each round's captured frames once, as in the product, and logs p₂; of the labels `chosen_share`
   are chosen for what they teach, from all that was captured, by what engines said at the time. A fifth of the frames
   is of the split's held-out side, where nothing is chosen. Peers choose from all that was captured, by the engine of
   now, which can only help them.
3. The learner is the everyday fit (`training.fit.learn`) for all, with anomaly scores from the factory's bank alone: a
   new bank for each of a thousand fits would take two thirds of the time, and move all strategies alike.
4. A story is told by (set, parts, strategy, budget, seed): the same every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.embedded_set import EmbeddedSet, Floats, Rows
from benchmarks.strategies import Pool, Strategy
from data.draw_plan import Candidates, Labelled, signals_of
from data.inspections import Inspection
from data.label_gain import choose_by_gain, doubt
from data.label_scores import Mix, mix_scores
from data.priority_sampling import priority_sample
from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.weights import Weigher
from training.fit import FitRequest, Learnt, learn, score_examples

AUDIT = 0.3
CAPTURED = 0.3  # share of the streamed frames that is kept; labels are drawn from these
HELD_OUT = 0.2  # of the frames, on the other side of the split
NONE: Rows = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Rows of a set: the factory's, those that stream in each round, and those that measure."""

    factory: Rows
    rounds: tuple[Rows, ...]
    holdout: Rows

    @property
    def stream(self) -> Rows:
        """All that streams, in order."""
        return np.concatenate(self.rounds)


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """What a device kept of one round: rows, p₁, and w."""

    rows: Rows
    p1: Floats
    weights: Floats


@dataclass(slots=True, eq=False)
class Story:
    """What came of it.

    Attributes:
        labelled: Rows, in the order in which they were labelled.
        p: Their inclusion probabilities, nan where there is none.
        by_class: Average precision on the holdout of each class [K], at the end.
        captured: Each round, for the queue's own story.
        rate_error: By how far the stream's defect rate, estimated from labels that have a probability, is off.
    """

    labelled: Rows = field(default_factory=lambda: NONE)
    p: Floats = field(default_factory=lambda: np.empty(0))
    by_class: Floats = field(default_factory=lambda: np.empty(0))
    captured: list[Captured] = field(default_factory=list)
    rate_error: float = float("nan")

    @property
    def average_precision(self) -> float:
        """Mean over the defect classes: all but the first."""
        return float(np.nanmean(self.by_class[1:]))


class Learner:
    """The everyday fit for one set and split.

    Args:
        images: The set.
        parts: Its rows.
        seed: Of every fit.
        labels: int [all rows], what people say; default the truth.
    """

    def __init__(self, images: EmbeddedSet, parts: Parts, seed: int, labels: Rows | None = None) -> None:
        self.images, self.parts, self.seed = images, parts, seed
        self.labels = images.labels if labels is None else labels
        first = self.request(NONE, np.empty(0), NONE)
        scored = score_examples(first)
        self._anomaly = np.zeros(len(images.labels), dtype=np.float32)
        rest = np.concatenate([parts.stream, parts.holdout])
        self._anomaly[parts.factory] = scored.scores
        self._anomaly[rest] = scored.bank.score(images.patches[rest])
        self._first: Learnt | None = None

    def request(self, labelled: Rows, p: Floats, captured: Rows) -> FitRequest:
        """The request of a fit."""
        return self.images.request(self.parts.factory, labelled, p, captured, self.seed, labels=self.labels)

    def learn(self, labelled: Rows, p: Floats, captured: Rows) -> Learnt:
        """What is learnt from some labels; before the first one it is the same in every story."""
        if not len(labelled) and not len(captured):
            if self._first is None:
                self._first = learn(self.request(labelled, p, captured), self._anomaly[self.parts.factory])
            return self._first
        rows = np.concatenate([self.parts.factory, labelled])
        return learn(self.request(labelled, p, captured), self._anomaly[rows])

    def answers(self, learnt: Learnt, rows: Rows) -> Floats:
        """float64 [n, K], by what was learnt."""
        return learnt.head.probabilities(self.images.features[rows], self._anomaly[rows]).astype(np.float64)

    def anomaly(self, rows: Rows) -> NDArray[np.float32]:
        """float32 [n], by the factory's bank."""
        return self._anomaly[rows]

    def measure(self, labelled: Rows, p: Floats, captured: Rows) -> Floats:
        """Average precision of each class on the holdout, float64 [K]; nan where the holdout has none."""
        rows = self.parts.holdout
        found = self.answers(self.learn(labelled, p, captured), rows)
        truth = self.images.labels[rows]
        return np.array(
            [
                average_precision_score(truth == k, found[:, k]) if (truth == k).any() else np.nan
                for k in range(len(self.images.classes))
            ]
        )


#: From (probabilities, anomaly, w, p₁, embeddings, labelled embeddings, their labels, labels by class) to scores.
Scores = Callable[[Candidates, Labelled, Inspection, int], Floats]


def queue_scores(mix: Mix) -> Scores:
    """The scores of the product's plan, by a mix."""

    def scores(candidates: Candidates, labelled: Labelled, info: Inspection, seed: int) -> Floats:
        return mix_scores(signals_of(candidates, labelled, info, seed=seed), candidates.p1, mix).scores

    return scores


def tell_queue(learner: Learner, budget: float, scores: Scores, seed: int, *, chosen_share: float) -> Story:
    """The product's own story: capture, a draw with logged probabilities, and what is chosen (rules 1 and 2)."""
    images, parts = learner.images, learner.parts
    random = np.random.default_rng([seed, 1])
    weigher = Weigher(audit_share=AUDIT, random=random)
    info = Inspection(name="benchmark", classes=images.classes)
    trains = random.random(len(images.labels)) >= HELD_OUT
    story, kept, streamed = Story(), NONE, 0
    doubts, frames = np.empty(0), np.empty(0)
    for part in parts.rounds:
        learnt = learner.learn(story.labelled, story.p, kept)
        weights = _weigh(learner, learnt, part, weigher)
        streamed += len(part)
        n = max(1, round(budget * streamed) - len(story.labelled))
        first = priority_sample(weights.tolist(), _u(random, len(part)), max(n, round(CAPTURED * len(part))))
        chosen = np.flatnonzero(first.drawn)
        captured = Captured(rows=part[chosen], p1=first.p[chosen], weights=weights[chosen])
        counts = np.bincount(
            learner.labels[np.concatenate([parts.factory, story.labelled])], minlength=len(images.classes)
        ).astype(np.float64)
        candidates = Candidates(
            probabilities=learner.answers(learnt, captured.rows),
            anomaly=learner.anomaly(captured.rows).astype(np.float64),
            weights=captured.weights,
            p1=captured.p1,
            embeddings=list(images.embeddings(captured.rows)),
            blocks=[()] * len(chosen),
        )
        labelled = Labelled(
            labels=learner.labels[story.labelled],
            embeddings=list(images.embeddings(story.labelled)) if len(story.labelled) else [],
            counts=counts,
        )
        score = scores(candidates, labelled, info, seed)
        choices = min(int(chosen_share * n + random.random()), n - 1)
        second = priority_sample(score.tolist(), _u(random, len(score)), n - choices)
        drawn = second.order[: n - choices]
        story.labelled = np.concatenate([story.labelled, captured.rows[drawn]])
        story.p = np.concatenate([story.p, captured.p1[drawn] * second.p[drawn]])
        story.captured.append(captured)
        kept = np.concatenate([kept, captured.rows])
        doubts = np.concatenate([doubts, doubt(candidates.probabilities, candidates.anomaly, images.classes)])
        frames = np.concatenate([frames, 1.0 / captured.p1])
        known = np.isin(kept, story.labelled)
        gained = choose_by_gain(
            images.embeddings(kept), doubts, frames, known=known, choosable=trains[kept] & ~known, n=choices
        )
        story.labelled = np.concatenate([story.labelled, kept[gained.chosen]])
        story.p = np.concatenate([story.p, np.full(len(gained.chosen), np.nan)])
    story.by_class = learner.measure(story.labelled, story.p, kept)
    story.rate_error = rate_error(learner, story)
    return story


def rate_error(learner: Learner, story: Story) -> float:
    """Horvitz–Thompson's estimate of the stream's share of defects, less the share."""
    told = np.isfinite(story.p)
    stream = learner.parts.stream
    found = float(((learner.images.labels[story.labelled[told]] > 0) / story.p[told]).sum())
    return found / len(stream) - float((learner.images.labels[stream] > 0).mean())


def tell_peer(
    learner: Learner, budget: float, strategy: Strategy, captured: Sequence[Captured], seed: int, *, needs_engine: bool
) -> Story:
    """A peer's story on a captured stream; `needs_engine` is whether it looks at probabilities at all."""
    images = learner.images
    random = np.random.default_rng([seed, 2])
    story, kept, streamed = Story(), NONE, 0
    for part, found in zip(learner.parts.rounds, captured, strict=True):
        streamed += len(part)
        pool_rows = np.setdiff1d(np.concatenate([kept, found.rows]), story.labelled)
        if needs_engine:
            learnt = learner.learn(story.labelled, story.p, kept)
            probabilities = learner.answers(learnt, pool_rows)
        else:
            probabilities = np.full((len(pool_rows), len(images.classes)), 1 / len(images.classes))
        pool = Pool(
            embeddings=images.embeddings(pool_rows),
            probabilities=probabilities,
            labelled=images.embeddings(story.labelled),
            labels=learner.labels[story.labelled],
        )
        n = max(1, round(budget * streamed) - len(story.labelled))
        story.labelled = np.concatenate([story.labelled, pool_rows[strategy(pool, n, random)]])
        story.p = np.full(len(story.labelled), np.nan)
        kept = np.concatenate([kept, found.rows])
    story.by_class = learner.measure(story.labelled, story.p, kept)
    return story


def tell_random(learner: Learner, budget: float, seed: int, *, captured: Rows = NONE) -> Story:
    """Random labels from the whole stream; a budget of 1 labels everything."""
    stream = learner.parts.stream
    n = max(1, round(budget * len(stream)))
    rows = np.random.default_rng([seed, 3]).permutation(stream)[:n]
    story = Story(labelled=rows, p=np.full(n, n / len(stream)))
    seen = captured if len(captured) else stream[: round(CAPTURED * len(stream))]
    story.by_class = learner.measure(rows, story.p, np.union1d(seen, rows))
    story.rate_error = rate_error(learner, story)
    return story


def _weigh(learner: Learner, learnt: Learnt, rows: Rows, weigher: Weigher) -> Floats:
    """Weights of frames in the order they stream, by the device's own weigher."""
    images = learner.images
    metadata = EngineMetadata(
        engine_id="benchmark",
        inspection="benchmark",
        classes=images.classes,
        thresholds=learnt.thresholds,
        training_prior=tuple(float(share) for share in learnt.prior),
        embedding_id=images.trunk.id,
    )
    answers, anomaly = learner.answers(learnt, rows).tolist(), learner.anomaly(rows).tolist()
    return np.array(
        [
            weigher.weigh(probabilities=p, anomaly=a, embedding=e, metadata=metadata, k=1).weight
            for p, a, e in zip(answers, anomaly, images.embeddings(rows), strict=True)
        ]
    )


def _u(random: np.random.Generator, n: int) -> list[float]:
    found: list[float] = (1.0 - random.random(n)).tolist()
    return found
