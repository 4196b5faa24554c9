"""The sampler: what it costs a frame, whether its totals are right, and what it finds for its bytes beside its peers.

Cost: one stream of frames through the sampler (and through the weigher before it), beside reservoir sampling in the
same language. Totals: a fixed population of three stations in four windows under tight window and pool budgets, drawn
many times; |z| of every Horvitz-Thompson total against the truth. Rare defects: the polycrystalline cells pass with
one in fifty defective, judged by an engine that has learnt 103 of them; for the same bytes, how many defects are kept
by priority sampling, by a reservoir (every frame alike), and by a band (whatever the engine is less sure of than a
threshold, first come, until the bytes are spent, as edge platforms offer it).

    python -m benchmarks.sampler [--json]
"""

from __future__ import annotations

import argparse
import io
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks.learning import AUDIT, Cells, Judged, judge, metadata_of, weigh
from benchmarks.result import Row, ratio_of_means, tell
from edge_client.contract.engine_metadata import Thresholds
from edge_client.contract.inclusion import counts_for_estimates, inclusion_probability
from edge_client.sampler import Sampler
from edge_client.weights import Weigher
from training.evaluate import Measure
from training.fit import learn, score_examples
from training.plans import DEFAULT

FRAMES = 20_000
DEFECTS = 0.02
BYTES = 0.1  # of the stream's bytes are kept


def _ns_per_frame(run: Callable[[], None], frames: int) -> float:
    started = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - started) / frames


def costs(repeats: int) -> tuple[list[Row], Measure]:
    """Time a stream through each way, one after another in each repeat."""
    random = np.random.default_rng(0)
    weights = (0.1 + random.random(FRAMES)).tolist()
    sizes = random.integers(20_000, 60_000, FRAMES).tolist()
    embeddings = random.normal(size=(FRAMES // 10, 1280)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    probabilities = random.dirichlet([4, 1], FRAMES // 10).astype(np.float32)

    def priority() -> None:
        sampler = Sampler(pool_bytes=10**9)
        sampler.open_window(1, byte_budget=8_000_000)
        for i in range(FRAMES):
            u = (secrets.randbits(53) + 1) / 2**53
            if not sampler.rejects(1, weights[i] / u):
                sampler.offer(1, str(i), weight=weights[i], u=u, size=sizes[i])

    def reservoir() -> None:
        kept: list[int] = []
        for i in range(FRAMES):
            if len(kept) < 200:
                kept.append(i)
            elif (j := secrets.randbelow(i + 1)) < 200:
                kept[j] = i

    frames = FRAMES // 10
    judged = Judged(
        probabilities, np.full(frames, 0.4, np.float32), embeddings, metadata_of("benchmark", (0.8, 0.2), Thresholds())
    )

    def weighing() -> None:
        for _ in weigh(judged, Weigher(audit_share=AUDIT, random=np.random.default_rng(0))):
            pass

    times: dict[str, list[float]] = {"priority sampling": [], "reservoir": [], "weighing, 1280-wide embedding": []}
    for _ in range(repeats):
        times["priority sampling"].append(_ns_per_frame(priority, FRAMES))
        times["reservoir"].append(_ns_per_frame(reservoir, FRAMES))
        times["weighing, 1280-wide embedding"].append(_ns_per_frame(weighing, frames))
    rows = [Row.of(name, "ns a frame", values) for name, values in times.items()]
    ours = rows[0]
    return rows, Measure(value=ours.median, low=ours.low, high=ours.high, n=ours.n)


def totals(runs: int) -> tuple[list[Row], Measure]:
    """Draw one population again and again; z of the mean of each estimated total against the truth."""
    random = np.random.default_rng(7)
    n, windows = 240, 4
    weight = 0.2 + random.gamma(1.0, size=n)
    size = random.integers(5, 60, n)
    window = np.repeat(np.arange(1, windows + 1), n // windows)
    station = np.arange(n) % 3
    late = np.arange(n) % (n // windows) >= 3 * n // windows // 4
    parts = {
        "frames": np.ones(n),
        "weight": weight,
        "small frames": (size < 20).astype(float),
        "large frames": (size > 45).astype(float),
        "late frames": late.astype(float),
        **{f"station {s}": (station == s).astype(float) for s in range(3)},
    }
    found = {name: np.zeros(runs) for name in parts}
    for run in range(runs):
        u = 1.0 - random.random(n)
        sampler = Sampler(pool_bytes=2500)
        for i in range(n):
            number = int(window[i])
            if i % (n // windows) == 0:
                sampler.open_window(number, byte_budget=1000)
            sampler.offer(number, str(i), weight=float(weight[i]), u=float(u[i]), size=int(size[i]))
            if i % (n // windows) == n // windows - 1:
                sampler.seal(number)
        for number in range(1, windows + 1):
            tau = sampler.threshold(number)
            for i in (int(key) for key in sampler.keys(number)):
                if counts_for_estimates(float(weight[i]), float(u[i]), tau):
                    p = inclusion_probability(float(weight[i]), tau)
                    for name, y in parts.items():
                        found[name][run] += y[i] / p
    z = {name: (v.mean() - parts[name].sum()) / (v.std(ddof=1) / np.sqrt(runs)) for name, v in found.items()}
    rows = [
        Row.of(f"estimated {name}, share of the truth", "", (v / parts[name].sum()).tolist())
        for name, v in found.items()
    ]
    largest = max(abs(v) for v in z.values())
    return rows, Measure(value=float(largest), low=0.0, high=float(largest), n=runs)


@dataclass(frozen=True, slots=True)
class _Stream:
    """The cells that may pass: the truth, what the engine says of them, and what they weigh on the wire."""

    defect: NDArray[np.bool_]
    judged: Judged
    bytes: NDArray[np.int64]


def _stream(cache: Path) -> _Stream:
    """Learn from the monocrystalline cells and 103 of the others; judge the rest."""
    cells = Cells(cache, "int8", [DEFAULT])
    random = np.random.default_rng(0)
    poly = random.permutation(np.flatnonzero(cells.poly))
    known, rest = poly[:103], poly[103:]
    request = cells.request(np.flatnonzero(~cells.poly), known, np.full(len(known), 0.1), known, 0)
    with threadpool_limits(1):
        scored = score_examples(request)
        learnt = learn(request, scored.scores)
        judged = judge(cells, learnt, scored.bank, rest)
    return _Stream(
        defect=cells.defect[rest] == 1, judged=judged, bytes=np.array([_png_bytes(cells.frames[i]) for i in rest])
    )


def _png_bytes(frame: NDArray[np.uint8]) -> int:
    file = io.BytesIO()
    Image.fromarray(frame[:, :, 0]).save(file, format="PNG")
    return file.tell()


def rare(cache: Path, runs: int) -> tuple[list[Row], dict[str, Measure]]:
    """Count the defects that each way keeps for the same bytes."""
    stream = _stream(cache)
    shares: dict[str, list[float]] = {"priority sampling": [], "reservoir": [], "band": []}
    for run in range(runs):
        random = np.random.default_rng(run)
        good, bad = (random.permutation(np.flatnonzero(side)) for side in (~stream.defect, stream.defect))
        rows = random.permutation(np.concatenate([good, bad[: round(DEFECTS / (1 - DEFECTS) * len(good))]]))
        defects = int(stream.defect[rows].sum())
        budget = int(BYTES * stream.bytes[rows].sum())
        for name, keep in (("priority sampling", _priority), ("reservoir", _reservoir), ("band", _band)):
            kept = keep(stream, rows, budget, random)
            shares[name].append(int(stream.defect[kept].sum()) / defects)
    ours = shares["priority sampling"]
    return [Row.of(f"{name}: share of the rare defects kept", "", values) for name, values in shares.items()], {
        "rare_per_byte_over_reservoir": ratio_of_means(ours, shares["reservoir"]),
        "rare_per_byte_over_band": ratio_of_means(ours, shares["band"]),
    }


def _priority(stream: _Stream, rows: NDArray[np.int64], budget: int, random: np.random.Generator) -> NDArray[np.int64]:
    sampler = Sampler(pool_bytes=10**12)
    sampler.open_window(1, byte_budget=budget)
    weights = weigh(stream.judged.select(rows), Weigher(audit_share=AUDIT, random=random))
    for i, weight in zip(rows, weights, strict=True):
        sampler.offer(1, str(i), weight=weight, u=1.0 - float(random.random()), size=int(stream.bytes[i]))
    return np.array(sorted(int(key) for key in sampler.keys(1)), dtype=np.int64)


def _reservoir(stream: _Stream, rows: NDArray[np.int64], budget: int, random: np.random.Generator) -> NDArray[np.int64]:
    order = random.permutation(rows)
    return order[np.cumsum(stream.bytes[order]) <= budget]


def _band(stream: _Stream, rows: NDArray[np.int64], budget: int, _: np.random.Generator) -> NDArray[np.int64]:
    """Keep what lies below a confidence, first come; the confidence is the best of several for this very stream."""
    best, most = rows[:0], -1
    for confidence in (0.6, 0.7, 0.8, 0.9):
        inside = rows[stream.judged.probabilities[rows].max(axis=1) < confidence]
        kept = inside[np.cumsum(stream.bytes[inside]) <= budget]
        if int(stream.defect[kept].sum()) > most:
            best, most = kept, int(stream.defect[kept].sum())
    return best


def main() -> None:
    """Run the three parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--repeats", type=int, default=15, help="of the timings")
    parser.add_argument("--runs", type=int, default=2000, help="draws of the population")
    parser.add_argument("--streams", type=int, default=60, help="orders of the cells with rare defects")
    args = parser.parse_args()
    cost_rows, ns = costs(args.repeats)
    total_rows, z = totals(args.runs)
    rare_rows, ratios = rare(args.cache, args.streams)
    tell(
        "sampler",
        [*cost_rows, *total_rows, *rare_rows],
        {"ns_per_frame": ns, "largest_abs_z": z, **ratios},
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
