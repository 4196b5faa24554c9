"""What an engine does in the field: defect rate, recall and precision, over all frames, by class, station and device.

1. The rate is the share of frames that are defects. Recall is the share of the defects that the engine did not pass:
   its verdict was `defect`, or `unsure`, which a person looks at. Precision is the share of defects among the
   frames whose verdict was `defect`.
2. Of a class: the share of frames that are of it; of those, the share that was not passed, whatever they were taken
   for; and among the frames that were rejected as that class, the share that is of it.
3. Every figure is estimated twice: from the labelled frames alone (`plain`), and with what the window records say of
   all frames (`difference`, :mod:`data.difference`), where they do. Precision by difference needs every record to tell.
4. Near-duplicates that were drawn together and say the same are one label (:func:`units`); n counts it once.
5. Where truth comes from outcomes that name no class, and there are several classes of defects, nothing is said by
   class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.catalog import Catalog
from data.current_labels import current_labels
from data.difference import (
    Auxiliary,
    Total,
    effective_n,
    estimate_total,
    presumed,
    share_of,
    sum_of,
)
from data.estimates import field_samples_by
from data.field_sample import FieldSample, LabelledSample
from data.inspections import inspection_in
from data.intervals import Estimate, typical_weight
from data.known_frames import VERDICTS, Cell
from data.outcomes import NO_OUTCOMES, Contradiction, contradictions, outcomes_in
from data.policy import OutcomePolicy

_OK, _UNSURE, _DEFECT = range(len(VERDICTS))
_STOPPED = (_UNSURE, _DEFECT)
_FEW = 3.7  # of an event that a sample did not meet there are fewer than so many typical weights (97.5 %)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number, estimated without and with what is known of all frames; None where that is not known."""

    plain: Estimate
    difference: Estimate | None = None

    @property
    def best(self) -> Estimate:
        """What people are shown first."""
        return self.difference or self.plain

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"plain": self.plain.to_dict(), "difference": self.difference.to_dict() if self.difference else None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The figures of a part of the field.

    Attributes:
        by: ``all``, ``class``, ``station`` or ``device``.
        name: Which class, station or device.
        frames: N, that the rate speaks about.
        labelled: Frames whose truth counts.
        by_outcome: Of them, by an outcome instead of a person.
        found: Defects (of the class) among them.
        nonresponse: Share of the frames that nobody can speak for.
        missed: What may be said of defects that were passed, in words.
    """

    by: str
    name: str
    frames: int
    labelled: int
    by_outcome: int
    found: int
    nonresponse: float
    rate: Figure
    recall: Figure
    precision: Figure
    missed: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, **{name: getattr(self, name).to_dict() for name in ("rate", "recall", "precision")}}


_PLAIN = ("by", "name", "frames", "labelled", "by_outcome", "found", "nonresponse", "missed")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMeasures:
    """All of them, and what was found about outcomes.

    Attributes:
        rows: Over all frames first.
        contradictions: Parts of which an outcome says the opposite of the label or outcome that counts.
        selected_outcomes: Samples whose outcome is of a stage that reports some parts: no estimate uses them.
        unread_outcomes: Outcomes whose value says nothing by the policy, by value.
    """

    inspection: str
    rows: tuple[Measures, ...]
    contradictions: tuple[Contradiction, ...] = ()
    selected_outcomes: int = 0
    unread_outcomes: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        names = ("sample_id", "part_id", "first", "first_defect", "stage", "value")
        return {
            "measures": [row.to_dict() for row in self.rows],
            "contradictions": [{name: getattr(found, name) for name in names} for found in self.contradictions],
            "selected_outcomes": self.selected_outcomes,
            "unread_outcomes": dict(self.unread_outcomes),
        }


def field_measures(
    catalog: Catalog,
    inspection: str,
    *,
    outcomes: OutcomePolicy | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    level: float = 0.95,
) -> FieldMeasures:
    """The figures of one inspection.

    Args:
        catalog: The catalog.
        inspection: Its name.
        outcomes: Which outcomes count as truth; default none.
        since: Only windows opened at or after.
        until: Only windows opened before.
        level: Coverage.

    Raises:
        InspectionError: unknown inspection.
    """
    samples = field_samples_by(catalog, inspection, since=since, until=until, outcomes=outcomes)
    labels = current_labels(catalog, inspection=inspection)
    with catalog.reading() as session:
        info = inspection_in(session, inspection)
        reported = outcomes_in(session, info, outcomes) if outcomes is not None else NO_OUTCOMES
        contrary = contradictions(info, reported, labels)
    rows = [measures_of(samples["all", ""], level=level)]
    defects = [name for name in info.class_names if name in info.defect_names]
    if len(defects) > 1:
        rows += [measures_of(samples["all", ""], of_class=name, level=level) for name in defects]
    rows += [
        measures_of(sample, by=by, name=name, level=level) for (by, name), sample in samples.items() if by != "all"
    ]
    return FieldMeasures(
        inspection=inspection,
        rows=tuple(rows),
        contradictions=tuple(contrary),
        selected_outcomes=reported.selected,
        unread_outcomes=dict(reported.unread),
    )


def measures_of(
    sample: FieldSample, *, by: str = "all", name: str = "", of_class: str | None = None, level: float = 0.95
) -> Measures:
    """The figures of one labelled sample.

    Args:
        sample: What is known.
        by: What it is a part of.
        name: Which part.
        of_class: Speak of this class of defects; default of all.
        level: Coverage.
    """
    truth = Truth.of(sample, of_class)
    unclear = of_class is not None and any(item.defect and not item.label for item in sample.samples)
    if unclear:
        truth = truth.some(np.zeros(len(truth.y), dtype=np.bool_))  # rule 5
    alone, passed = truth.plain(), truth.verdict == _OK
    return Measures(
        by=by if of_class is None else "class",
        name=name if of_class is None else of_class,
        frames=sample.population,
        labelled=len(truth.y),
        by_outcome=0 if unclear else sum(1 for item in sample.samples if item.by_outcome),
        found=int(truth.y.sum()),
        nonresponse=sample.nonresponse,
        rate=Figure(plain=rate_of(alone, level), difference=rate_of(truth, level) if truth.told else None),
        recall=Figure(plain=recall_of(alone, level), difference=recall_of(truth, level) if truth.told else None),
        precision=Figure(
            plain=precision_of(alone, level),
            difference=precision_of(truth, level) if truth.told and truth.rejected is not None else None,
        ),
        missed=missed_in_words(truth.y[passed], truth.p[passed]),
    )


def missed_in_words(y: NDArray[np.float64], p: NDArray[np.float64]) -> str:
    """What may be said of misses among passed frames that were checked, drawn with probabilities p.

    Where none is found the bound is three over the n that a draw with equal probabilities would need (Kish).

    >>> missed_in_words(np.zeros(300), np.full(300, 0.1))
    'no miss found in 300 passed frames checked: fewer than 1 % of passed frames missed (95 %)'
    >>> missed_in_words(np.zeros(2), np.full(2, 0.1))
    'no miss found in 2 passed frames checked: too few to say how many are missed'
    """
    n, found = len(y), int(y.sum())
    if n == 0:
        return "no passed frame was checked yet"
    if found:
        return f"{found} of {n} passed frames checked were misses"
    equal = effective_n(p)
    if equal == float("inf"):
        return f"no miss found: all {n} passed frames were checked"
    worth = "" if equal > 0.95 * n else f", worth {equal:.0f} drawn alike"
    if equal <= 3:
        return f"no miss found in {n} passed frames checked{worth}: too few to say how many are missed"
    bound = f"{min(99.0, 300 / equal):.2g}"
    return f"no miss found in {n} passed frames checked{worth}: fewer than {bound} % of passed frames missed (95 %)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A labelled sample as numbers.

    Attributes:
        y: 1 for a defect (of the class), [n].
        verdict: Index into `VERDICTS`, [n].
        called: Whether the frame was rejected (as that class), [n].
        score: m, 0 where its frame is not told, [n].
        totals: M by verdict, over all frames that are told.
        told: Whether any are.
        passed: Frames that were passed, if all are told.
        rejected: Frames that were rejected (as that class), if all are told.
    """

    y: NDArray[np.float64]
    p: NDArray[np.float64]
    verdict: NDArray[np.int64]
    called: NDArray[np.bool_]
    score: NDArray[np.float64]
    totals: NDArray[np.float64]
    told: bool
    population: int
    passed: int | None
    rejected: int | None

    @staticmethod
    def of(sample: FieldSample, of_class: str | None = None) -> Truth:
        """Of a labelled sample; of one class of defects alone if it is named."""
        defects = sample.inspection.defect_names

        def score(cell: Cell | None) -> float:
            if cell is None:
                return 0.0
            alone = of_class is None or cell.likeliest == of_class or (not cell.likeliest and len(defects) == 1)
            return cell.score if alone else 0.0

        def called(verdict: str | None, likeliest: str) -> bool:
            return verdict == "defect" and (of_class is None or likeliest == of_class)

        totals = np.zeros(len(VERDICTS))
        for cell, frames in sample.known.items():
            totals[VERDICTS.index(cell.verdict)] += frames * score(cell)
        by_class = all(cell.likeliest for cell in sample.known) or of_class is None
        told = bool(sample.known) and sample.known_frames == sample.population
        items: Sequence[LabelledSample] = sample.samples
        y = np.array([float(_is(item, of_class)) for item in items], dtype=np.float64)
        verdict = np.array([_index(item.verdict) for item in items], dtype=np.int64)
        rejected = np.array([called(item.verdict, item.likeliest) for item in items], dtype=np.bool_)
        scores = np.array([score(item.cell) for item in items], dtype=np.float64)
        first, p, m = units(items, y, verdict, rejected, scores)
        return Truth(
            y=y[first],
            p=p,
            verdict=verdict[first],
            called=rejected[first],
            score=m,
            totals=totals,
            told=bool(sample.known),
            population=sample.population,
            passed=sum(n for cell, n in sample.known.items() if cell.verdict == "ok") if told else None,
            rejected=sum(n for cell, n in sample.known.items() if called(cell.verdict, cell.likeliest))
            if told and by_class
            else None,
        )

    @property
    def known(self) -> Auxiliary | None:
        """What the difference estimator uses; None if nothing is told."""
        return Auxiliary(score=self.score, group=self.verdict, totals=self.totals) if self.told else None

    def some(self, here: NDArray[np.bool_]) -> Truth:
        """A part of the labelled frames."""
        return replace(
            self, y=self.y[here], p=self.p[here], verdict=self.verdict[here], called=self.called[here],
            score=self.score[here],
        )  # fmt: skip

    def plain(self) -> Truth:
        """The same without knowledge of all frames."""
        return replace(
            self, score=np.zeros_like(self.score), totals=np.zeros_like(self.totals), told=False, passed=None,
            rejected=None,
        )  # fmt: skip


def units(
    items: Sequence[LabelledSample],
    y: NDArray[np.float64],
    verdict: NDArray[np.int64],
    called: NDArray[np.bool_],
    score: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Near-duplicates that were drawn together and say the same, as one label each.

    A unit weighs W, what its frames weigh together, so totals stay unbiased; with p = 1/W its term W² − W of the
    variance is at least the true one, W²(1−p₂) + Σ (1−p₁)/p₁² / p₂ (:mod:`data.cluster_sampling`), since Σ 1/p₁² is at
    most (Σ 1/p₁)².

    Returns:
        int [m], a row of each unit; float64 [m], its p; float64 [m], its mean score by weight.
    """
    names = [
        f"{item.group} {a:g} {b} {c}" if item.p2 < 1 else item.sample_id
        for item, a, b, c in zip(items, y, verdict, called, strict=True)
    ]
    _, first, unit = np.unique(np.array(names, dtype=np.str_), return_index=True, return_inverse=True)
    weight = 1 / np.array([item.p for item in items], dtype=np.float64)
    together = np.bincount(unit, weights=weight, minlength=len(first))
    scored = np.bincount(unit, weights=weight * score, minlength=len(first))
    return first, np.minimum(1.0, 1 / together), scored / together


def rate_of(truth: Truth, level: float = 0.95) -> Estimate:
    """Share of defects among all frames: what was stopped and what was passed are estimated apart."""
    n, frames = len(truth.y), truth.population
    if n == 0 or frames <= 0:
        return Estimate(value=float("nan"), low=0.0, high=1.0, n=n, population=frames, level=level)
    passed = truth.verdict == _OK
    if truth.passed is None and (passed.all() or not passed.any()):  # nothing tells how many there are of the others
        total = estimate_total(truth.y, truth.p, size=frames, known=truth.known, level=level)
    else:
        stopped = _side(truth, _STOPPED, level)
        unseen = presumed(stopped, truth.p[passed], level)
        total = sum_of([stopped, _side(truth, (_OK,), level, unseen=unseen)])
    possible = frames - float(np.count_nonzero(truth.y == 0))
    return _as_share(total, frames, possible / frames, n=n, population=frames, level=level)


def recall_of(truth: Truth, level: float = 0.95) -> Estimate:
    """Share of the defects that were stopped; its interval is conservative, nothing is presumed of misses."""
    found, frames = int(np.count_nonzero(truth.y)), truth.population
    if found == 0:
        return Estimate(value=float("nan"), low=0.0, high=1.0, n=0, population=frames, level=level)
    value, low, high = share_of(_side(truth, _STOPPED, level, careful=True), _side(truth, (_OK,), level, careful=True))
    return Estimate(value=value, low=low, high=high, n=found, population=frames, level=level)


def precision_of(truth: Truth, level: float = 0.95) -> Estimate:
    """Share of defects among the rejected frames; its interval is conservative.

    Without knowledge of all frames the number of rejected ones is estimated too: a ratio, whose residuals are those of
    a score of 1 with that number as its total.
    """
    called = truth.some(truth.called)
    n = len(called.y)
    told = truth.told and truth.rejected is not None
    frames = float(truth.rejected or 0) if told else float(np.sum(1 / called.p))
    if n == 0 or frames <= 0:
        return Estimate(value=float("nan"), low=0.0, high=1.0, n=n, population=truth.rejected or 0, level=level)
    known = Auxiliary(
        score=called.score if told else np.ones(n),
        group=np.zeros(n, dtype=np.int64),
        totals=np.array([truth.totals[_DEFECT] if told else frames]),
    )
    total = estimate_total(called.y, called.p, size=frames, known=known, level=level, careful=True)
    possible = 1.0 - float(np.count_nonzero(called.y == 0)) / max(frames, n)
    return _as_share(total, frames, possible, n=n, population=round(frames), level=level)


def _side(
    truth: Truth, verdicts: Sequence[int], level: float, *, unseen: float | None = None, careful: bool = False
) -> Total:
    """The defects among the frames of some verdicts."""
    here = truth.some(np.isin(truth.verdict, verdicts))
    known = None
    if truth.told:
        totals = np.where(np.isin(np.arange(len(VERDICTS)), verdicts), truth.totals, 0.0)
        known = Auxiliary(score=here.score, group=here.verdict, totals=totals)
    if truth.passed is not None:
        size = float(truth.passed if _OK in verdicts else truth.population - truth.passed)
    elif len(here.y):
        size = float(np.sum(1 / here.p))
    else:  # none of them was labelled: they are at most some few typical frames
        size = _FEW * typical_weight(truth.p)
    return estimate_total(here.y, here.p, size=size, known=known, unseen=unseen, level=level, careful=careful)


def _as_share(total: Total, size: float, possible: float, *, n: int, population: int, level: float) -> Estimate:
    value = min(max(total.value / size, total.found / size), possible)
    return Estimate(
        value=value,
        low=min(value, max(0.0, total.low / size)),
        high=max(value, min(possible, total.high / size)),
        n=n,
        population=population,
        level=level,
    )


def _is(item: LabelledSample, of_class: str | None) -> bool:
    return item.defect if of_class is None else of_class in item.label


def _index(verdict: str | None) -> int:
    return VERDICTS.index(verdict) if verdict in VERDICTS else _OK
