"""The gate's report: one self-contained page that a person can read and decide by.

Nothing is loaded from elsewhere and nothing runs; every text is escaped by the template. Decisions shown are those of
the device, by each engine's own thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from training.decision import Answer, Decision, Finding, Role
from training.error_budget import ErrorBudget
from training.evaluate import Measure, average_precision, balanced_accuracy, confusion
from training.evidence import Evidence, PairedSet
from training.report_charts import Series, calibration_chart, precision_recall_chart, reliability
from training.report_pictures import flips
from training.report_slices import slice_table

_SENTENCES = {
    Answer.PROMOTE: "Promote: the challenger is better and loses nothing that matters.",
    Answer.REJECT: "Reject: the challenger must not replace the champion.",
    Answer.NOT_ENOUGH: "Not enough evidence: the labels cannot tell yet.",
}
_FIRST = "Promote: the first model of this inspection."
_NO_HARM = "Promote: the challenger is not shown to lose more than its margins; a gain was not asked for."
_NO_GAIN = "Reject: what the challenger gains is not worth a release."
_MOST_CURVES = 12  # classes drawn; the others are in the tables


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """What the page shows of one paired set."""

    title: str
    about: str
    n: int
    measures: list[dict[str, Any]]
    matrices: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    calibration: list[dict[str, Any]]
    slices: list[dict[str, Any]]


def render(
    decision: Decision,
    evidence: Evidence,
    image_of: Callable[[str], bytes],
    *,
    title: str = "Gate report",
    seed: int = 0,
) -> str:
    """Return the page.

    Args:
        decision: What the gate said.
        evidence: What it said it about.
        image_of: Sample id -> encoded image, asked for the few frames that are shown.
        title: Of the page, such as the inspection and the version.
        seed: Of the bootstrap intervals.
    """
    sets = [(name, rows) for name, rows in (("field", evidence.field), ("golden", evidence.golden)) if rows is not None]
    gained, lost = flips(evidence, sets, image_of)
    return (
        _environment()
        .get_template("gate_report.html")
        .render(
            title=title,
            answer=decision.answer.value,
            sentence=sentence_of(decision, evidence),
            reasons=decision.reasons,
            label_more=decision.label_more,
            checks=decision.checks,
            sections=[_section(evidence, name, rows, seed) for name, rows in sets if len(rows)],
            gained=gained,
            lost=lost,
            has_champion=evidence.has_champion,
            budget=None if decision.error_budget is None else _budget(decision.error_budget),
            thresholds=evidence.thresholds,
            alarms=evidence.alarms,
        )
    )


def sentence_of(decision: Decision, evidence: Evidence) -> str:
    """Return the decision in a sentence."""
    if decision.answer is Answer.PROMOTE:
        if not evidence.has_champion:
            return _FIRST
        gains = [c for c in decision.checks if c.role is Role.BETTER and c.finding is Finding.HOLDS]
        return _SENTENCES[decision.answer] if gains else _NO_HARM
    if decision.answer is Answer.REJECT:
        harm = [c for c in decision.checks if c.finding is Finding.FAILS and c.role is not Role.BETTER]
        return _SENTENCES[decision.answer] if harm else _NO_GAIN
    return _SENTENCES[decision.answer]


def _budget(budget: ErrorBudget) -> dict[str, Any]:
    """Return what the series has spent, in percent."""
    return {
        "number": budget.previous + 1,
        "before": 100 * budget.before,
        "share": 100 * budget.share,
        "left": 100 * max(0.0, 1 - budget.before - budget.share),
        "harm": 100 * budget.harm,
        "better": 100 * budget.better,
    }


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("training"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _section(evidence: Evidence, name: str, rows: PairedSet, seed: int) -> _Section:
    about = {
        "field": "Labelled samples from the line. Tables of measures are weighted by 1/probability of having been "
        "captured and labelled, so that they speak of all frames; matrices count samples.",
        "golden": "Factory samples that no model was trained on. What was known must not be forgotten.",
    }[name]
    return _Section(
        title={"field": "Field samples", "golden": "Golden samples"}[name],
        about=about,
        n=len(rows),
        measures=measures_of_both(evidence, rows, seed),
        matrices=_matrices(evidence, rows),
        curves=_curves(evidence, rows),
        calibration=_calibration(evidence, rows),
        slices=slice_table(evidence, rows, seed) if name == "field" else [],
    )


def _models(rows: PairedSet) -> list[tuple[str, NDArray[np.float32]]]:
    champion = [] if rows.champion is None else [("champion", rows.champion)]
    return [*champion, ("challenger", rows.challenger)]


def _decided(evidence: Evidence, rows: PairedSet) -> dict[str, NDArray[np.int64]]:
    before, after = evidence.decided(rows)
    return {**({} if before is None else {"champion": before}), "challenger": after}


def _held(evidence: Evidence, rows: PairedSet) -> dict[str, NDArray[np.float64]]:
    before, after = evidence.held(rows)
    return {**({} if before is None else {"champion": before}), "challenger": after}


def measures_of_both(evidence: Evidence, rows: PairedSet, seed: int) -> list[dict[str, Any]]:
    """Return the table of measures: a name, and the `Measure` of each model."""
    truth = evidence.is_defect(rows.labels)

    def ap(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Measure:
        return average_precision(positive, score, weight=rows.weight, groups=rows.group, seed=seed)

    table = [
        {"name": "average precision of defects", **{who: ap(truth, s) for who, s in _held(evidence, rows).items()}},
        {
            "name": "balanced accuracy over classes, as a device decides",
            **{
                who: balanced_accuracy(rows.labels, said, weight=rows.weight, seed=seed)
                for who, said in _decided(evidence, rows).items()
            },
        },
    ]
    if len(evidence.classes) > 2:
        for k, name in enumerate(evidence.class_names):
            row = {who: ap(rows.labels == k, p[:, k].astype(np.float64)) for who, p in _models(rows)}
            table.append({"name": f"average precision of {name} ({int((rows.labels == k).sum())})", **row})
    return table


def _matrices(evidence: Evidence, rows: PairedSet) -> list[dict[str, Any]]:
    matrices = []
    for who, said in _decided(evidence, rows).items():
        table = confusion(rows.labels, said, len(evidence.classes))
        totals = table.sum(axis=1)
        matrices.append(
            {
                "who": who,
                "rows": [
                    {
                        "name": name,
                        "n": int(totals[i]),
                        "cells": [
                            {
                                "count": int(count),
                                "share": float(count / totals[i]) if totals[i] else 0.0,
                                "right": i == j,
                            }
                            for j, count in enumerate(table[i])
                        ],
                    }
                    for i, name in enumerate(evidence.class_names)
                ],
                "names": evidence.class_names,
            }
        )
    return matrices


def _curves(evidence: Evidence, rows: PairedSet) -> list[dict[str, Any]]:
    truth, decided = evidence.is_defect(rows.labels), _decided(evidence, rows)
    wanted: list[tuple[str, NDArray[np.bool_], list[Series]]] = [
        (
            "any defect",
            truth,
            [
                Series(name=who, role=who, score=score, decided=evidence.is_defect(decided[who]))
                for who, score in _held(evidence, rows).items()
            ],
        )
    ]
    if len(evidence.classes) > 2:
        for k, name in enumerate(evidence.class_names):
            series = [
                Series(name=who, role=who, score=p[:, k].astype(np.float64), decided=decided[who] == k)
                for who, p in _models(rows)
            ]
            wanted.append((name, np.asarray(rows.labels == k), series))
    said = [Series(name=who, role=who, score=evidence.probability(p)) for who, p in _models(rows)]
    curves: list[dict[str, Any]] = []
    for name, positive, series in wanted[:_MOST_CURVES]:
        if not positive.any() or positive.all():
            continue
        n = int(positive.sum())
        curves.append(
            {
                "name": name,
                "n": f"{n} of {len(rows)}",
                "precision_recall": precision_recall_chart(
                    f"precision and recall of {name}", positive, rows.weight, series
                ),
                "calibration": calibration_chart(f"calibration of {name}", positive, rows.weight, said)
                if name == "any defect"
                else Markup(""),
            }
        )
    return curves


def _calibration(evidence: Evidence, rows: PairedSet) -> list[dict[str, Any]]:
    """Return the points of the calibration chart with their intervals, for each model."""
    truth = evidence.is_defect(rows.labels)
    if not truth.any() or truth.all():
        return []
    return [{"who": who, "bins": reliability(truth, evidence.probability(p), rows.weight)} for who, p in _models(rows)]
