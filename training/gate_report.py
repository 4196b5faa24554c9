"""The gate's report: one self-contained page that a person can read and decide by.

Nothing is loaded from elsewhere and nothing runs; every text is escaped by the template.
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

from training.decision import Answer, Decision
from training.evaluate import Measure, average_precision, balanced_accuracy, confusion
from training.evidence import Evidence, PairedSet
from training.field_checks import slices
from training.report_charts import Series, calibration_chart, precision_recall_chart
from training.report_pictures import flips

_SENTENCES = {
    Answer.PROMOTE: "Promote: the challenger is better and loses nothing that matters.",
    Answer.REJECT: "Reject: the challenger must not replace the champion.",
    Answer.NOT_ENOUGH: "Not enough evidence: the labels cannot tell yet.",
}
_FIRST = "Promote: the first model of this inspection."
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
    sentence = _SENTENCES[decision.answer]
    if decision.answer is Answer.PROMOTE and not evidence.has_champion:
        sentence = _FIRST
    return (
        _environment()
        .get_template("gate_report.html")
        .render(
            title=title,
            answer=decision.answer.value,
            sentence=sentence,
            reasons=decision.reasons,
            label_more=decision.label_more,
            checks=decision.checks,
            sections=[_section(evidence, name, rows, seed) for name, rows in sets if len(rows)],
            gained=gained,
            lost=lost,
            has_champion=evidence.has_champion,
        )
    )


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
        measures=_measures(evidence, rows, seed),
        matrices=_matrices(evidence, rows),
        curves=_curves(evidence, rows),
        slices=_slices(evidence, rows, seed) if name == "field" else [],
    )


def _models(rows: PairedSet) -> list[tuple[str, NDArray[np.float32]]]:
    champion = [] if rows.champion is None else [("champion", rows.champion)]
    return [*champion, ("challenger", rows.challenger)]


def _measures(evidence: Evidence, rows: PairedSet, seed: int) -> list[dict[str, Any]]:
    truth = evidence.is_defect(rows.labels)

    def ap(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Measure:
        return average_precision(positive, score, weight=rows.weight, groups=rows.group, seed=seed)

    table = [
        {"name": "average precision of defects", **{who: ap(truth, evidence.risk(p)) for who, p in _models(rows)}},
        {
            "name": "balanced accuracy",
            **{
                who: balanced_accuracy(rows.labels, p.argmax(axis=1), weight=rows.weight, seed=seed)
                for who, p in _models(rows)
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
    for who, probabilities in _models(rows):
        table = confusion(rows.labels, probabilities.argmax(axis=1), len(evidence.classes))
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
    truth = evidence.is_defect(rows.labels)
    wanted: list[tuple[str, NDArray[np.bool_], list[Series]]] = [
        (
            "any defect",
            truth,
            [Series(name=who, role=who, score=evidence.risk(p)) for who, p in _models(rows)],
        )
    ]
    if len(evidence.classes) > 2:
        for k, name in enumerate(evidence.class_names):
            series = [Series(name=who, role=who, score=p[:, k].astype(np.float64)) for who, p in _models(rows)]
            wanted.append((name, np.asarray(rows.labels == k), series))
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
                "calibration": calibration_chart(f"calibration of {name}", positive, rows.weight, series)
                if name == "any defect"
                else Markup(""),
            }
        )
    return curves


def _slices(evidence: Evidence, rows: PairedSet, seed: int) -> list[dict[str, Any]]:
    table = []
    for where, part in slices(rows):
        truth = evidence.is_defect(part.labels)
        row: dict[str, Any] = {"where": where, "n": len(part), "defects": int(truth.sum())}
        for who, probabilities in _models(part):
            row[who] = average_precision(
                truth, evidence.risk(probabilities), weight=part.weight, groups=part.group, seed=seed
            )
        table.append(row)
    return table
