"""Charts of the gate's report as inline SVG: precision against recall, and calibration. Classes carry the colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from training.evaluate import Measure, rate

_SIDE, _LEFT, _TOP, _BOTTOM, _RIGHT = 250, 40, 10, 36, 10
_MOST_POINTS = 200  # of a curve: more cannot be seen
_BINS = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One line of a chart.

    Attributes:
        name: For the tooltip.
        role: `champion` or `challenger`, the CSS class.
        score: float64 [n].
        decided: bool [n], for which samples a device decides so; None: not drawn.
    """

    name: str
    role: str
    score: NDArray[np.float64]
    decided: NDArray[np.bool_] | None = None


def precision_recall_chart(
    title: str, positive: NDArray[np.bool_], weight: NDArray[np.float64], series: Sequence[Series]
) -> Markup:
    """Draw precision against recall, and as a dot where the device decides.

    Args:
        title: Said to screen readers.
        positive: bool [n], with both values present.
        weight: float64 [n].
        series: One for each model.
    """
    parts = [_frame(title, "recall", "precision")]
    share = float(np.average(positive, weights=weight))
    parts.append(_line([(0.0, share), (1.0, share)], "chance", f"chance: precision {share:.2f}"))
    parts += [_line(_precision_recall(positive, one.score, weight), one.role, one.name) for one in series]
    parts += [_decision(positive, weight, one) for one in series if one.decided is not None]
    return Markup("".join(parts) + "</svg>")  # noqa: S704  parts are escaped where they are made


def calibration_chart(
    title: str, positive: NDArray[np.bool_], weight: NDArray[np.float64], series: Sequence[Series]
) -> Markup:
    """Draw the share of positives against the predicted probability, in bins of equal numbers of samples."""
    parts = [_frame(title, "predicted", "found"), _line([(0.0, 0.0), (1.0, 1.0)], "chance", "perfect calibration")]
    for one in series:
        role = escape(one.role)
        points = reliability(positive, one.score, weight)
        parts.append(_line([(p, found.value) for p, found in points], one.role, one.name))
        for predicted, found in points:
            parts.append(
                f'<circle class="{role}" cx="{_x(predicted):.1f}" cy="{_y(found.value):.1f}" r="3.5"><title>'
                f"{escape(one.name)}: predicted {predicted:.2f}, found {found}</title></circle>"
            )
    return Markup("".join(parts) + "</svg>")  # noqa: S704  parts are escaped where they are made


def _decision(positive: NDArray[np.bool_], weight: NDArray[np.float64], one: Series) -> str:
    assert one.decided is not None
    hit, said = float(weight[one.decided & positive].sum()), float(weight[one.decided].sum())
    if said <= 0:
        return ""
    recall, precision = hit / float(weight[positive].sum()), hit / said
    return (
        f'<circle class="{escape(one.role)}" cx="{_x(recall):.1f}" cy="{_y(precision):.1f}" r="4.5"><title>'
        f"{escape(one.name)} as a device decides: recall {recall:.2f}, precision {precision:.2f}</title></circle>"
    )


def _precision_recall(
    positive: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64]
) -> list[tuple[float, float]]:
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    found = np.cumsum((weight * positive)[order])[last]
    shown = np.cumsum(weight[order])[last]
    recall, precision = found / found[-1], found / shown
    chosen = np.unique(np.linspace(0, len(recall) - 1, min(_MOST_POINTS, len(recall))).astype(int))
    return [(0.0, float(precision[0])), *((float(recall[i]), float(precision[i])) for i in chosen)]


def reliability(
    positive: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64]
) -> list[tuple[float, Measure]]:
    """Return, for bins of equal numbers of samples, the mean prediction and the share of positives found."""
    bins = [b for b in np.array_split(np.argsort(score, kind="stable"), _BINS) if len(b)]
    return [
        (
            float(np.average(score[b], weights=weight[b])),
            rate(positive[b], weight=weight[b]),
        )
        for b in bins
    ]


def _frame(title: str, across: str, up: str) -> str:
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<line class="grid" x1="{_x(0):.1f}" x2="{_x(1):.1f}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}"/>'
            f'<line class="grid" x1="{_x(tick):.1f}" x2="{_x(tick):.1f}" y1="{_y(0):.1f}" y2="{_y(1):.1f}"/>'
        )
        if tick in (0.0, 0.5, 1.0):
            parts.append(
                f'<text x="{_x(tick):.1f}" y="{_y(0) + 15:.1f}" text-anchor="middle">{tick:g}</text>'
                f'<text x="{_LEFT - 6}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
            )
    parts.append(
        f'<text x="{_x(0.5):.1f}" y="{height - 4}" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(11 {_y(0.5):.1f}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    return "".join(parts)


def _line(points: Sequence[tuple[float, float]], role: str, name: str) -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline class="{escape(role)}" points="{path}"><title>{escape(name)}</title></polyline>'


def _x(value: float) -> float:
    return _LEFT + _SIDE * value


def _y(value: float) -> float:
    return _TOP + _SIDE * (1 - value)
