"""The report's curve as inline SVG: the measure by round, with intervals, between its two yardsticks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from infra.rehearsal.results import Comparison, Figure

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 340, 56, 190, 16, 44


def learning_curve(
    names: Sequence[str], points: Sequence[Figure], yardsticks: Sequence[tuple[str, Comparison]], measure: str
) -> str:
    """Return an SVG of `points` (one a round, the first before any label) with 95 % intervals and yardsticks as lines.

    Args:
        names: Labels of the horizontal axis, one a point.
        points: The measure with its interval.
        yardsticks: Name and comparison, drawn as horizontal lines.
        measure: Name of the vertical axis.
    """
    levels = [p.low for p in points] + [p.high for p in points]
    levels += [c.score.average_precision.value for _, c in yardsticks]
    low = max(0.0, min(levels) - 0.03)
    high = max(levels) + 0.03  # room for the figures above the points

    def x(i: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (i + 0.5) / len(points)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(measure)} by round">']
    step = 0.1 if high - low > 0.25 else 0.05
    tick = step * -(-low // step)
    while tick <= min(1.0 + 1e-9, high):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
            f'<text class="axis" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>'
        )
        tick += step
    places: list[float] = []
    for name, comparison in sorted(yardsticks, key=lambda item: -item[1].score.average_precision.value):
        value = comparison.score.average_precision.value
        level = y(value)
        text_at = max([level + 4, *(p + 15 for p in places[-1:])])
        places.append(text_at)
        parts.append(
            f'<line class="yard" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{level:.1f}" y2="{level:.1f}"/>'
            f'<text class="axis" x="{_WIDTH - _RIGHT + 8}" y="{text_at:.1f}">{escape(name)} {value:.2f}</text>'
        )
    for i, point in enumerate(points):
        parts.append(
            f'<line class="range" x1="{x(i):.1f}" x2="{x(i):.1f}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"/>'
        )
    line = " ".join(f"{x(i):.1f},{y(p.value):.1f}" for i, p in enumerate(points))
    parts.append(f'<polyline class="curve" points="{line}"/>')
    for i, (name, point) in enumerate(zip(names, points, strict=True)):
        parts.append(
            f'<circle class="dot" cx="{x(i):.1f}" cy="{y(point.value):.1f}" r="4"><title>{escape(name)}: {point}, '
            f"n = {point.n}</title></circle>"
            f'<text class="axis" x="{x(i):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{escape(name)}</text>'
            f'<text class="value" x="{x(i) + 8:.1f}" y="{y(point.value) - 8:.1f}">{point.value:.2f}</text>'
        )
    parts.append(
        f'<text class="axis" x="{_LEFT}" y="{_HEIGHT - 6}">{escape(measure)}, bars are 95 % intervals</text></svg>'
    )
    return "".join(parts)
