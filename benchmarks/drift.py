"""Drift: false alarms a year while nothing drifts, and how soon and how well a change is told.

A line of monocrystalline cells (10,000 frames a day, 2 % captured by priority sampling; lots, share of defects and
exposure differ from day to day) is watched against its first fourteen days. Quiet lines run for years. Others change
on the fourth day after the reference: to polycrystalline cells, to 10 % more or less light, to a lens out of focus, or
to a speck of dirt on the glass. Delay is in frames that passed the camera, to the end of the window that alarmed;
a line that did not alarm within ten days counts as ten days (100,000 frames). The cause is judged by the alarm's words.

    python -m benchmarks.drift [--lines 20] [--years 1] [--json] [--cache DIR]

The cells are measured and embedded once (ten minutes on one core); what follows takes about 9 s a quiet
line and year, and a second a change.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.drift_cells import Cells, load_cells
from benchmarks.drift_line import FRAMES, WINDOWS_A_DAY, Line, Window
from benchmarks.drift_peers import DailyKs, DailyMmd, PageHinkley, Peer
from benchmarks.interleave import median_of
from benchmarks.result import Row, tell
from data.drift.causes import name_cause
from data.drift.finding import Cause
from data.drift.pictures import Pictures
from data.drift.rates import RateReference, RateState, rate_reference_of, step
from data.drift.reference import BETS, Reference, reference_of
from data.drift.watch import WatchState, begin, see
from training.evaluate import Measure

ALLOWED = 1.0  # false alarms a year, of pictures and rates together: the policy's default
REFERENCE_DAYS, SETTLED_DAYS, MOST_DAYS = 14, 3, 10
PEER_DAYS = 60  # of a quiet line that the peers see: they alarm often enough
CHANGES = {
    "polycrystalline": Cause.NEW,
    "brighter by 10 %": Cause.LIGHT,
    "darker by 10 %": Cause.LIGHT,
    "blur": Cause.BLUR,
    "dirt 0": Cause.DIRT,
    "dirt 1": Cause.DIRT,
}
FIGURES = {
    "polycrystalline": "delay_frames",
    "brighter by 10 %": "delay_frames_brighter",
    "darker by 10 %": "delay_frames_darker",
    "blur": "delay_frames_blur",
    "dirt": "delay_frames_dirt",
}


@dataclass(slots=True)
class Andon:
    """The product's two watches over one device."""

    reference: Reference
    state: WatchState
    rates: RateReference
    counted: RateState
    causes: list[Cause] = field(default_factory=list)

    def see(self, window: Window) -> tuple[bool, bool]:
        """Return whether pictures alarm, and whether rates do; either begins anew then."""
        share = ALLOWED / 2 / 2 / (365 * WINDOWS_A_DAY)
        self.state = see(self.reference, self.state, window.pictures, budget=share, at=0.0)
        self.counted = step(self.rates, self.counted, window.counts)
        pictures = self.state.total >= 1
        if pictures:
            self.causes.append(name_cause(self.reference, self.state).cause)
            self.state = begin(self.reference)
        rates = bool(self.counted.cusum.max() >= self.rates.limit)
        if rates:
            self.counted = RateState.new(self.rates)
        return pictures, rates


def started(line: Line) -> tuple[Andon, dict[str, Peer]]:
    """Let the reference pass, and make what watches from there on."""
    windows = list(line.days(REFERENCE_DAYS, later=False))
    pictures = joined(window.pictures for window in windows)
    reference = reference_of(pictures, outside=ALLOWED / 2 / 2 / 365 / len(BETS))
    rates = rate_reference_of([window.counts for window in windows], allowed_per_year=ALLOWED / 2)
    placed = reference.place(pictures)
    peers: dict[str, Peer] = {
        "KS daily, 5 %": DailyKs(placed, corrected=False),
        "KS daily, Bonferroni": DailyKs(placed, corrected=True),
        "MMD daily, 5 %": DailyMmd(placed, seed=0),
        "Page-Hinkley on novelty": PageHinkley(),
    }
    return Andon(reference, begin(reference), rates, RateState.new(rates)), peers


def joined(parts: Iterable[Pictures]) -> Pictures:
    """One after another."""
    every = list(parts)
    return Pictures(**{name: np.concatenate([getattr(each, name) for each in every]) for name in Pictures.__slots__})


def quiet(cells: Cells, seed: int, years: float) -> dict[str, int]:
    """Count the alarms of a line on which nothing drifts; the peers' in its first days."""
    line = Line(cells, seed)
    andon, peers = started(line)
    alarms = dict.fromkeys(("pictures", "rates", *peers), 0)
    for number, window in enumerate(line.days(round(365 * years), later=True)):
        pictures, rates = andon.see(window)
        alarms["pictures"] += pictures
        alarms["rates"] += rates
        if number < PEER_DAYS * WINDOWS_A_DAY:
            placed = andon.reference.place(window.pictures)
            for name, peer in peers.items():
                alarms[name] += peer.see(placed, window.day)
    return alarms


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one change: frames until each alarmed, and the cause that pictures named (None: no alarm)."""

    frames: dict[str, int]
    cause: Cause | None


def changed(cells: Cells, seed: int, change: str) -> Told:
    """Change a line and see who tells."""
    line = Line(cells, seed)
    andon, peers = started(line)
    begins = SETTLED_DAYS * WINDOWS_A_DAY + int(np.random.default_rng(seed).integers(0, WINDOWS_A_DAY))
    most = MOST_DAYS * WINDOWS_A_DAY * FRAMES
    frames: dict[str, int] = {}
    cause: Cause | None = None
    for number, window in enumerate(line.days(SETTLED_DAYS + MOST_DAYS, later=True, change=change, begins=begins)):
        passed = (number - begins + 1) * FRAMES
        pictures, rates = andon.see(window)
        placed = andon.reference.place(window.pictures)
        found = {name: peer.see(placed, window.day) for name, peer in peers.items()}
        if number < begins:
            continue  # an alarm before the change is one of the false ones
        found |= {"pictures": pictures, "rates": rates, "Andon": pictures or rates}
        for name, alarm in found.items():
            if alarm:
                frames.setdefault(name, passed)
        if pictures and cause is None:
            cause = andon.causes[-1]
        if cause is not None and set(peers) <= set(frames):
            break
    names = ("Andon", "pictures", "rates", *peers)
    return Told(frames={name: min(frames.get(name, most), most) for name in names}, cause=cause)


def per_year(counts: list[int], years: float) -> Measure:
    """Alarms a year of all lines together, with Garwood's exact Poisson interval; n is the years."""
    total, time = sum(counts), years * len(counts)
    low = stats.chi2.ppf(0.025, 2 * total) / 2 / time if total else 0.0
    high = stats.chi2.ppf(0.975, 2 * total + 2) / 2 / time
    return Measure(value=total / time, low=float(low), high=float(high), n=max(1, round(time)))


def share_of(right: int, n: int) -> Measure:
    """A share with its Clopper-Pearson interval."""
    low = float(stats.beta.ppf(0.025, right, n - right + 1)) if right else 0.0
    high = float(stats.beta.ppf(0.975, right + 1, n - right)) if right < n else 1.0
    return Measure(value=right / n, low=low, high=high, n=n)


def row_of(case: str, unit: str, measure: Measure) -> Row:
    """A measure as a row: its interval in the place of the runs' quantiles."""
    return Row(case=case, unit=unit, median=measure.value, low=measure.low, high=measure.high, n=measure.n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--lines", type=int, default=20, help="independent lines of each kind, at least 5")
    parser.add_argument("--years", type=float, default=1.0, help="that each quiet line runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args()
    if args.lines < 5:
        parser.error(f"--lines {args.lines}: an interval needs at least 5")
    cells = load_cells(args.cache)
    rows: list[Row] = []
    figures: dict[str, Measure] = {}
    delays: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    right: dict[str, list[bool]] = defaultdict(list)
    for change, cause in CHANGES.items():
        name = "dirt" if change.startswith("dirt") else change
        for seed in range(args.lines):
            told = changed(cells, 1_000 + seed, change)
            print(f"{change}, line {seed}: {told.cause}, {told.frames}", file=sys.stderr, flush=True)
            for who, frames in told.frames.items():
                delays[name][who].append(frames)
            if told.cause is not None:
                right[name].append(told.cause is cause)
    alarms = []
    for seed in range(args.lines):
        alarms.append(quiet(cells, seed, args.years))
        print(f"quiet, line {seed}: {alarms[-1]}", file=sys.stderr, flush=True)
    each = {name: [count[name] for count in alarms] for name in alarms[0]}
    each = {"Andon": [a + b for a, b in zip(each["pictures"], each["rates"], strict=True)], **each}
    for name, counts in each.items():
        rate = per_year(counts, args.years if name in ("Andon", "pictures", "rates") else PEER_DAYS / 365)
        rows.append(row_of(f"quiet: {name}", "alarms/year", rate))
    figures["false_alarms_per_year"] = per_year(each["Andon"], args.years)
    for change, by_name in delays.items():
        rows += [Row.of(f"{change}: {who}", "frames", values) for who, values in by_name.items()]
        figures[FIGURES[change]] = median_of(by_name["Andon"])
    for change, named in right.items():
        rows.append(row_of(f"{change}: cause named right", "share", share_of(sum(named), len(named))))
    every = [correct for named in right.values() for correct in named]
    figures["cause_named_right"] = share_of(sum(every), len(every))
    tell("drift", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
