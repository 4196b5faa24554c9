"""Whether the gate can be believed, and what it can see: models of known quality, thousands of decisions.

- *False promotions*: series of ten challengers that are no better than the champion, judged one after another on the
  same labels, few and many, with unequal chances, the next one made from what the last ones showed. The figure
  `series_with_false_promotion` is the share of series in which any of them is promoted. Peers in the same series:
  promote what has the better number; an unpaired test at 5 %, each time anew.
- *Power*: how many challengers of a stated true gain are promoted with so many labels.
- *Label n more*: where the gate cannot tell, what it asks for is labelled, and it is asked again, with 1.0 and, if it
  still cannot tell, with 1.2 times as many. `decided_within_1_2_n` is the share of these that are then decided.

    python -m benchmarks.gate --series 1000 --json
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.gate_series import ATTACK, CASES, POLICY, Case, Followed, Outcome, follow, play
from benchmarks.result import Row, tell
from training.evaluate import Measure, rate
from training.gate import Answer
from training.gate_simulation import Line, Power, power

POWER_LABELS = (50, 100, 200, 400, 800)
POWER_GAINS = (-0.1, 0.0, 0.05, 0.1, 0.2)
FOLLOWED_LINES = (Line(defect_share=0.3), Line(defect_share=0.1), Line(defect_share=0.3, champion=0.8))
FOLLOWED_LABELS = (60, 150, 400)
FOLLOWED_GAINS = (-0.05, 0.0, 0.03, 0.06, 0.1, 0.15)


def _play(job: tuple[Case, int]) -> Outcome:
    with threadpool_limits(1):
        return play(*job)


def _power(job: tuple[int, float, int, int]) -> Power:
    labels, gain, trials, seed = job
    with threadpool_limits(1):
        return power(POLICY, Line(defect_share=0.3), labels=labels, gain=gain, trials=trials, seed=seed)


def _follow(job: tuple[Line, int, float, int]) -> Followed | None:
    with threadpool_limits(1):
        return follow(*job)


def _row(case: str, happened: Sequence[bool]) -> Row:
    """A share as a row: its value, and its exact 95 % interval."""
    share = rate(np.array(happened, dtype=bool))
    return Row(case=case, unit="share", median=share.value, low=share.low, high=share.high, n=share.n)


def _row_of(case: str, share: Measure) -> Row:
    return Row(case=case, unit="share", median=share.value, low=share.low, high=share.high, n=share.n)


def main() -> None:
    """Simulate, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1_000, help="series without a real difference, over all cases")
    parser.add_argument("--trials", type=int, default=100, help="challengers for each cell of the table of power")
    parser.add_argument("--follow", type=int, default=10, help="challengers for each case of *label n more*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cache", type=Path, help="not used: everything is simulated")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.series < len(CASES) or args.trials < 1 or args.follow < 1:
        parser.error(f"--series is at least {len(CASES)}, one for each case; --trials and --follow are at least 1")
    began = time.perf_counter()
    each = -(-args.series // len(CASES))
    with ProcessPoolExecutor(args.processes) as pool:
        jobs = [(case, args.seed + s) for case in (*CASES, ATTACK) for s in range(each)]
        outcomes = dict(zip(jobs, pool.map(_play, jobs, chunksize=4), strict=True))
        cells = [(n, gain, args.trials, args.seed) for n in POWER_LABELS for gain in POWER_GAINS]
        powers = list(pool.map(_power, cells))
        asks = [
            (*case, args.seed + s)
            for case in itertools.product(FOLLOWED_LINES, FOLLOWED_LABELS, FOLLOWED_GAINS)
            for s in range(args.follow)
        ]
        followed = [f for f in pool.map(_follow, asks, chunksize=8) if f is not None]
    honest = [outcome for (case, _), outcome in outcomes.items() if case is not ATTACK]
    rows = [
        _row(f"any false promotion: {case.name}", [o.gate for (c, _), o in outcomes.items() if c is case])
        for case in (*CASES, ATTACK)
    ]
    rows += [
        _row("the same, peer: better number", [o.point for o in honest]),
        _row("the same, peer: unpaired test at 5 %", [o.unpaired for o in honest]),
    ]
    rows += [_row_of(f"promoted: {p.labels} labels, true gain {p.gain:+.2f}", p.promote) for p in powers]
    rows += [_row_of(f"refused: {p.labels} labels, true gain {p.gain:+.2f}", p.reject) for p in powers if p.gain <= 0]
    for gain in FOLLOWED_GAINS:
        mine = [f for f in followed if f.gain == gain]
        if mine:
            rows.append(_row(f"asked for labels and decided, true gain {gain:+.2f}", [f.decided for f in mine]))
            promoted = [f.answer is Answer.PROMOTE for f in mine if f.decided]
            if promoted:
                rows.append(_row(f"promoted of these, true gain {gain:+.2f}", promoted))
    rows.append(Row.of("defects asked for", "labels", [float(f.asked) for f in followed]))
    rows.append(Row.of("time", "s", [time.perf_counter() - began]))
    figures = {
        "series_with_false_promotion": rate(np.array([o.gate for o in honest])),
        "decided_within_1_2_n": rate(np.array([f.decided for f in followed])),
    }
    tell("gate", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
