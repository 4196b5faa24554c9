"""The sampler: what it costs a frame, whether its totals are right, and what it finds for its bytes beside its peers.

Cost: one stream of frames through the sampler, through the weigher before it and through the whole intake, beside
reservoir sampling in the same language; and the memory that a full sampler and the weigher take. Totals and variances:
six scenes of `sampled_line` and `captured_line`, drawn many times; |z| of every Horvitz-Thompson total against the
truth, the variance estimate against the variance, and the coverage of the intervals (`coverage`). A week offline: ten
frames a second for an hour a day under a pool of 200 MB. Rare defects: the polycrystalline cells pass with one in
fifty defective, judged by an engine that has learnt 103 of them; for the same bytes, how many defects are kept by
priority sampling, by a reservoir (every frame alike), and by a band (whatever the engine is less sure of than a
threshold chosen in hindsight, first come, until the bytes are spent, as edge platforms offer it), and whether the rate
of defects can be estimated from what was kept. The band has no audit share; so it is also run with 70 % of the bytes
beside a reservoir with the rest.

    python -m benchmarks.sampler [--json]
    python -m benchmarks.sampler --audit-table     how many audited frames a statement on recall needs
"""

from __future__ import annotations

import argparse
import io
import secrets
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks import captured_line, sampled_line
from benchmarks.audit_table import audit_table
from benchmarks.captured_line import CapturedLine, memory_folder
from benchmarks.coverage import SETTINGS, coverage
from benchmarks.learning import AUDIT, Cells, Judged, judge, metadata_of, weigh
from benchmarks.result import Row, ratio_of_means, tell
from benchmarks.sampled_line import Line, Verdict, answers, draws_of, judged, weights_of
from data.intervals import rate_interval
from edge_client.capture import draw_from_os
from edge_client.clock import SystemClock
from edge_client.contract.engine_metadata import Thresholds
from edge_client.contract.inclusion import inclusion_probability
from edge_client.intake import Frame, Intake, Policy
from edge_client.prediction import Prediction
from edge_client.runs import Runs
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
    frames = FRAMES // 10
    embeddings = random.normal(size=(frames, 1280)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    probabilities = random.dirichlet([4, 1], frames).astype(np.float32)
    judged_frames = Judged(
        probabilities, np.full(frames, 0.4, np.float32), embeddings, metadata_of("benchmark", (0.8, 0.2), Thresholds())
    )

    def priority() -> None:
        sampler = Sampler(pool_bytes=10**9)
        sampler.open_window(1, byte_budget=8_000_000)
        for i in range(FRAMES):
            u = draw_from_os()
            if not sampler.rejects(1, weights[i] / u):
                sampler.offer(1, str(i), weight=weights[i], u=u, size=sizes[i])

    def reservoir() -> None:
        kept: list[int] = []
        for i in range(FRAMES):
            if len(kept) < 200:
                kept.append(i)
            elif (j := secrets.randbelow(i + 1)) < 200:
                kept[j] = i

    def weighing() -> None:
        for _ in weigh(judged_frames, Weigher(audit_share=AUDIT, random=np.random.default_rng(0))):
            pass

    offered = [_frame(judged_frames, i) for i in range(frames)]

    def intake() -> None:
        door = _intake(offered[0])
        for frame in offered:
            door.offer(frame)

    ways = {
        "priority sampling": (priority, FRAMES),
        "reservoir": (reservoir, FRAMES),
        "weighing, 1280-wide embedding": (weighing, frames),
        "weighing, counting and drawing at the intake": (intake, frames),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (run, n) in ways.items():
            times[name].append(_ns_per_frame(run, n))
    rows = [Row.of(name, "ns a frame", values) for name, values in times.items()]
    ours = rows[0]
    return [*rows, *_memory(judged_frames)], Measure(value=ours.median, low=ours.low, high=ours.high, n=ours.n)


def _frame(judged_frames: Judged, i: int) -> Frame:
    ok, defect = judged_frames.probabilities[i].tolist()
    prediction = Prediction(
        sample_id=f"{i:032x}",
        verdict="ok",
        label="ok",
        probabilities={"ok": ok, "defect": defect},
        defect_probability=defect,
        anomaly=0.4,
        anomaly_map=np.zeros((1, 1), np.float32),
        embedding=judged_frames.embeddings[i],
        engine_id="benchmark",
        engine_sha256="0" * 64,
        latency_ms=1.0,
    )
    return Frame(image=b"", prediction=prediction, metadata=judged_frames.metadata, captured_at=_NOON, context={})


def _intake(first: Frame) -> Intake:
    """An intake whose τ turns nearly everything away: what most frames meet."""
    door = Intake(
        policy=Policy(
            byte_budget=1 << 30, window_seconds=3600, idle_close_seconds=3600, audit_share=AUDIT, recipient=""
        ),
        clock=SystemClock(),
        draw=draw_from_os,
        runs=Runs(duplicate_distance=0.01),
        weigher=Weigher(audit_share=AUDIT, random=np.random.default_rng(0)),
        next_window=1,
        queue_frames=64,
        recent_frames=64,
        recent_bytes=1 << 20,
    )
    door.offer(first)
    door.publish({1: 1e6})
    return door


_NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def _memory(judged_frames: Judged) -> list[Row]:
    """Take the memory of a sampler that holds 4,000 frames (200 MB of 50 kB each), and of a weigher and runs."""
    tracemalloc.start()
    sampler = Sampler(pool_bytes=1 << 40)
    sampler.open_window(1, byte_budget=1 << 40)
    for i in range(4000):
        sampler.offer(1, f"{i:032x}", weight=1.0, u=(i + 1) / 4000, size=50_000)
    held = tracemalloc.get_traced_memory()[0]
    del sampler
    before = tracemalloc.get_traced_memory()[0]
    weigher, runs = Weigher(audit_share=AUDIT, random=np.random.default_rng(0)), Runs(duplicate_distance=0.01)
    for i, _ in enumerate(weigh(judged_frames.select(np.arange(200)), weigher)):
        runs.place(f"part {i}", judged_frames.embeddings[i], "benchmark")
    weighing = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return [
        Row.of("memory of a sampler that holds 4,000 frames", "kB", [held / 1000]),
        Row.of("memory of weights and runs", "kB", [weighing / 1000]),
    ]


def totals(runs: int, captured_runs: int, weeks: int) -> tuple[list[Row], Measure]:
    """Draw every scene again and again: each total against the truth, the variance estimate against the variance."""
    rows: list[Row] = []
    largest, n = 0.0, 0

    def add(scene: str, found: Mapping[str, Verdict]) -> None:
        nonlocal largest, n
        for part, verdict in found.items():
            rows.append(Row.of(f"{scene}: {part}, estimate over truth", "", verdict.over_truth.tolist()))
            rows.append(Row.of(f"{scene}: {part}, z of the mean", "", [verdict.z]))
        ratios = [verdict.variance_ratio for verdict in found.values()]
        rows.append(Row.of(f"{scene}: variance estimate over variance", "", ratios))
        largest = max(largest, *(abs(verdict.z) for verdict in found.values()))
        n += len(found)

    for name, line in sampled_line.scenes().items():
        add(name, judged(draws_of(line, runs, seed=7), line.parts()))
    with memory_folder() as folder:
        for name, scene in captured_line.scenes().items():
            played = CapturedLine(scene, folder / name)
            add(name, judged(played.draws(captured_runs, seed=7), played.parts()))
    line = week()
    add("a week offline", judged(draws_of(line, weeks, seed=7), line.parts()))
    return rows, Measure(value=largest, low=0.0, high=largest, n=n)


def week() -> Line:
    """Seven days without a network: an hour of ten frames a second each, a pool of 200 MB."""
    frames = 7 * 36_000
    found = answers(np.random.default_rng(31), frames, 0.01)
    window = np.arange(frames) // 36_000 + 1
    return Line(
        answers=replace(found, bytes=found.bytes * 1000),
        weight=weights_of(found)[0],
        window=window,
        station=np.arange(frames) % 3,
        budgets=(100_000_000,) * 7,
        pools=(200_000_000,) * 7,
    )


def intervals(lines: int, draws: int) -> list[Row]:
    """Count how often the intervals hold the truth."""
    rows = []
    for name, setting in SETTINGS.items():
        found = coverage(setting, lines, draws)
        n = len(found.rate_held)
        for what, held in (
            ("the rate's 95 % interval holds it", found.rate_held),
            ("recall's lower end holds", found.recall_held),
        ):
            share = float(np.mean(held))
            error = 1.96 * (share * (1 - share) / n) ** 0.5
            rows.append(Row(case=f"{name}: {what}", unit="", median=share, low=share - error, high=share + error, n=n))
        rows.append(Row.of(f"{name}: width of the rate's interval over the rate", "", found.rate_width))
    return rows


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
    """Count the defects that each way keeps for the same bytes, and estimate their rate from what it kept."""
    stream = _stream(cache)
    ways = {"priority sampling": _priority, "reservoir": _reservoir, "band": _band, "band with an audit": _audited_band}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    estimated: dict[str, list[float]] = {name: [] for name in ways}
    held: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs):
        random = np.random.default_rng(run)
        good, bad = (random.permutation(np.flatnonzero(side)) for side in (~stream.defect, stream.defect))
        rows = random.permutation(np.concatenate([good, bad[: round(DEFECTS / (1 - DEFECTS) * len(good))]]))
        defects = int(stream.defect[rows].sum())
        truth = defects / len(rows)
        budget = int(BYTES * stream.bytes[rows].sum())
        for name, keep in ways.items():
            kept, p = keep(stream, rows, budget, random)
            shares[name].append(int(stream.defect[kept].sum()) / defects)
            interval = rate_interval(stream.defect[kept].astype(float), p, len(rows))
            estimated[name].append(interval.value / truth)
            held[name].append(float(interval.low <= truth <= interval.high))
    ours = shares["priority sampling"]
    rows_told = [Row.of(f"{name}: share of the rare defects kept", "", values) for name, values in shares.items()]
    for name in ways:
        mean = Row.of(f"{name}: rate estimated from what was kept, over the truth", "", estimated[name])
        rows_told.append(replace(mean, median=float(np.mean(estimated[name]))))
        holds = Row.of(f"{name}: share of streams whose 95 % interval holds the rate", "", held[name])
        rows_told.append(replace(holds, median=float(np.mean(held[name]))))
    return rows_told, {
        "rare_per_byte_over_reservoir": ratio_of_means(ours, shares["reservoir"]),
        "rare_per_byte_over_band": ratio_of_means(ours, shares["band"]),
    }


#: What a way kept, and the inclusion probability of each; a band has none, and its frames are taken as a plain sample.
_Kept = tuple[NDArray[np.int64], NDArray[np.float64]]


def _priority(stream: _Stream, rows: NDArray[np.int64], budget: int, random: np.random.Generator) -> _Kept:
    sampler = Sampler(pool_bytes=10**12)
    sampler.open_window(1, byte_budget=budget)
    weights = dict(
        zip(
            rows.tolist(),
            weigh(stream.judged.select(rows), Weigher(audit_share=AUDIT, random=random)),
            strict=True,
        )
    )
    for i, weight in weights.items():
        sampler.offer(1, str(i), weight=weight, u=1.0 - float(random.random()), size=int(stream.bytes[i]))
    kept = sorted(int(key) for key in sampler.keys(1))
    p = [inclusion_probability(weights[i], sampler.threshold(1)) for i in kept]
    return np.array(kept, dtype=np.int64), np.array(p)


def _reservoir(stream: _Stream, rows: NDArray[np.int64], budget: int, random: np.random.Generator) -> _Kept:
    order = random.permutation(rows)
    kept = order[np.cumsum(stream.bytes[order]) <= budget]
    return kept, np.full(len(kept), len(kept) / len(rows))


def _band(stream: _Stream, rows: NDArray[np.int64], budget: int, _: np.random.Generator) -> _Kept:
    """Keep what lies below a confidence, first come; the confidence is the best of several for this very stream."""
    best, most = rows[:0], -1
    for confidence in (0.6, 0.7, 0.8, 0.9):
        inside = rows[stream.judged.probabilities[rows].max(axis=1) < confidence]
        kept = inside[np.cumsum(stream.bytes[inside]) <= budget]
        if int(stream.defect[kept].sum()) > most:
            best, most = kept, int(stream.defect[kept].sum())
    return best, np.full(len(best), len(best) / len(rows))


def _audited_band(stream: _Stream, rows: NDArray[np.int64], budget: int, random: np.random.Generator) -> _Kept:
    """A band with what the audit share leaves, and a reservoir over the others with the rest."""
    inside, _ = _band(stream, rows, int((1 - AUDIT) * budget), random)
    others = np.setdiff1d(rows, inside)
    audited, p = _reservoir(stream, others, int(AUDIT * budget), random)
    return np.concatenate([inside, audited]), np.concatenate([np.ones(len(inside)), p])


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--repeats", type=int, default=15, help="of the timings")
    parser.add_argument("--runs", type=int, default=2000, help="draws of each scene through the sampler")
    parser.add_argument("--captured-runs", type=int, default=200, help="and through the whole of capture")
    parser.add_argument("--weeks", type=int, default=100, help="draws of the week offline")
    parser.add_argument("--lines", type=int, default=20, help="lines whose intervals are judged, a setting")
    parser.add_argument("--draws", type=int, default=50, help="draws of each of them")
    parser.add_argument("--streams", type=int, default=60, help="orders of the cells with rare defects")
    parser.add_argument(
        "--audit-table", action="store_true", help="print how many audited frames recall needs; no more"
    )
    args = parser.parse_args()
    if args.audit_table:
        print(audit_table())
        return
    cost_rows, ns = costs(args.repeats)
    total_rows, z = totals(args.runs, args.captured_runs, args.weeks)
    interval_rows = intervals(args.lines, args.draws)
    rare_rows, ratios = rare(args.cache, args.streams)
    tell(
        "sampler",
        [*cost_rows, *total_rows, *interval_rows, *rare_rows],
        {"ns_per_frame": ns, "largest_abs_z": z, **ratios},
        as_json=args.json,
    )


if __name__ == "__main__":
    main()
