"""Which plan to train by: every candidate is tried on folds of the training data, and the table is kept.

1. Folds never split a group; each example is predicted only by heads that have not seen it or its group.
2. The measure is the inspection's own (`goal`): on field examples once there are enough of them to tell plans apart, on
   all examples before. Probabilities are moved to the class shares of the frames to come first, as the engine's are.
3. First regularisation and field weight are chosen with class weights, then the other rebalancings are tried at that
   point, then the leader's regularisation goes up or down the `LADDER` for as long as that leads. The whole grid would
   cost ten times as much; regularisation matters more than anything else at few labels.
4. Every candidate is tried on one deal of folds; only the `FINALISTS` of a step, and the default, on the second
   (successive halving, Jamieson & Talwalkar 2016). Plans that were tried on both alone can be chosen.
5. A plan must lead the default by one standard error of the lead (bootstrap over groups), or by `MARGIN` where that is
   less: with a hundred field labels, smaller leads are noise of the folds.
6. Plans that find the same head are tried once, and the row says for whom it stands.
7. Examples that the trunk was trained on teach every head and judge none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.bootstrap import resampled_counts
from training.calibration import calibrated, fit_temperature, prior_shift
from training.examples import Examples
from training.folds import group_folds
from training.goal import Goal, PlanMeasure
from training.head import LinearHead, fit_head
from training.plan_measures import WORDS, Answers, plan_measures
from training.prior import population_weight, target_prior
from training.rebalance import IN_THE_LOSS, Balanced, Rebalance, rebalance
from training.space import FeatureSpace, learn_space

LADDER = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
REGULARISATIONS = LADDER[:4]  # tried first; some hundred field labels need no weaker ones
FIELD_WEIGHTS = (1.0, 3.0, 8.0)
FOLDS = 5
REPEATS = 2  # a few labels make folds noisy: deal them twice
MARGIN = 0.02
FINALISTS = 2  # of a step, tried on the second deal
_RESAMPLES = 100  # enough for a standard error
#: Field examples of each side from which the field alone decides.
_ENOUGH_FIELD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train.

    Attributes:
        rebalance: How rare classes are made to count.
        regularisation: C of the logistic regression; smaller is stronger.
        field_weight: What a field example counts against a factory example.
    """

    rebalance: Rebalance
    regularisation: float
    field_weight: float

    def __str__(self) -> str:
        """Return for example `class_weights C=0.001 field×3`."""
        return f"{self.rebalance.value} C={self.regularisation:g} field×{self.field_weight:g}"


DEFAULT = Plan(rebalance=Rebalance.CLASS_WEIGHTS, regularisation=1e-3, field_weight=3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanScore:
    """One row of the table.

    Attributes:
        plan: What was tried.
        score: The mean over repeats; higher is better.
        repeats: The measure on each deal of folds.
        note: Where it could not do what it is named for, or for whom it stands.
    """

    plan: Plan
    score: float
    repeats: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The plan and how it was chosen.

    Attributes:
        plan: The winner.
        table: Every plan tried with its score, best first; those that left the race after the first deal come last.
        measure: What the score is, and on which examples.
        prior: float [K], the class shares that the winner's logits speak for.
        oof: float64 [n, K], the winner's out-of-fold logits, mean over repeats.
        space: The coordinates all plans share.
        anomaly: float32 [n], the examples' anomaly scores.
    """

    plan: Plan
    table: tuple[PlanScore, ...]
    measure: str
    prior: NDArray[np.float64]
    oof: NDArray[np.float64]
    space: FeatureSpace
    anomaly: NDArray[np.float32]


def choose_plan(
    examples: Examples,
    classes: Sequence[ClassInfo],
    seed: int,
    *,
    anomaly: NDArray[np.float32],
    unlabelled: NDArray[np.float32] | None = None,
    plans: Sequence[Plan] | None = None,
    goal: Goal | None = None,
) -> Chosen:
    """Try plans and choose.

    Args:
        examples: The training data; at least two classes with an example.
        classes: K classes in label order.
        seed: Of folds and of what rebalancing draws.
        anomaly: float32 [n], the examples' anomaly scores by banks that have not seen them.
        unlabelled: float32 [m, D], features of captured frames without a label.
        plans: Only these, instead of the steps of rule 3.
        goal: Whose measure decides; default the mean average precision of the defect classes.
    """
    search = _Search(_Trial(examples, classes, seed, anomaly, unlabelled, goal or Goal()))
    if plans is None:
        weights = FIELD_WEIGHTS if examples.field.any() and not examples.field.all() else (DEFAULT.field_weight,)
        found = search.step(
            [
                DEFAULT,
                *(
                    Plan(rebalance=DEFAULT.rebalance, regularisation=c, field_weight=w)
                    for w in weights
                    for c in REGULARISATIONS
                ),
            ]
        )
        plan = search.step([replace(found, rebalance=how) for how in distinct(len(classes))])
        while beside := search.untried_beside(search.leader):
            plan = search.step(beside)
    else:
        plan = search.step(plans)
    trial = search.trial
    return Chosen(
        plan=plan,
        table=search.table(),
        measure=trial.measure,
        prior=trial.balanced(plan, np.ones(len(examples), dtype=bool)).prior,
        oof=search.logits(plan),
        space=trial.space,
        anomaly=anomaly,
    )


def distinct(classes: int) -> tuple[Rebalance, ...]:
    """Return the rebalancings that can find different heads with K classes.

    A constant added to a class's logits, in the loss or afterwards, only moves the intercept, and after the move to the
    field's class shares all say the same: `none` stands for them. With two classes a representation of K coordinates is
    one direction, which re-training can only stretch.
    """
    same = {*IN_THE_LOSS, Rebalance.LOGIT_ADJUSTMENT_POST_HOC, *([Rebalance.CRT] if classes == 2 else [])}
    return tuple(how for how in Rebalance if how not in same)


def field_decides(examples: Examples, classes: Sequence[ClassInfo]) -> bool:
    """Return whether there are enough field examples of each side for the field alone to decide (rule 2)."""
    truth = np.array([info.kind is Kind.DEFECT for info in classes])[examples.labels]
    field = examples.field & examples.speaks
    return bool(min((truth & field).sum(), (~truth & field).sum()) >= _ENOUGH_FIELD)


def judged_rows(examples: Examples, classes: Sequence[ClassInfo]) -> NDArray[np.bool_]:
    """Return bool [n], the examples that decide: the field's, once there are enough, of those that may judge."""
    return examples.field & examples.speaks if field_decides(examples, classes) else examples.speaks


def train_head(examples: Examples, chosen: Chosen, *, classes: int, seed: int) -> LinearHead:
    """Train the chosen plan on all examples; the head is over `chosen.space`."""
    coordinates = chosen.space.project(examples.features, chosen.anomaly)
    plan = chosen.plan
    data = rebalance(plan.rebalance, coordinates, examples.labels, _weight(examples, plan), classes=classes, seed=seed)
    if plan.rebalance in IN_THE_LOSS:
        # The same minimum by Lightning; folds take the short way, since it takes seconds to import.
        from training.lightning_head import fit_lightning_head

        return fit_lightning_head(data, regularisation=plan.regularisation, classes=classes)
    return fit_head(data, regularisation=plan.regularisation, classes=classes)


@dataclass(slots=True)
class _Tried:
    """What is known of one plan so far: out-of-fold logits and their measure, for each deal of folds."""

    logits: list[NDArray[np.float64]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


class _Search:
    def __init__(self, trial: _Trial) -> None:
        self.trial = trial
        self._tried: dict[Plan, _Tried] = {}

    def step(self, candidates: Sequence[Plan]) -> Plan:
        """Try candidates (rule 4) and return the best plan so far (rule 5)."""
        for plan in candidates:
            self._deal(plan, 1)
        ranked = sorted(dict.fromkeys(candidates), key=lambda plan: -self._tried[plan].scores[0])
        for plan in ranked[:FINALISTS]:
            self._deal(plan, REPEATS)
        if DEFAULT in candidates:
            self._deal(DEFAULT, REPEATS)
        best = self.leader
        default_tried = DEFAULT in self._tried and len(self._tried[DEFAULT].scores) == REPEATS
        if default_tried and best != DEFAULT and not self._leads(best):
            return DEFAULT
        return best

    @property
    def leader(self) -> Plan:
        """Return the plan with the best mean over both deals, chance or not."""
        full = [plan for plan, tried in self._tried.items() if len(tried.scores) == REPEATS]
        return max(full, key=lambda plan: self._tried[plan].mean)

    def untried_beside(self, plan: Plan) -> list[Plan]:
        """Return the plan at the regularisations next to its own, where those were not tried."""
        rung = LADDER.index(plan.regularisation)
        beside = [replace(plan, regularisation=c) for c in LADDER[max(0, rung - 1) : rung + 2]]
        return [other for other in beside if other not in self._tried]

    def table(self) -> tuple[PlanScore, ...]:
        """Return every plan tried, best first; those that left the race after the first deal come last."""
        rows = [
            PlanScore(plan=plan, score=tried.mean, repeats=tuple(tried.scores), note=tried.note)
            for plan, tried in self._tried.items()
        ]
        return tuple(sorted(rows, key=lambda row: (-len(row.repeats), -row.score)))

    def logits(self, plan: Plan) -> NDArray[np.float64]:
        """Return the plan's out-of-fold logits, mean over deals."""
        return np.asarray(np.mean(self._tried[plan].logits, axis=0), dtype=np.float64)

    def _deal(self, plan: Plan, deals: int) -> None:
        tried = self._tried.setdefault(plan, _Tried())
        while len(tried.scores) < deals:
            logits, tried.note = self.trial.out_of_fold(plan, len(tried.scores))
            tried.logits.append(logits)
            tried.scores.append(self.trial.score(plan, logits))

    def _leads(self, plan: Plan) -> bool:
        lead = self._tried[plan].mean - self._tried[DEFAULT].mean
        if lead >= MARGIN and self.trial.measured_in_shares:
            return True
        return lead > self.trial.standard_error(
            (plan, self._tried[plan].logits), (DEFAULT, self._tried[DEFAULT].logits)
        )


class _Trial:
    def __init__(
        self,
        examples: Examples,
        classes: Sequence[ClassInfo],
        seed: int,
        anomaly: NDArray[np.float32],
        unlabelled: NDArray[np.float32] | None,
        goal: Goal,
    ) -> None:
        none = np.empty((0, examples.features.shape[1]), dtype=np.float32)
        self.space = learn_space(examples.features, anomaly, examples.field, none if unlabelled is None else unlabelled)
        self._coordinates = self.space.project(examples.features, anomaly)
        self._examples = examples
        self._classes = tuple(classes)
        self._seed = seed
        self._goal = goal
        strata = examples.labels * 2 + examples.field
        self._folds = [
            group_folds(examples.groups, strata, folds=FOLDS, seed=seed + repeat) for repeat in range(REPEATS)
        ]
        self._judged = judged_rows(examples, classes)
        where = "field" if field_decides(examples, classes) else "all"
        self.measure = f"{WORDS[goal.measure]}, out of fold, on {self._judged.sum()} {where} examples"
        self.measured_in_shares = goal.measure is not PlanMeasure.EXPECTED_COST
        self._target = target_prior(examples, len(classes))
        frames = population_weight(examples)
        self._frames = np.where(frames > 0, frames, frames[frames > 0].min())
        self._priors: dict[Plan, NDArray[np.float64]] = {}
        self._heads: dict[tuple[int, int], LinearHead] = {}

    def balanced(self, plan: Plan, rows: NDArray[np.bool_]) -> Balanced:
        """Rebalance some of the examples by a plan."""
        return rebalance(
            plan.rebalance,
            self._coordinates[rows],
            self._examples.labels[rows],
            _weight(self._examples, plan)[rows],
            classes=len(self._classes),
            seed=self._seed,
        )

    def out_of_fold(self, plan: Plan, deal: int) -> tuple[NDArray[np.float64], str]:
        """Return logits [n, K], each by a head that has not seen the example's group, and what there is to note."""
        folds = self._folds[deal]
        logits = np.zeros((len(folds), len(self._classes)))
        parts = [folds == fold for fold in range(folds.max() + 1)]
        if len(parts) < 2:  # one group: nothing can be held out, so nothing is known
            self._priors[plan] = np.zeros(len(self._classes))
            return logits, "one group: nothing can be held out"
        notes: dict[str, None] = {}
        prior = np.zeros(len(self._classes))
        for number, held in enumerate(parts):
            data = self.balanced(plan, ~held)
            head = fit_head(
                data,
                regularisation=plan.regularisation,
                classes=len(self._classes),
                start=self._heads.get((deal, number)),
            )
            self._heads.setdefault((deal, number), head)  # the first candidate's, with classes weighing the same
            logits[held] = head.logits(self._coordinates[held])
            prior = np.maximum(prior, data.prior)  # a class of one is missing where it is held out
            notes |= {f"{self._classes[f.label].name} {f.what}": None for f in data.fallbacks}
        self._priors[plan] = prior / prior.sum()
        if plan.rebalance is Rebalance.NONE:
            notes["stands for balanced_softmax and logit_adjustment in the loss and after it"] = None
        return logits, "; ".join(notes)

    def score(self, plan: Plan, logits: NDArray[np.float64]) -> float:
        """Return the measure of one deal's logits."""
        answers = self._answers(plan, logits)
        return float(plan_measures(self._goal, self._classes, answers, np.ones((1, len(answers.labels))))[0])

    def standard_error(
        self, one: tuple[Plan, list[NDArray[np.float64]]], other: tuple[Plan, list[NDArray[np.float64]]]
    ) -> float:
        """Return that of the difference of two plans' measures, over groups."""
        labels, groups = self._examples.labels[self._judged], self._examples.groups[self._judged]
        counts = np.concatenate(list(resampled_counts(labels, resamples=_RESAMPLES, seed=self._seed, groups=groups)))
        means = [
            np.mean(
                [plan_measures(self._goal, self._classes, self._answers(plan, deal), counts) for deal in deals], axis=0
            )
            for plan, deals in (one, other)
        ]
        return float(np.std(means[0] - means[1], ddof=1))

    def _answers(self, plan: Plan, logits: NDArray[np.float64]) -> Answers:
        rows, speaks = self._judged, self._examples.speaks
        labels, shift = self._examples.labels, prior_shift(self._priors[plan], self._target)
        # A rank needs no temperature; what a frame is expected to cost does.
        sure = self._goal.measure is PlanMeasure.EXPECTED_COST
        temperature = fit_temperature(logits[speaks], labels[speaks], self._frames[speaks], shift) if sure else 1.0
        return Answers(
            probabilities=calibrated(logits[rows], temperature, shift),
            labels=labels[rows],
            prior=self._target,
            frames=self._frames[rows],
        )


def _weight(examples: Examples, plan: Plan) -> NDArray[np.float64]:
    return np.where(examples.field, plan.field_weight, 1.0)
