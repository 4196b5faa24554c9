"""The benchmarks as a page of the documentation: made from their JSON, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """# Benchmarks{of}

Made by `{command}` from what each benchmark prints with `--json`; each stands in its own module, whose first lines say
what is measured and beside what. Peers run in the same run, in turns. Rows: median of n runs and their 5 and 95 %
quantiles. Figures: a value with its interval.
"""


def page(outcomes: Sequence[Mapping[str, Any]], *, command: str, of: str = "") -> str:
    """Write the page from what benchmarks printed with ``--json``.

    Args:
        outcomes: What each printed.
        command: What makes the page.
        of: What it is about, for the title; "" for everything.
    """
    parts = [_HEAD.format(of=f": {of}" if of else "", command=command)]
    for outcome in outcomes:
        name, where = outcome["benchmark"], outcome["machine"]
        options = f"{outcome['options']} " if outcome.get("options") else ""
        parts.append(
            f"\n## {name}\n\n`python -m benchmarks.{name} {options}--json` on {where['processor']}, "
            f"{where['cores']} cores, Python {where['python']}.\n"
        )
        parts.append("| figure | value | interval | n |\n|---|---|---|---|")
        for figure, told in outcome["figures"].items():
            spread = "" if told["low"] is None else f"[{_number(told['low'])}, {_number(told['high'])}]"
            parts.append(f"| {_cell(figure)} | {_number(told['value'])} | {spread} | {told['n']} |")
        parts += _table(outcome["rows"])
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows of measurements, or of whatever a benchmark tells in words."""
    if rows and "median" not in rows[0]:
        names = list(rows[0])
        told = [f"| {' | '.join(_cell(_told(row[name])) for name in names)} |" for row in rows]
        return [f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}", *told]
    lines = ["\n| case | median | 5 % to 95 % | unit | n |\n|---|---|---|---|---|"]
    for row in rows:
        spread = f"[{_number(row['low'])}, {_number(row['high'])}]"
        lines.append(
            f"| {_cell(row['case'])} | {_number(row['median'])} | {spread} | {_cell(row['unit'])} | {row['n']} |"
        )
    return lines


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, list) else str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
