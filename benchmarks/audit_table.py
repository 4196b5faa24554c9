"""How many audited frames a statement on recall needs: `python -m benchmarks.sampler --audit-table`.

An audited frame is one that the engine passed, that was kept because chance alone chose it, and that somebody looked
at. If m of n such frames are missed defects, the share of missed ones among passed frames is at most the upper end of
its interval; with the rate at which the engine stops true defects that is a lower end for recall. With equal chances
the interval is Clopper-Pearson's, to which `rate_interval` comes down.
"""

from __future__ import annotations

from data.intervals import recall_interval

RATES = (0.05, 0.02, 0.01, 0.005, 0.002)
RECALLS = (0.5, 0.8, 0.9, 0.95)


def frames_needed(stopped: float, recall: float, found: int) -> int:
    """Return how many audited frames with `found` misses among them let us say: recall is at least this (97.5 %).

    Args:
        stopped: Share of all frames that are defects and that the engine stops.
        recall: What is to be said.
        found: Misses among the audited frames.

    Returns:
        0 if no number of frames is enough.
    """
    line = 1_000_000
    caught = stopped * line
    passed = line - caught

    def lower(n: int) -> float:
        p = n / passed
        return recall_interval(caught, [1.0] * found + [0.0] * min(n - found, 1), [p] * (found + min(n - found, 1)))[1]

    low, high = found + 1, int(passed)
    if lower(high) < recall:
        return 0
    while low < high:
        middle = (low + high) // 2
        if lower(middle) >= recall:
            high = middle
        else:
            low = middle + 1
    return low


def audit_table() -> str:
    """Return the table as Markdown."""
    head = "| defects stopped | " + " | ".join(f"recall ≥ {recall:.0%}" for recall in RECALLS) + " |"
    lines = [head, "|---|" + "---|" * len(RECALLS)]
    for rate in RATES:
        cells = []
        for recall in RECALLS:
            needed = [frames_needed(rate, recall, found) for found in (0, 1, 3)]
            cells.append(" / ".join(f"{n:,}" if n else "-" for n in needed))
        lines.append(f"| {rate:.1%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
