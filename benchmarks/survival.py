"""What happens to an application when all around its device fails: ``python -m benchmarks.survival [--json]``.

A real process embeds the client and inspects the same frames while bucket, name service, disk, spool, clock and new
engines fail one after the other. Each disturbed stretch is set against an undisturbed one of the same run just before
it: ratio of the medians and of the 99th percentiles of `predict`, over the rounds. Shown besides: whether every
result was the same, exceptions, the longest call, and what `status` said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.result import Row, tell
from tests.integration.capture.survival.disturbances import Outcome, Survival, build_shim
from training.evaluate import Measure


def run(*, rounds: int, frames: int) -> list[list[Outcome]]:
    """Let everything happen, `rounds` times."""
    found = []
    with tempfile.TemporaryDirectory(prefix="andon-survival-") as folder:
        shim = build_shim(Path(folder))
        for n in range(rounds):
            found.append(Survival(folder=Path(folder) / str(n), shim=shim, frames=frames).run())
            print(f"survival: round {n + 1} of {rounds}", file=sys.stderr)
    return found


def _ratios(outcomes: list[Outcome], quantile: float) -> list[float]:
    return [
        float(np.quantile(o.during["latencies"], quantile) / np.quantile(o.before["latencies"], quantile))
        for o in outcomes
    ]


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.survival", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=5, help="how often (default: 5)")
    parser.add_argument("--frames", type=int, default=1000, help="frames of a stretch (default: 1000)")
    parser.add_argument("--cache", help="not used here")
    args = parser.parse_args()
    found = run(rounds=args.rounds, frames=args.frames)
    rows, wrong, raised = [], 0, 0
    expected = found[0][0].before["digest"]
    calls, longest = 0, 0.0
    for outcomes in zip(*found, strict=True):
        case = outcomes[0].case
        rows += [
            Row.of(f"{case}: p50", "x undisturbed", _ratios(list(outcomes), 0.50)),
            Row.of(f"{case}: p99", "x undisturbed", _ratios(list(outcomes), 0.99)),
        ]
        for outcome in outcomes:
            wrong += sum(digest != expected for digest in outcome.during["digests"])
            raised += len(outcome.during["errors"])
            calls += len(outcome.during["latencies"])
            longest = max(longest, *outcome.during["latencies"])
    medians = [ratio for outcomes in found for ratio in _ratios(outcomes, 0.50)]
    tails = [ratio for outcomes in found for ratio in _ratios(outcomes, 0.99)]
    figures = {
        "disturbed_calls": Measure(value=calls, low=calls, high=calls, n=calls),
        "stretches_with_another_result": Measure(value=wrong, low=wrong, high=wrong, n=calls),
        "exceptions": Measure(value=raised, low=raised, high=raised, n=calls),
        "longest_call_ms": Measure(value=longest, low=longest, high=longest, n=calls),
        "p50_ratio": _median(medians),
        "p99_ratio": _median(tails),
    }
    tell("survival", rows, figures, as_json=args.json)
    if not args.json:
        for outcome in found[-1]:
            print(f"  {outcome.case}: {outcome.told or 'nothing'}")
    return 1 if wrong or raised else 0


def _median(values: list[float]) -> Measure:
    low, middle, high = (float(q) for q in np.quantile(values, [0.05, 0.5, 0.95]))
    return Measure(value=middle, low=low, high=high, n=len(values))


if __name__ == "__main__":
    sys.exit(main())
