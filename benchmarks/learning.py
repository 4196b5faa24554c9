"""How much a labelling budget brings after a product change, without devices and bucket: the learning part alone.

The factory set is three quarters of ELPV's monocrystalline cells. Two thirds of the polycrystalline cells stream past
in five rounds, one third is never streamed and measures. After each round three tenths of what streamed are captured
and a tenth is labelled, both drawn by priority sampling with a weight from the engine of the round before, and the
everyday fit runs. Strategies are compared on the same splits, so a difference is paired. `--defect-share 0.05` leaves
away defects of the stream (never of the holdout), as on a line whose defects are rare.

    python -m benchmarks.learning --strategies random edge all --splits 4 --draws 3 --defect-share 0.05
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from elpv_dataset.utils import load_dataset
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import EmbeddedSet, Floats, Rows
from data.priority_sampling import priority_sample
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.weights import Weigher
from training.anomaly import Bank
from training.fit import Learnt, learn, score_examples
from training.input_choice import DEFAULT_CHOICE, InputChoice
from training.plans import DEFAULT, Plan
from training.quantize import CALIBRATION_FRAMES

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT))
AUDIT = 0.3
CAPTURED = 0.3  # share of the streamed frames that is kept; labels are drawn from these
#: Weight of a frame from its defect probability, beside the device's own `Weigher` ("edge").
RULES: dict[str, Callable[[Floats], Floats]] = {
    "random": np.ones_like,
    "margin": lambda p: 1 - np.abs(2 * p - 1),
    "margin²": lambda p: (1 - np.abs(2 * p - 1)) ** 2,
    "margin²+defect": lambda p: (1 - np.abs(2 * p - 1)) ** 2 + p,
    "defect": lambda p: p,
}
STRATEGIES = ("edge", "all", *RULES)


class Cells(EmbeddedSet):
    """The solar cells, with what is mono- and what is polycrystalline."""

    def __init__(
        self, cache: Path, variant: str, plans: Sequence[Plan] | None, choice: InputChoice = DEFAULT_CHOICE
    ) -> None:
        images, probability, kind = load_dataset()
        self.defect = (probability > 0.5).astype(np.int64)
        self.poly = kind == "poly"
        super().__init__(
            "elpv",
            [np.ascontiguousarray(np.repeat(image[:, :, None], 3, axis=2)) for image in images],
            self.defect,
            CLASSES,
            calibration=np.random.default_rng(0).choice(np.flatnonzero(~self.poly), CALIBRATION_FRAMES, replace=False),
            cache=cache,
            variant=variant,
            plans=plans,
            choice=choice,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One story: `split` decides factory, stream and holdout; `draw` what is captured and labelled."""

    strategy: str
    split: int
    draw: int
    rounds: int
    budget: float
    defect_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The holdout's scores before and after each round, and what was labelled at the end."""

    average_precision: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]
    labels: int
    defects: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows of the data set."""

    factory: Rows
    stream: Rows
    holdout: Rows


def parts_of(cells: Cells, job: Job) -> Parts:
    """Split the cells; a thinned stream keeps all its ok cells."""
    random = np.random.default_rng(job.split)
    mono = random.permutation(np.flatnonzero(~cells.poly))
    poly = random.permutation(np.flatnonzero(cells.poly))
    holdout, stream = poly[: len(poly) // 3], poly[len(poly) // 3 :]
    if job.defect_share is not None:
        bad = cells.defect[stream] == 1
        n = round(job.defect_share / (1 - job.defect_share) * int((~bad).sum()))
        stream = random.permutation(np.concatenate([stream[~bad], stream[bad][:n]]))
    return Parts(mono[: round(0.75 * len(mono))], stream, holdout)


def play(cells: Cells, job: Job) -> Story:
    """Play one story."""
    parts = parts_of(cells, job)
    random = np.random.default_rng([job.split, job.draw])
    labelled, captured, inclusion = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    precision, accuracy, streamed, began = [], [], 0, time.perf_counter()
    weigher = Weigher(audit_share=AUDIT, random=random)
    for part in [*np.array_split(parts.stream, job.rounds), None]:
        request = cells.request(parts.factory, labelled, inclusion, captured, job.split)
        scored = score_examples(request)
        learnt = learn(request, scored.scores)
        p = defect_probability(cells, learnt, scored.bank, parts.holdout)
        truth = cells.defect[parts.holdout]
        precision.append(float(average_precision_score(truth, p)))
        accuracy.append(float(balanced_accuracy_score(truth, p >= learnt.thresholds.defect)))
        if part is None:
            break
        streamed += len(part)
        if job.strategy == "all":
            labelled, inclusion, captured = np.concatenate([labelled, part]), np.ones(streamed), labelled
            continue
        n = round(job.budget * streamed) - len(labelled)
        weight = _weights(cells, job.strategy, learnt, scored.bank, part, weigher)
        kept, p1 = _draw(weight, random, max(n, round(CAPTURED * len(part))))
        drawn, p2 = _draw(weight[kept] / p1, random, n)
        labelled = np.concatenate([labelled, part[kept][drawn]])
        inclusion = np.concatenate([inclusion, p1[drawn] * p2])
        captured = np.concatenate([captured, part[kept]])
    return Story(
        average_precision=tuple(precision),
        balanced_accuracy=tuple(accuracy),
        labels=len(labelled),
        defects=int(cells.defect[labelled].sum()),
        seconds=time.perf_counter() - began,
    )


def _draw(weight: Floats, random: np.random.Generator, n: int) -> tuple[Rows, Floats]:
    """Draw n; returns their indices and inclusion probabilities."""
    sample = priority_sample(weight.tolist(), (1.0 - random.random(len(weight))).tolist(), n)
    drawn = sample.order[:n]
    return drawn, sample.p[drawn]


def defect_probability(cells: Cells, learnt: Learnt, bank: Bank, rows: Rows) -> Floats:
    """What an engine of this head would say of some rows."""
    anomaly = bank.score(cells.patches[rows])
    return learnt.head.probabilities(cells.features[rows], anomaly)[:, 1].astype(np.float64)


def _weights(cells: Cells, strategy: str, learnt: Learnt, bank: Bank, rows: Rows, weigher: Weigher) -> Floats:
    """Weigh frames in the order they stream, the audit share included."""
    if strategy in RULES:
        weight = RULES[strategy](defect_probability(cells, learnt, bank, rows))
        return np.asarray(weight + AUDIT / (1 - AUDIT) * weight.mean())
    return np.array(list(weigh(judge(cells, learnt, bank, rows), weigher)))


@dataclass(frozen=True, slots=True)
class Judged:
    """What an engine says of n frames: float32 [n, K], [n] and [n, D], and the engine's metadata."""

    probabilities: NDArray[np.float32]
    anomaly: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    metadata: EngineMetadata

    def select(self, rows: Rows) -> Judged:
        """Return some of the frames, in that order."""
        return Judged(self.probabilities[rows], self.anomaly[rows], self.embeddings[rows], self.metadata)


def judge(cells: Cells, learnt: Learnt, bank: Bank, rows: Rows) -> Judged:
    """Let what was learnt answer for frames as an engine would."""
    anomaly = bank.score(cells.patches[rows])
    embeddings = cells.features[rows, : cells.trunk.embedding_width]
    return Judged(
        probabilities=learnt.head.probabilities(cells.features[rows], anomaly),
        anomaly=anomaly,
        embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        metadata=metadata_of(cells.trunk.id, tuple(float(share) for share in learnt.prior), learnt.thresholds),
    )


def metadata_of(embedding_id: str, prior: tuple[float, ...], thresholds: Thresholds) -> EngineMetadata:
    """Describe an engine of these benchmarks."""
    return EngineMetadata(
        engine_id="benchmark",
        inspection="cells",
        classes=CLASSES,
        thresholds=thresholds,
        training_prior=prior,
        embedding_id=embedding_id,
    )


def weigh(judged: Judged, weigher: Weigher) -> Iterator[float]:
    """Yield the weight of each frame, one after another, as a device weighs them."""
    probabilities, anomaly = judged.probabilities.tolist(), judged.anomaly.tolist()
    for p, a, e in zip(probabilities, anomaly, judged.embeddings, strict=True):
        yield weigher.weigh(probabilities=p, anomaly=a, embedding=e, metadata=judged.metadata, k=1).weight


@functools.cache
def _cells(cache: Path, variant: str, choose_plans: bool) -> Cells:
    """Load the data set once in each process."""
    return Cells(cache, variant, None if choose_plans else [DEFAULT])


def _play(data: tuple[Path, str, bool], job: Job) -> Story:
    with threadpool_limits(1):  # one story a core
        return play(_cells(*data), job)


def lines_of(strategy: str, stories: Sequence[Story], base: Sequence[Story], draws: int) -> list[str]:
    """Describe a strategy's stories; `base` are those of the first strategy on the same splits and draws."""
    ap = np.array([s.average_precision for s in stories])
    ba = np.array([s.balanced_accuracy for s in stories])
    gain = ap[:, -1] - np.array([s.average_precision[-1] for s in base])
    by_split = gain.reshape(-1, draws).mean(axis=1)
    error = f"{by_split.std(ddof=1) / np.sqrt(len(by_split)):.4f}" if len(by_split) > 1 else "unknown"
    return [
        f"{strategy}: AP by round {ap.mean(axis=0).round(3).tolist()}, balanced accuracy at the end "
        f"{ba[:, -1].mean():.3f} (sd {ba[:, -1].std(ddof=1):.3f})",
        f"    AP at the end {ap[:, -1].mean():.4f} (sd {ap[:, -1].std(ddof=1):.4f}, n = {len(stories)}); against the "
        f"first strategy {gain.mean():+.4f} (standard error over splits {error}), better in "
        f"{int((gain > 0).sum())} of {len(gain)}",
        f"    labels {stories[0].labels}, defects among them {np.mean([s.defects for s in stories]):.1f}; "
        f"{np.median([s.seconds for s in stories]):.1f} s a story",
    ]


def main() -> None:
    """Print how each strategy does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--variant", choices=["fp32", "int8"], default="int8", help="which trunk embeds")
    parser.add_argument("--splits", type=int, default=4, help="independent splits into stream and holdout")
    parser.add_argument("--draws", type=int, default=2, help="independent draws of labels on each split")
    parser.add_argument("--budget", type=float, default=0.1, help="share of streamed frames that is labelled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--defect-share", type=float, help="share of defects in the stream; default: as they come")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=["random", "edge", "all"])
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--choose-plans", action="store_true", help="choose the plan on folds: six times the time")
    parser.add_argument("--json", type=Path, help="write every story to this file")
    args = parser.parse_args()
    if not 0 < args.budget <= CAPTURED:
        parser.error(f"--budget {args.budget} is not in (0, {CAPTURED}]: labels are drawn from what is captured")
    if args.defect_share is not None and not 0 < args.defect_share < 1:
        parser.error(f"--defect-share {args.defect_share} is not a share between 0 and 1")
    began = time.perf_counter()
    data = (args.cache, args.variant, args.choose_plans)
    _cells(*data)  # embeds once, before the processes start
    jobs = [
        Job(
            strategy=strategy,
            split=split,
            draw=draw,
            rounds=args.rounds,
            budget=args.budget,
            defect_share=args.defect_share,
        )
        for strategy in args.strategies
        for split in range(args.splits)
        for draw in range(args.draws)
    ]
    with ProcessPoolExecutor(args.processes) as pool:
        stories = list(pool.map(functools.partial(_play, data), jobs))
    each = args.splits * args.draws
    for index, strategy in enumerate(args.strategies):
        mine = stories[index * each : (index + 1) * each]
        print("\n".join(lines_of(strategy, mine, stories[:each], args.draws)), flush=True)
    print(f"{time.perf_counter() - began:.0f} s on {args.processes} processes")
    if args.json:
        told = [{**asdict(job), **asdict(story)} for job, story in zip(jobs, stories, strict=True)]
        args.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
