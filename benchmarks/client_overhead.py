"""What the client costs beside the engine: `Client.predict` with capture on against a bare `session.run`.

Same file, same frames (224 x 224), same number of threads, both in one process. The two take turns, block after block,
so that a slow minute of the machine hits both. The client is a whole one: near-duplicates, weights, sampler, spool on
disk, a bucket to which it uploads, heartbeats. It is not its first start, so it knows how large the line's frames are,
and before the timing it inspects 18,000 frames: half of an hour's window at ten frames a second. Then eight frames in
flight: `Client.submit` against a pool of as many threads that call `session.run`; a block ends when everything captured
in it is on disk, and is long enough (800 frames) that this end is a small part of it.

    python -m benchmarks.client_overhead [--json] [--blocks 40]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from benchmarks.engines import bench_engines
from benchmarks.result import Row, tell
from edge_client import Client
from edge_client.contract.sealing import generate_identity
from edge_client.contract.signing import generate_private_key
from training.evaluate import Measure

SIDE = 224
FRAMES_A_BLOCK = 50
FRAMES_A_BLOCK_IN_FLIGHT = 800
IN_FLIGHT = 8
WARM_UP = 18_000
Floats = NDArray[np.float64]


@contextmanager
def line(engine: bytes, threads: int) -> Iterator[Client]:
    """A device as enrolment would set it up, its bucket a folder."""
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as name:
        folder = Path(name)
        (folder / "factory.onnx").write_bytes(engine)
        generate_private_key(folder / "device.key")
        recipient = generate_identity(folder / "recipient.age")
        (folder / "andon.toml").write_text(
            f"""
[device]
name = "line-1"
site = "plant"
station = "camera"
key = "device.key"

[inspection]
name = "cells"
factory_engine = "factory.onnx"
threads = {threads}

[bucket]
directory = "bucket"

[cloud]
recipient = "{recipient}"
"""
        )
        with Client.from_config(folder / "andon.toml") as client:
            client.predict(np.zeros((SIDE, SIDE, 3), np.uint8), capture=False)
        with Client.from_config(folder / "andon.toml") as client:
            yield client


def bare_session(engine: bytes, threads: int) -> onnxruntime.InferenceSession:
    """The same file in ONNX Runtime alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])


def one_at_a_time(call: Callable[[NDArray[np.uint8]], object], frames: Sequence[NDArray[np.uint8]]) -> Floats:
    """Milliseconds of each call."""
    times = []
    for frame in frames:
        began = time.perf_counter()
        call(frame)
        times.append(1e3 * (time.perf_counter() - began))
    return np.array(times)


def in_flight(
    submit: Callable[[NDArray[np.uint8]], Future[object]],
    frames: Sequence[NDArray[np.uint8]],
    settled: Callable[[], None],
) -> float:
    """Frames a second with eight under way."""
    began = time.perf_counter()
    waiting: deque[Future[object]] = deque()
    for frame in frames:
        if len(waiting) == IN_FLIGHT:
            waiting.popleft().result()
        waiting.append(submit(frame))
    for future in waiting:
        future.result()
    settled()
    return len(frames) / (time.perf_counter() - began)


def quantile_ratio(ours: Sequence[Floats], theirs: Sequence[Floats], q: float) -> Measure:
    """Ratio of a quantile over all calls, with a 95 % bootstrap interval over the pairs of blocks."""
    random = np.random.default_rng(0)

    def ratio(rows: NDArray[np.int64]) -> float:
        a, b = (np.quantile(np.concatenate([side[i] for i in rows]), q) for side in (ours, theirs))
        return float(a / b)

    found = [ratio(random.integers(0, len(ours), len(ours))) for _ in range(1000)]
    low, high = (float(v) for v in np.quantile(found, [0.025, 0.975]))
    calls = sum(len(block) for block in ours)
    return Measure(value=ratio(np.arange(len(ours))), low=low, high=high, n=calls)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Measure:
    """Median over paired blocks of ours / theirs, with a 95 % bootstrap interval."""
    ratios = np.asarray(ours) / np.asarray(theirs)
    rows = np.random.default_rng(0).integers(0, len(ratios), size=(2000, len(ratios)))
    low, high = (float(v) for v in np.quantile(np.median(ratios[rows], axis=1), [0.025, 0.975]))
    return Measure(value=float(np.median(ratios)), low=low, high=high, n=len(ratios))


def main() -> None:
    """Time both, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for the engines")
    parser.add_argument("--blocks", type=int, default=40, help=f"of {FRAMES_A_BLOCK} frames; half as many in flight")
    parser.add_argument("--threads", type=int, default=1, help="of one run, for both")
    args = parser.parse_args()
    engines = bench_engines(args.cache)
    frames = [np.asarray(Image.fromarray(f).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for f in engines.frames]
    session = bare_session(engines.int8, args.threads)
    outputs = [o.name for o in session.get_outputs()]

    def bare(frame: NDArray[np.uint8]) -> object:
        return session.run(outputs, {"image": frame[None]})

    with line(engines.int8, args.threads) as client, ThreadPoolExecutor(client.runtime.slots) as pool:

        def settled() -> None:
            while client.status()["capture"]["waiting_candidates"] > 0:
                time.sleep(0.002)

        def block(number: int, length: int) -> list[NDArray[np.uint8]]:
            return [frames[(number * length + i) % len(frames)] for i in range(length)]

        for i in range(WARM_UP):
            client.predict(frames[i % len(frames)])
        settled()
        alone: dict[str, list[Floats]] = {"client": [], "bare": []}
        together: dict[str, list[float]] = {"client": [], "bare": []}
        for number in range(args.blocks):
            single = block(number, FRAMES_A_BLOCK)
            alone["bare"].append(one_at_a_time(bare, single))
            alone["client"].append(one_at_a_time(client.predict, single))
            settled()
            if number % 2:
                continue
            many = block(number, FRAMES_A_BLOCK_IN_FLIGHT)
            together["bare"].append(in_flight(lambda f: pool.submit(bare, f), many, lambda: None))
            together["client"].append(in_flight(client.submit, many, settled))
    rows = []
    for name in ("bare", "client"):
        what = "session.run" if name == "bare" else "Client.predict, capture on"
        times = np.concatenate(alone[name])
        rows.append(Row.of(f"{what}: a frame", "ms", times.tolist()))
        p99 = [float(np.quantile(b, 0.99)) for b in alone[name]]
        rows.append(Row.of(f"{what}: p99 of a block", "ms", p99))
        rows.append(Row.of(f"{what}: {IN_FLIGHT} in flight", "frames/s", together[name]))
    figures = {
        "predict_p50_ratio": quantile_ratio(alone["client"], alone["bare"], 0.5),
        "predict_p99_ratio": quantile_ratio(alone["client"], alone["bare"], 0.99),
        "in_flight_throughput_ratio": median_ratio(together["client"], together["bare"]),
    }
    tell("client_overhead", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
