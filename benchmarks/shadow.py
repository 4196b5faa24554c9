"""A challenger in the shadow: what it costs the line, and what it finds: ``python -m benchmarks.shadow [--json]``.

The engine in service has the int8 trunk, the challenger the float trunk; both learnt from the same solar cells, and the
frames (300 x 300) are some that neither has seen. The client is a whole one: capture, spool, uploads to a folder,
heartbeats; it inspects at a fixed rate, as a line does.

*Cost*: blocks with the shadow, without it, and without it once more take turns, in an order drawn for each round, in
one client. Told are the median and the 95th and 99th percentiles of `predict` within each kind of block, their ratio
over rounds with a bootstrap interval, beside the same ratio of the two kinds without a shadow (what the machine does by
itself), and the processor time of the challenger's process against the share that it may take.

*What it finds*: with every frame drawn and enough time, the challenger's answers in the field are compared with both
engines run offline on the same frames; then, at a share of the frames, the rate with its interval against the rate
over all of them. Of the captured frames it is told how much more often one was kept on which the two disagree.

    python -m benchmarks.shadow [--json] [--rounds 40] [--cache DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines import bench_engines
from benchmarks.learning import Cells
from benchmarks.result import Row, ratio_of_means, tell
from edge_client import Client
from edge_client.contract.sealing import generate_identity
from edge_client.contract.signing import generate_private_key
from edge_client.engine import Engine
from edge_client.prediction import Prediction, predictions_from
from edge_client.shadow.process import Answer, ChallengerProcess
from edge_client.shadow.tally import ShadowTally, difference
from edge_client.shadow.worker import ShadowWorker
from edge_client.updates.trial import TrialLimits
from flows.shadow import Rate
from training.evaluate import Measure
from training.plans import DEFAULT

_WARM_UP = 200
_SETTLES = 25  # frames before each block, not counted: what loads a challenger empties the caches once
_SLOW_SECONDS = 0.05  # between two frames where disagreements are looked for: each can be answered
Frames = Sequence[NDArray[np.uint8]]


KINDS = ("without", "with", "without again")


@dataclass(slots=True, kw_only=True)
class Cost:
    """What blocks with and without the shadow took.

    Attributes:
        took_ms: Kind of block to its blocks, each the milliseconds of its frames.
        cpu_share: The challenger's processor time in each block with it, of a core.
        tally: Of all blocks with it.
    """

    took_ms: dict[str, list[list[float]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    cpu_share: list[float] = field(default_factory=list)
    tally: ShadowTally

    def quantile(self, kind: str, q: float) -> list[float]:
        """Return the quantile of each block."""
        return [float(np.quantile(block, q)) for block in self.took_ms[kind]]


@contextmanager
def line(engine: bytes, inspection: str) -> Iterator[Client]:
    """A device as enrolment would set it up, its bucket a folder."""
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as name:
        folder = Path(name)
        (folder / "factory.onnx").write_bytes(engine)
        generate_private_key(folder / "device.key")
        recipient = generate_identity(folder / "recipient.age")
        (folder / "andon.toml").write_text(
            f'[device]\nname = "line-1"\nsite = "plant"\nstation = "camera"\nkey = "device.key"\n'
            f'[inspection]\nname = "{inspection}"\nfactory_engine = "factory.onnx"\nthreads = 1\n'
            f'[bucket]\ndirectory = "bucket"\n[cloud]\nrecipient = "{recipient}"\n'
        )
        with Client.from_config(folder / "andon.toml") as client:
            yield client


class Shadowed:
    """Runs a challenger beside a client, as its keeper does once the document is there."""

    def __init__(self, client: Client, challenger: bytes, *, share: float, cpu_share: float, seed: int) -> None:
        self._client = client
        self._file = client.config.device.state / "challenger.onnx"
        self._file.write_bytes(challenger)
        self._digest = hashlib.sha256(challenger).hexdigest()
        self.tally = ShadowTally()
        self._share, self._cpu_share = share, cpu_share
        self._random = random.Random(seed)
        self._worker: ShadowWorker | None = None

    def begin(self) -> None:
        """Let it run."""
        process = ChallengerProcess(
            self._file, engine_sha256=self._digest, provider="cpu", memory_bytes=TrialLimits().memory_bytes
        )
        self._worker = ShadowWorker(
            process, share=self._share, cpu_share=self._cpu_share, tally=self.tally, random=self._random
        )
        self._worker.start()
        self._keeper._worker = self._worker

    def end(self) -> None:
        """Let it rest."""
        self._keeper._worker = None
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def wait_for(self, frames: int, *, seconds: float = 60.0) -> None:
        """Wait until so many frames were answered or skipped."""
        end = time.monotonic() + seconds
        while self.tally.seen + self.tally.skipped + self.tally.failed < frames and time.monotonic() < end:
            time.sleep(0.01)

    @property
    def _keeper(self):  # type: ignore[no-untyped-def]
        assert self._client._shadow is not None
        return self._client._shadow


def measure_cost(
    client: Client, challenger: bytes, frames: Frames, *, rounds: int, block: int, fps: float, share: float, cpu: float
) -> Cost:
    """Let blocks with and without the shadow take turns."""
    shadowed = Shadowed(client, challenger, share=share, cpu_share=cpu, seed=1)
    cost = Cost(tally=shadowed.tally)
    order = random.Random(0)
    at = 0
    _inspect(client, frames, 0, _WARM_UP, fps)
    for _ in range(rounds):
        for kind in order.sample(KINDS, len(KINDS)):
            if kind == "with":
                shadowed.begin()
            _inspect(client, frames, at, _SETTLES, fps)
            before, begun = shadowed.tally.cpu_seconds, time.perf_counter()
            cost.took_ms[kind].append(_inspect(client, frames, at, block, fps))
            seconds = time.perf_counter() - begun
            at += block
            if kind == "with":
                shadowed.end()
                cost.cpu_share.append((shadowed.tally.cpu_seconds - before) / seconds)
    return cost


def find(client: Client, champion: bytes, challenger: bytes, frames: Frames, *, share: float) -> dict[str, Measure]:
    """Compare what the shadow finds with both engines run offline."""
    engines = [Engine.from_bytes(data, threads=1) for data in (champion, challenger)]
    truth = [difference(_answer(engines[0], frame), _as_answer(_answer(engines[1], frame))) for frame in frames]
    true_count = sum(t.disagrees for t in truth)
    every = Shadowed(client, challenger, share=1.0, cpu_share=0.5, seed=2)
    every.begin()
    doubted: dict[str, bool] = {}
    last = time.perf_counter()
    for frame, told in zip(frames, truth, strict=True):
        doubted[client.predict(frame).sample_id] = told.disagrees
        last = _next_frame(every, last)
    every.wait_for(len(frames))
    every.end()
    client.flush(seconds=0)
    kept = _kept(client)
    some = Shadowed(client, challenger, share=share, cpu_share=0.5, seed=3)
    some.begin()
    last = time.perf_counter()
    for frame in frames:
        client.predict(frame)
        last = _next_frame(some, last)
    some.end()
    rate = Rate.of(some.tally.disagreed, some.tally.seen)
    in_time = 1 - every.tally.late / every.tally.disagreed if every.tally.disagreed else float("nan")
    return {
        "disagreements_offline": _exact(true_count, len(frames)),
        "disagreements_found": _exact(every.tally.disagreed, every.tally.seen),
        "found_in_time_to_weigh": _exact(in_time, every.tally.disagreed),
        "captured_of_agreed": _share([sample in kept for sample, differs in doubted.items() if not differs]),
        "captured_of_disagreed": _share([sample in kept for sample, differs in doubted.items() if differs]),
        "rate_offline": _exact(true_count / len(frames), len(frames)),
        "rate_at_share": Measure(value=rate.value, low=rate.low, high=rate.high, n=rate.n),
    }


def _inspect(client: Client, frames: Frames, at: int, n: int, fps: float) -> list[float]:
    took = []
    due = time.perf_counter()
    for i in range(n):
        due += 1.0 / fps
        begun = time.perf_counter()
        client.predict(frames[(at + i) % len(frames)])
        took.append((time.perf_counter() - begun) * 1e3)
        time.sleep(max(0.0, due - time.perf_counter()))
    return took


def _answer(engine: Engine, frame: NDArray[np.uint8]) -> Prediction:
    (prediction,) = predictions_from(engine.run(frame), engine, sample_ids=["0" * 32], latency_ms=0.0)
    return prediction


def _as_answer(prediction: Prediction) -> Answer:
    return Answer(
        verdict=prediction.verdict,
        label=prediction.label,
        defect_probability=prediction.defect_probability,
        cpu_seconds=0.0,
    )


def _next_frame(shadowed: Shadowed, last: float) -> float:
    """Wait for a slow line's next frame, and until the challenger has answered and saved up time; when it came."""
    worker = shadowed._worker
    time.sleep(max(0.0, last + _SLOW_SECONDS - time.perf_counter()))
    assert worker is not None
    end = time.monotonic() + 20.0
    while not worker.rests() and time.monotonic() < end:
        time.sleep(0.001)
    return time.perf_counter()


def _kept(client: Client) -> set[str]:
    """Sample ids of the frames that capture holds."""
    loop = client._loop
    assert loop is not None
    with loop.spool.lock:
        rows = loop.spool.db.execute("SELECT sample_id FROM entries WHERE state IN ('kept', 'uploaded')").fetchall()
    return {str(sample) for (sample,) in rows}


def _share(values: list[bool]) -> Measure:
    rate = Rate.of(sum(values), len(values))
    return Measure(value=rate.value, low=rate.low, high=rate.high, n=rate.n)


def _exact(value: float, n: int) -> Measure:
    return Measure(value=float(value), low=float(value), high=float(value), n=n)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shadow", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps embeddings and engines")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="of blocks (default: 40)")
    parser.add_argument("--block", type=int, default=100, metavar="N", help="frames of a block (default: 100)")
    parser.add_argument("--fps", type=float, default=50.0, help="of the line (default: 50)")
    parser.add_argument("--frames", type=int, metavar="N", help="to find disagreements on (default: all held out)")
    parser.add_argument("--share", type=float, default=0.2, help="of the frames (default: 0.2)")
    parser.add_argument("--cpu-share", type=float, default=0.1, help="of a core (default: 0.1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="andon-shadow-") as name:
        cache = args.cache or Path(name)
        engines = bench_engines(cache)
        cells = Cells(cache, "fp32", [DEFAULT])
        frames = [cells.frames[i] for i in engines.held_out]
        inspection = Engine.from_bytes(engines.int8).metadata.inspection
        with line(engines.int8, inspection) as client:
            cost = measure_cost(
                client,
                engines.float32,
                frames,
                rounds=args.rounds,
                block=args.block,
                fps=args.fps,
                share=args.share,
                cpu=args.cpu_share,
            )
        with line(engines.int8, inspection) as client:
            found = find(client, engines.int8, engines.float32, frames[: args.frames], share=args.share)
    tell("shadow", _rows(cost), {**_figures(cost, args.cpu_share), **found}, as_json=args.json)


def _rows(cost: Cost) -> list[Row]:
    rows = [
        Row.of(f"predict, {kind} a shadow: {name} of a block", "ms", cost.quantile(kind, q))
        for name, q in (("median", 0.5), ("p95", 0.95), ("p99", 0.99))
        for kind in KINDS
    ]
    return [*rows, Row.of("the shadow's processor time", "of a core", cost.cpu_share)]


def _figures(cost: Cost, allowed: float) -> dict[str, Measure]:
    tally = cost.tally
    ratios = {
        f"latency_p{round(100 * q)}{suffix}": ratio_of_means(cost.quantile(kind, q), cost.quantile("without", q))
        for q in (0.5, 0.95, 0.99)
        for kind, suffix in (("with", ""), ("without again", "_without_again"))
    }
    took = {kind: np.concatenate(cost.took_ms[kind]) for kind in ("without", "with")}
    n = len(cost.cpu_share)
    return {
        **ratios,
        "p99_without_ms": _exact(float(np.quantile(took["without"], 0.99)), len(took["without"])),
        "p99_with_ms": _exact(float(np.quantile(took["with"], 0.99)), len(took["with"])),
        "cpu_share": Measure(
            value=float(np.mean(cost.cpu_share)), low=min(cost.cpu_share), high=max(cost.cpu_share), n=n
        ),
        "cpu_share_allowed": _exact(allowed, n),
        "cpu_ms_per_frame": _exact(1e3 * tally.cpu_seconds / max(1, tally.seen), tally.seen),
        "seen": _exact(tally.seen, tally.seen + tally.skipped),
        "skipped": _exact(tally.skipped, tally.seen + tally.skipped),
    }


if __name__ == "__main__":
    main()
