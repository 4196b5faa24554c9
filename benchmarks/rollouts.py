"""How often, and how soon, a rollout is stopped by its comparison with the controls; and what a look costs.

    python -m benchmarks.rollouts [--courses 300] [--devices 1000] [--json]

Lines differ (defect shares of 4 to 15 %), four pictures of a part are alike, 200 frames pass between two looks, four
hours of looks two minutes apart; an engine that is not stopped counts with all of them. The limit is 0.1. The engine
shifts the share of defects by what the case says; at the limit a stop is false. Beside the bounds that hold at all
looks together stands what most people would write: the 95 % binomial interval of one look, at each look.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.result import Row, tell
from data.catalog import Catalog
from data.catalog.models import DeviceInspectionRow, DeviceRow, DeviceStatusRow
from data.inspections import create_inspection
from data.intervals import clopper_pearson
from data.policy import RolloutPolicy
from data.rollouts.fleet import followers
from data.rollouts.records import DEFECT, Record, Sums
from data.rollouts.stored import begin_rollout
from edge_client.contract.heartbeat import Heartbeat
from edge_client.contract.releases import NamedEngine, engine_target, selftest_target
from flows.rollouts.begin import begin
from flows.rollouts.comparison import Comparison, Finding, compare_rate
from flows.rollouts.look import look_at
from training.evaluate import Measure

LIMIT, ERROR, LOOKS, FRAMES, ALIKE, BEFORE = 0.1, 0.01 / 3, 120, 200, 4, 20
_LOOKS_TIMED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Devices that were reached, controls, and what the engine truly does to the share of defects."""

    staged: int
    controls: int
    shift: float

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.staged} reached, {self.controls} controls, shift {self.shift:g}"


CASES = (
    Case(staged=1, controls=4, shift=0.0),
    Case(staged=1, controls=4, shift=0.1),
    Case(staged=5, controls=20, shift=0.1),
    Case(staged=1, controls=4, shift=0.15),
    Case(staged=1, controls=4, shift=0.2),
    Case(staged=1, controls=4, shift=0.3),
    Case(staged=5, controls=20, shift=0.15),
    Case(staged=5, controls=20, shift=0.2),
)


def course(case: Case, seed: int) -> tuple[int | None, int | None]:
    """The look that stops the engine: by bounds of all looks, and by the interval of one."""
    random = np.random.default_rng(seed)
    n = case.staged + case.controls
    usual = random.uniform(0.04, 0.15, n)

    def batch(sums: Sums, rate: float) -> Sums:
        parts = random.binomial(FRAMES // ALIKE, min(max(rate, 0.0), 1.0))
        return sums.plus(FRAMES, {DEFECT: float(ALIKE * parts)})

    earlier, now = [Sums()] * n, [Sums()] * n
    for i in range(n):
        for _ in range(BEFORE):
            earlier[i] = batch(earlier[i], usual[i])
    ours: int | None = None
    peer: int | None = None
    for look in range(1, LOOKS + 1):
        for i in range(n):
            now[i] = batch(now[i], usual[i] + (case.shift if i < case.staged else 0.0))
        records = [
            Record(joined=0, earlier=before, after=after) if i < case.staged else Record(earlier=before, later=after)
            for i, (before, after) in enumerate(zip(earlier, now, strict=True))
        ]
        found = compare_rate(
            "defects", DEFECT, records[: case.staged], records[case.staged :], limit=LIMIT, min_frames=200, error=ERROR
        )
        if ours is None and found.finding is Finding.BAD:
            ours = look
        if peer is None and beyond_one_look(found, earlier, now, case):
            peer = look
        if ours is not None and peer is not None:
            break
    return ours, peer


def beyond_one_look(found: Comparison, earlier: Sequence[Sums], now: Sequence[Sums], case: Case) -> bool:
    """Whether the 95 % interval of this look alone, of independent frames, is beyond the limit."""

    def variance(place: int) -> float:
        rates = ((sums.rate(DEFECT), sums.frames) for sums in (earlier[place], now[place]))
        return sum(rate * (1 - rate) / frames for rate, frames in rates)

    mine = sum(variance(i) for i in range(case.staged)) / case.staged**2
    theirs = sum(variance(i) for i in range(case.staged, len(now))) / case.controls**2
    return abs(found.value) - 1.96 * math.sqrt(mine + theirs) > LIMIT


def look_seconds(devices: int) -> list[float]:
    """Processor seconds of looks at a fleet of which every device told something new."""
    now = datetime.now(UTC)
    names = [f"line-{i:06d}" for i in range(devices)]
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as folder:
        catalog = Catalog.open(f"sqlite:///{Path(folder) / 'catalog.db'}")
        create_inspection(catalog, "cells", [("ok", "ok"), ("crack", "defect")])
        with catalog.session() as session:
            for name in names:
                row = DeviceRow(name=name, site="p", station="e", public_key_hex="ab" * 32, registered_at=now)
                session.add(row)
            session.flush()
            for name in names:
                session.add(DeviceInspectionRow(device=name, inspection="cells", channel="stable"))
        _tell(catalog, names, 1, now)
        rollout = begin(
            inspection="cells",
            channel="stable",
            version="2",
            engines=(_file("e2", "b" * 64),),
            base_version="1",
            base=(_file("e1", "a" * 64),),
            devices=[follower.facts for follower in followers(catalog, "cells", "stable")],
            present=set(names),
            served_before=(),
            policy=RolloutPolicy(),
            who="benchmark",
            now=now,
        )
        rollout = look_at(catalog, begin_rollout(catalog, rollout), RolloutPolicy(), now)
        took = []
        for look in range(2, 2 + _LOOKS_TIMED):
            now += timedelta(minutes=2)
            _tell(catalog, names, look, now)
            begun = time.process_time()
            rollout = look_at(catalog, rollout, RolloutPolicy(), now)
            took.append(time.process_time() - begun)
        catalog.close()
        return took


def _tell(catalog: Catalog, names: Sequence[str], sequence: int, at: datetime) -> None:
    with catalog.session() as session:
        for name in names:
            payload = Heartbeat(
                device=name,
                site="p",
                station="e",
                sequence=sequence,
                sent_at=at,
                client_version="1",
                inspection="cells",
                channel="stable",
                engine_id="e1",
                engine_sha256="a" * 64,
                slot="a",
                health="ok",
                frames=300 * sequence,
                class_counts={"ok": 290 * sequence, "crack": 10 * sequence},
                latency_ms_p99=8.0,
                hardware="x86_64",
            ).to_payload()
            session.merge(
                DeviceStatusRow(
                    device=name,
                    sequence=sequence,
                    sent_at=at,
                    received_at=at,
                    inspection="cells",
                    channel="stable",
                    payload=payload,
                )
            )


def _file(engine_id: str, sha256: str) -> NamedEngine:
    return NamedEngine(
        engine_path=engine_target("cells", engine_id),
        engine_sha256=sha256,
        engine_bytes=1,
        engine_id=engine_id,
        selftest_path=selftest_target("cells", engine_id),
    )


def _share(hits: int, n: int) -> Measure:
    low, high = clopper_pearson(hits, n)
    return Measure(value=hits / n, low=low, high=high, n=n)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--courses", type=int, default=300, help="simulated rollouts of each case (default 300)")
    parser.add_argument("--devices", type=int, default=1_000, help="fleet whose look is timed (default 1,000)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args()
    rows: list[Row] = []
    at_limit, naive = [0, 0], [0, 0]
    far: list[int] = []
    for case in CASES:
        found = [course(case, seed) for seed in range(args.courses)]
        for name, looks in zip(("bounds of all looks", "one look"), zip(*found, strict=True), strict=True):
            stops = [look for look in looks if look is not None]
            stopped = f"{case.name}: {name}, {len(stops)} of {len(looks)} stopped"
            rows.append(Row.of(stopped, "looks", [look if look is not None else LOOKS for look in looks]))
        if case.shift == LIMIT:
            for each, of in ((at_limit, 0), (naive, 1)):
                each[0] += sum(pair[of] is not None for pair in found)
                each[1] += len(found)
        if case.staged == 1 and case.shift == 0.3:
            far = [ours if ours is not None else LOOKS for ours, _ in found]
    seconds = look_seconds(args.devices)
    rows.append(Row.of(f"a look at {args.devices} devices", "s of a core", seconds))
    low, median, high = (float(q) for q in np.quantile(far, [0.05, 0.5, 0.95]))
    figures = {
        "false_stops": _share(at_limit[0], at_limit[1]),
        "false_stops_of_one_look": _share(naive[0], naive[1]),
        "looks_to_stop": Measure(value=median, low=low, high=high, n=len(far)),
        "look_seconds": Measure(value=float(np.median(seconds)), low=min(seconds), high=max(seconds), n=len(seconds)),
    }
    tell("rollouts", rows, figures, as_json=args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
