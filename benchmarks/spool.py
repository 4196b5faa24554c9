"""The spool: samples it acknowledges a second on a real disk, what it costs to hold and start, and what a cut loses.

Rate: samples of 40 kB are committed one by one, as a line that sees one candidate at a time, and in the batches of the
worker; beside them, in the same run, the least that any durable store must do: one fsynced file with its folder, and
one row at ``synchronous=FULL``. Start and memory: a spool of 4,000 samples is opened by a new process. Cuts: the crash
harness of the tests, every change on disk in four ways; `lost` counts the cuts after which an acknowledged sample,
or any other promise, was gone.

    python -m benchmarks.spool [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.captured_line import memory_folder
from benchmarks.result import Row, tell
from edge_client.spool import Spool
from edge_client.spool_database import sync_folder, write_durably
from edge_client.steps import Offer, Open, Seen, Step
from edge_client.tally import Tally
from tests.integration.capture.crash.disk import write_image
from tests.integration.capture.crash.test_cut_points import Story, check
from training.evaluate import Measure

SIZE = 40_000  # bytes of a sealed sample
BATCH = 16  # of the worker
FULL = 4_000  # samples of a full spool
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SHIM = Path(__file__).parents[1] / "tests/integration/capture/crash/shim.c"


class _Samples:
    """Sealed samples that do not repeat."""

    def __init__(self) -> None:
        self._random = random.Random(0)
        self._n = 0

    def steps(self, n: int) -> list[Step]:
        """Return n frames, each seen and offered."""
        steps: list[Step] = []
        for _ in range(n):
            self._n += 1
            tally = Tally()
            tally.see(weight=1, label="ok", verdict="ok", engine_id="e", anomaly=0.4, margin=0.9, run=self._n)
            steps.append(Seen(window=1, tally=tally, at=NOON))
            steps.append(
                Offer(
                    window=1,
                    sample_id=f"{self._n:032x}",
                    weight=1.0,
                    u=1.0 - self._random.random(),
                    run=self._n,
                    reasons="{}",
                    sealed=self._random.randbytes(SIZE),
                )
            )
        return steps


def _spool(folder: Path) -> Spool:
    return Spool(folder, limit_bytes=1 << 34, free_bytes=lambda _: 1 << 40)


def rates(folder: Path, repeats: int) -> tuple[list[Row], Measure]:
    """Time each way of making samples durable, one after another in each repeat."""
    spool = _spool(folder / "spool")
    spool.commit([Open(window=1, opened_at=NOON, byte_budget=1 << 40)])
    samples = _Samples()
    (folder / "files").mkdir()
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")

    def one_by_one(batch: list[Step]) -> None:
        for i in range(0, len(batch), 2):
            spool.commit(batch[i : i + 2])

    def files(batch: list[Step]) -> None:
        for step in batch[1::2]:
            assert isinstance(step, Offer)
            write_durably(folder / "files" / step.sample_id, step.sealed)
            sync_folder(folder / "files")

    def rows(batch: list[Step]) -> None:
        for step in batch[1::2]:
            assert isinstance(step, Offer)
            bare.execute("INSERT INTO rows (text) VALUES (?)", (hashlib.sha256(step.sealed).hexdigest() * 4,))

    ways: dict[str, Callable[[list[Step]], object]] = {
        "spool, in batches of 16": spool.commit,
        "spool, one by one": one_by_one,
        "a file, fsynced with its folder": files,
        "a row in SQLite at FULL": rows,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            batch = samples.steps(BATCH)
            started = time.perf_counter()
            way(batch)
            found[name].append(BATCH / (time.perf_counter() - started))
    spool.close()
    bare.close()
    told = [Row.of(name, "samples a second", values) for name, values in found.items()]
    return told, Measure(value=told[0].median, low=told[0].low, high=told[0].high, n=told[0].n)


def full(folder: Path, starts: int) -> list[Row]:
    """Fill a spool; open it in new processes."""
    spool = _spool(folder)
    spool.commit([Open(window=1, opened_at=NOON, byte_budget=1 << 40)])
    samples = _Samples()
    for _ in range(FULL // 200):
        spool.commit(samples.steps(200))
    spool.close()
    seconds, memory = [], []
    for _ in range(starts):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.spool", "--open", folder], capture_output=True, text=True, check=True
        )
        took, grown = done.stdout.split()
        seconds.append(1000 * float(took))
        memory.append(float(grown))
    return [
        Row.of(f"start with {FULL:,} samples", "ms", seconds),
        Row.of(f"memory of a spool of {FULL:,} samples", "MB", memory),
    ]


def _open(folder: Path) -> None:
    before = _resident_bytes()
    started = time.perf_counter()
    spool = _spool(folder)
    took = time.perf_counter() - started
    print(took, (_resident_bytes() - before) / 1e6)
    spool.close()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def cuts() -> tuple[Measure, Measure]:
    """Cut a played story after each of its changes, in four ways, and start on what is left; count broken promises."""
    points = broken = 0
    with memory_folder() as folder:
        shim = folder / "shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, SHIM, "-ldl", "-lpthread"], check=True)
        story = Story(folder, shim)
        for _, _, image, told, following in story.cuts():
            cut = folder / "cut"
            (cut / "spool").mkdir(parents=True)
            write_image(image, str(story.root), cut / "spool")
            try:
                check(story, cut, told, following)
            except AssertionError:
                broken += 1
            shutil.rmtree(cut)
            points += 1
    return (
        Measure(value=points, low=points, high=points, n=points),
        Measure(value=broken, low=broken, high=broken, n=points),
    )


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, help="of other benchmarks; not used")
    parser.add_argument("--folder", type=Path, help="on the disk that is measured; default: the temporary folder's")
    parser.add_argument("--repeats", type=int, default=60, help="batches of each way")
    parser.add_argument("--starts", type=int, default=9, help="processes that open the full spool")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        _open(args.open)
        return
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="andon-bench-") as name:
        rows, acknowledged = rates(Path(name), args.repeats)
        rows += full(Path(name) / "full", args.starts)
    points, lost = cuts()
    tell(
        "spool",
        rows,
        {"acknowledged_per_second": acknowledged, "cut_points": points, "lost": lost},
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
