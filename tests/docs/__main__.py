"""`python -m tests.docs`: how many blocks of the documentation are executed, and which are not, with the reasons."""

from __future__ import annotations

from collections import Counter

from tests.docs.blocks import SHELL, blocks
from tests.docs.pairs import pairs
from tests.docs.plan import PLAN
from tests.docs.script import left_out
from tests.docs.steps import Declared, Elsewhere, Run


def tell() -> list[str]:
    """The lines."""
    planned = [pair for page in PLAN for pair in pairs(page)]
    counts: Counter[str] = Counter()
    lines = []
    for block, step in planned:
        kind = "shell" if block.language in SHELL else "Python"
        counts["shell: lines"] += len(block.lines) if kind == "shell" else 0
        if isinstance(step, Declared):
            counts[f"{kind}: declared"] += 1
            lines.append(f"{block.where}: {step.reason}")
        elif isinstance(step, Elsewhere):
            counts[f"{kind}: executed by another test"] += 1
        else:
            without = left_out(block, step) if isinstance(step, Run) else {}
            counts[f"{kind}: executed{' but for single lines' if without else ''}"] += 1
            counts["shell: lines left out"] += len(without)
            lines += [f"{block.where}: {line.strip()[:60]}: {reason}" for line, reason in without.items()]
    counts["TOML: read by the product"] = _count("toml")
    counts["text: what a program prints"] = _count("text")
    counts["all blocks"] = len(blocks())
    return [*(f"{number:5}  {what}" for what, number in sorted(counts.items())), "", *lines]


def _count(language: str) -> int:
    return sum(block.language == language for block in blocks())


if __name__ == "__main__":
    print("\n".join(tell()))
