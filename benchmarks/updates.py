"""Updates of engines: ``python -m benchmarks.updates [--cache DIR] [--json]``.

Three things are shown. *Cuts*: a story of updates (a whole file, a delta, an engine that goes wrong, an operator's
rollback) is cut after every change that it makes to the disk: the process killed, killed in the middle of a write, the
power gone with nothing or some of what was not synced, the database's own files included; on each disk a device starts
again. *Kills*: a real process with a 4 MB int8 engine is killed (SIGKILL) in place of its n-th change to the disk and
started again; the time runs from the start of the new process to its first answer. *Wire*: what later engines of the
same inspection take to fetch, and to apply; peers in the same run where they are installed (zstandard, bsdiff4,
fastcdc).

Figures: `cut_points` (kills included), `stranded` (devices without a working engine, or that did not come to where the
cloud wanted them), `wrong_engine` (another engine served than the stored state names), `seconds_to_serve`, and
`wire_share`: engine, list of chunks and self-test of a head-only update over the engine's bytes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.result import Row, tell
from benchmarks.update_engines import INSPECTION, SentEngine, update_engines
from benchmarks.update_wire import Plant, whole_file, wire
from tests.integration.capture.survival.disturbances import build_shim
from tests.integration.updates.power.cuts import PlayedStory, Verdict
from tests.integration.updates.power.kills import Restart, count_changes, kill_at, restart
from tests.unit.updates.release_world import digest
from training.evaluate import Measure


def power_cuts(folder: Path, shim: Path, *, every: int, seeds: int) -> tuple[list[Row], list[Verdict]]:
    """Cut the story everywhere."""
    story = PlayedStory(folder / "story", shim)
    verdicts: list[Verdict] = []
    ways: Counter[str] = Counter()
    for number, cut in enumerate(story.cuts(seeds)):
        if number % every:
            continue
        verdict = story.restart(cut, folder / "cut")
        verdicts.append(verdict)
        ways[cut.way] += 1
        if not verdict.well:
            print(f"updates: {cut.way} after change {cut.n}, {cut.change}: {verdict}", file=sys.stderr)
    changes = Counter(change.operation for change in story.changes if change.note is None)
    rows = [Row.of(f"changes of the story: {name}", "", [float(count)]) for name, count in sorted(changes.items())]
    rows += [Row.of(f"different disks, {way}", "", [float(count)]) for way, count in sorted(ways.items())]
    return rows, verdicts


def kills(folder: Path, shim: Path, engines: dict[str, SentEngine], *, every: int) -> list[Restart]:
    """Kill a device at its changes while it goes from the first engine to the head-only update."""
    plant = Plant(folder / "plant", engines["base"], at=datetime.now(UTC))
    plant.release(engines["head-only"])
    template = folder / "plant" / "device"
    template.mkdir()
    (template / "state").mkdir()
    shutil.move(folder / "plant" / "state", template / "state" / "updates")
    shutil.move(plant.cloud, template / "cloud")
    for name in ("factory.onnx", "root.json"):
        shutil.copy2(folder / "plant" / name, template)
    (template / "inspection").write_text(INSPECTION)
    work = folder / "work"
    count = count_changes(template, work, shim)
    found = []
    for n in range(1, count + 1, every):
        if kill_at(template, work, shim, n):
            found.append(restart(work, n))
            print(f"updates: killed at change {n} of {count}: {found[-1]}", file=sys.stderr)
    return found


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.updates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, help="folder for embeddings and engines (default: a temporary one)")
    parser.add_argument("--rounds", type=int, default=10, help="runs of each case on the wire (default: 10)")
    parser.add_argument("--every", type=int, default=1, help="only every n-th power cut (default: 1, all)")
    parser.add_argument("--seeds", type=int, default=3, help="draws of what a power cut leaves (default: 3)")
    parser.add_argument("--kill-every", type=int, default=3, help="only every n-th kill (default: 3)")
    args = parser.parse_args()
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="andon-updates-", dir=where) as name:
        folder = Path(name).resolve()
        cache = args.cache or folder / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        engines = update_engines(cache)
        shim = build_shim(folder)
        rows, moved = wire(engines, rounds=args.rounds)
        rows += whole_file(engines, rounds=args.rounds)
        cut_rows, verdicts = power_cuts(folder / "power", shim, every=args.every, seeds=args.seeds)
        restarts = kills(folder / "kills", shim, engines, every=args.kill_every)
    rows += cut_rows
    rows.append(Row.of("killed processes started again", "", [float(len(restarts))]))
    goal, begun = digest(engines["head-only"].engine), digest(engines["base"].engine)
    stranded = sum(bool(v.stranded) for v in verdicts) + sum(not r.well or r.ended != goal for r in restarts)
    wrong = sum(bool(v.wrong_engine) for v in verdicts) + sum(r.served not in (goal, begun) for r in restarts)
    broken = sum(bool(v.broken_promise) for v in verdicts)
    cuts = len(verdicts) + len(restarts)
    seconds = [r.seconds_to_serve for r in restarts]
    rows.append(Row.of("killed, from the new process to its first answer", "s", seconds))
    share = moved["head-only, delta"].of_files / len(engines["head-only"].engine)
    summary = Row.of("", "", seconds)
    figures = {
        "cut_points": Measure(value=cuts, low=cuts, high=cuts, n=cuts),
        "stranded": Measure(value=stranded, low=stranded, high=stranded, n=cuts),
        "wrong_engine": Measure(value=wrong, low=wrong, high=wrong, n=cuts),
        "broken_promises": Measure(value=broken, low=broken, high=broken, n=len(verdicts)),
        "seconds_to_serve": Measure(value=summary.median, low=summary.low, high=summary.high, n=len(seconds)),
        "wire_share": Measure(value=share, low=share, high=share, n=1),
    }
    tell("updates", rows, figures, as_json=args.json)
    return 1 if stranded or wrong or broken else 0


if __name__ == "__main__":
    sys.exit(main())
