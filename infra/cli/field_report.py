"""The field's figures in lines: rate, recall and precision, over all, by class, station and device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.field_measures import FieldMeasures, Figure, Measures
    from data.intervals import Estimate

_CONTRADICTIONS_SHOWN = 5


def field_lines(field: FieldMeasures) -> list[str]:
    """A block of lines; none while nothing is labelled."""
    if not any(row.labelled for row in field.rows):
        return []
    lines = ["  in the field (95 % intervals; in brackets: from the labels alone)"]
    for row in field.rows:
        lines += _row(row)
    for found in field.contradictions[:_CONTRADICTIONS_SHOWN]:
        said = "defect" if found.first_defect else "ok"
        lines.append(f"    part {found.part_id}: {found.first} says {said}, {found.stage} says {found.value!r}")
    more = len(field.contradictions) - _CONTRADICTIONS_SHOWN
    if more > 0:
        lines.append(f"    and {more} more parts of which two sources say different things")
    if field.selected_outcomes:
        lines.append(
            f"    {field.selected_outcomes} captured parts have an outcome only of a stage that reports some parts: "
            "shown where it contradicts, never used as if drawn at random"
        )
    if field.unread_outcomes:
        values = ", ".join(f"{value!r} ({n})" for value, n in sorted(field.unread_outcomes.items()))
        lines.append(f"    outcomes that say nothing by the policy: {values}; see [outcomes] in policy.toml")
    return lines


def _row(row: Measures) -> list[str]:
    outcome = f", {row.by_outcome} of them by outcome" if row.by_outcome else ""
    name = "all frames" if row.by == "all" else f"{row.by} {row.name}"
    if not row.labelled:
        return [f"    {name}: {row.frames:,} frames, no truth yet"]
    lost = f", {row.nonresponse:.1%} of the frames nobody can speak for" if row.nonresponse else ""
    return [
        f"    {name}: {row.frames:,} frames, {row.labelled:,} known{outcome}, {row.found:,} defects among them{lost}",
        f"      defective  {_figure(row.rate)}",
        f"      recall     {_figure(row.recall, 'no defect was found yet')}; {row.missed}",
        f"      precision  {_figure(row.precision, 'no rejected frame is labelled')}",
    ]


def _figure(figure: Figure, missing: str = "not known") -> str:
    best = _estimate(figure.best)
    if best is None:
        return missing
    alone = _estimate(figure.plain) if figure.difference is not None else None
    return f"{best}, n = {figure.best.n}" + (f" [{alone}]" if alone else "")


def _estimate(estimate: Estimate) -> str | None:
    """A share with its interval; None if it is not known.

    >>> from data.intervals import Estimate
    >>> _estimate(Estimate(value=0.0123, low=0.008, high=0.021, n=40))
    '1.23 % (0.80 to 2.10 %)'
    """
    if math.isnan(estimate.value):
        return None
    digits = 2 if estimate.value < 0.1 else 1
    value, low, high = (f"{100 * number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} % ({low} to {high} %)"
