"""What a benchmark prints: a table for people, or JSON with the machine, every case and the figures it is run for."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from training.evaluate import Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case: median of n runs, and the runs' 5 and 95 % quantiles."""

    case: str
    unit: str
    median: float
    low: float
    high: float
    n: int

    @staticmethod
    def of(case: str, unit: str, values: Sequence[float]) -> Row:
        """Summarise runs."""
        low, median, high = (float(q) for q in np.quantile(values, [0.05, 0.5, 0.95]))
        return Row(case=case, unit=unit, median=median, low=low, high=high, n=len(values))


def mean_of(values: ArrayLike) -> Measure:
    """Mean of runs with Student's 95 % interval; of one run there is none.

    What the runs share (frames, a split) the interval does not tell of.

    Args:
        values: float [n].
    """
    found = np.asarray(values, dtype=float)
    mean, n = float(found.mean()), len(found)
    half = float(stats.t.ppf(0.975, n - 1) * found.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Measure(value=mean, low=mean - half, high=mean + half, n=n)


def ratio_of_means(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0, resamples: int = 2000) -> Measure:
    """Ratio of the means of paired runs, with a 95 % bootstrap interval over the runs."""
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    rows = np.random.default_rng(seed).integers(0, len(a), size=(resamples, len(a)))
    ratios = a[rows].mean(axis=1) / np.maximum(b[rows].mean(axis=1), 1e-12)
    low, high = (float(q) for q in np.quantile(ratios, [0.025, 0.975]))
    return Measure(value=float(a.mean() / max(b.mean(), 1e-12)), low=low, high=high, n=len(a))


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def tell(benchmark: str, rows: Sequence[Row], figures: Mapping[str, Measure], *, as_json: bool) -> None:
    """Print a benchmark's outcome."""
    if as_json:
        value = {
            "benchmark": benchmark,
            "machine": machine(),
            "options": _options(sys.argv[1:]),
            "rows": [asdict(row) for row in rows],
            "figures": {name: asdict(figure) for name, figure in figures.items()},
        }
        json.dump(value, sys.stdout, indent=1)
        print()
        return
    where = machine()
    print(f"{benchmark}: {where['processor']}, {where['cores']} cores, Python {where['python']}")
    width = max(len(row.case) for row in rows)
    for row in rows:
        print(f"  {row.case:<{width}}  {row.median:10.4g} {row.unit}  [{row.low:.4g}, {row.high:.4g}], n = {row.n}")
    for name, figure in figures.items():
        print(f"  {name} = {figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}], n = {figure.n}")


def _options(words: Sequence[str]) -> str:
    """What was asked for on the command line, without what says where files lie.

    >>> _options(["--json", "--splits", "10", "--cache", "some/folder", "--tiles", "tiles.tar"])
    '--splits 10 --tiles PATH'
    """
    told: list[str] = []
    for word, before in zip(words, ["", *words], strict=False):
        if word in ("--json", "--cache") or before == "--cache":
            continue
        told.append("PATH" if before == "--tiles" else word)
    return " ".join(told)
