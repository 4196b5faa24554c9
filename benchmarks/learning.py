"""How much a labelling budget brings after a product change, without devices and bucket: the learning part alone.

The factory set is three quarters of ELPV's monocrystalline cells. Two thirds of the polycrystalline cells stream past
in five rounds, one third is never streamed and measures. After each round a share of what streamed is labelled, drawn
by priority sampling with a weight from the engine of the round before, and the whole everyday fit runs: plan choice,
calibration, anomaly bank. Beside it: the same budget at random, and everything labelled.

    python benchmarks/learning.py --cache DIR --seeds 3
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from elpv_dataset.utils import load_dataset
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from threadpoolctl import threadpool_limits

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.examples import FACTORY, FIELD, Examples
from training.fit import FitRequest, learn, score_examples
from training.plans import DEFAULT
from training.quantize import CALIBRATION_FRAMES, int8_trunk
from training.trunk import Trunk, float_trunk

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="defect", kind=Kind.DEFECT))
AUDIT = 0.3
Floats = NDArray[np.float64]
#: Weight of a frame from its defect probability and anomaly score; None is uniform.
WEIGHTS: dict[str, Callable[[Floats, Floats], Floats] | None] = {
    "random": None,
    # What the edge does: margin, anomaly from 0.7 to 1.3, probability of the rarer class.
    "edge": lambda p, a: (1 - np.abs(2 * p - 1)) + np.clip((a - 0.7) / 0.6, 0, 1) + p * 0.6,
    "margin": lambda p, a: 1 - np.abs(2 * p - 1),
    "margin+defect": lambda p, a: 1 - np.abs(2 * p - 1) + 0.5 * p,
    "variance+defect": lambda p, a: 4 * p * (1 - p) + 0.5 * p,
    "defect": lambda p, a: p,
    "margin²": lambda p, a: (1 - np.abs(2 * p - 1)) ** 2,
}


class Cells:
    """Images, truths and embeddings of the data set."""

    def __init__(self, cache: Path, variant: str, *, default_plan: bool = False) -> None:
        images, probability, kind = load_dataset()
        self.frames = [np.ascontiguousarray(np.repeat(image[:, :, None], 3, axis=2)) for image in images]
        self.defect = (probability > 0.5).astype(np.int64)
        self.poly = kind == "poly"
        self.plans = [DEFAULT] if default_plan else None
        cache.mkdir(parents=True, exist_ok=True)
        self.trunk: Trunk = float_trunk(cache)
        if variant == "int8":
            mono = np.random.default_rng(0).choice(np.flatnonzero(~self.poly), CALIBRATION_FRAMES, replace=False)
            self.trunk = int8_trunk(self.trunk, [self.frames[i] for i in mono], cache)
        stored = cache / f"elpv-{self.trunk.id[:16]}.npz"
        if not stored.exists():
            embedded = self.trunk.run(self.frames)
            np.savez(stored, features=embedded.features, patches=embedded.patches)
        with np.load(stored) as arrays:
            self.features, self.patches = arrays["features"], arrays["patches"]

    def request(
        self, factory: NDArray[np.int64], labelled: NDArray[np.int64], p: Floats, captured: NDArray[np.int64], seed: int
    ) -> FitRequest:
        rows = np.concatenate([factory, labelled])
        names = np.array([hashlib.sha256(str(i).encode()).hexdigest()[:16] for i in rows])
        examples = Examples(
            ids=names,
            labels=self.defect[rows],
            groups=names,
            origin=np.array([FACTORY] * len(factory) + [FIELD] * len(labelled)),
            probability=np.concatenate([np.full(len(factory), np.nan), p]),
            device=names,
            station=names,
            features=self.features[rows],
        )
        return FitRequest(
            inspection="cells",
            classes=CLASSES,
            trunk=self.trunk,
            examples=examples,
            patches=self.patches[rows],
            selftest_images=[self.frames[0]],
            unlabelled=self.features[np.setdiff1d(captured, labelled)],
            seed=seed,
            plans=self.plans,
        )


def play(cells: Cells, weight: str, seed: int, budget: float, rounds: int, capture: float) -> dict[str, object]:
    """Play one story; returns the holdout's scores before and after each round."""
    random = np.random.default_rng(seed)
    factory = random.permutation(np.flatnonzero(~cells.poly))
    factory = factory[: round(0.75 * len(factory))]
    poly = random.permutation(np.flatnonzero(cells.poly))
    holdout, stream = poly[: len(poly) // 3], poly[len(poly) // 3 :]
    labelled, inclusion = np.empty(0, dtype=np.int64), np.empty(0)
    seen, streamed = np.empty(0, dtype=np.int64), 0
    story: dict[str, list[float]] = {"average_precision": [], "balanced_accuracy": [], "seconds": [], "cpu": []}
    plans: list[str] = []
    for part in [*np.array_split(stream, rounds), np.empty(0, dtype=np.int64)]:
        request = cells.request(factory, labelled, inclusion, seen, seed)
        started, cpu = time.perf_counter(), time.process_time()
        with threadpool_limits(1):
            scored = score_examples(request)
            learnt = learn(request, scored.scores)
        story["seconds"].append(time.perf_counter() - started)
        story["cpu"].append(time.process_time() - cpu)
        if learnt.chosen is not None:
            plans.append(str(learnt.chosen.plan))
        asked = np.concatenate([holdout, part])
        anomaly = scored.bank.score(cells.patches[asked])
        p = learnt.head.probabilities(cells.features[asked], anomaly)[:, 1].astype(np.float64)
        truth, guess = cells.defect[holdout], p[: len(holdout)]
        story["average_precision"].append(float(average_precision_score(truth, guess)))
        story["balanced_accuracy"].append(float(balanced_accuracy_score(truth, guess >= learnt.thresholds.defect)))
        if not len(part):
            break
        rule = WEIGHTS[weight]
        streamed += len(part)
        n = round(budget * streamed) - len(labelled)
        w = np.ones(len(part)) if rule is None else rule(p[len(holdout) :], anomaly[len(holdout) :].astype(np.float64))
        w = w + AUDIT / (1 - AUDIT) * w.mean()
        q = w / (1.0 - random.random(len(part)))
        order = np.argsort(-q)
        kept = order[: max(n, round(capture * len(part)))]  # the bytes' share; labels are its head
        threshold = q[order[n]] if n < len(part) else 0.0
        labelled = np.concatenate([labelled, part[order[:n]]])
        inclusion = np.concatenate([inclusion, np.minimum(1.0, w[order[:n]] / threshold) if threshold else np.ones(n)])
        seen = np.concatenate([seen, part[kept]])
    return {**story, "plans": plans, "labels": len(labelled), "defects": float(cells.defect[labelled].mean())}


def _job(job: tuple[str, str, bool, str, int, float, int, float]) -> dict[str, object]:
    cache, variant, default_plan, weight, seed, budget, rounds, capture = job
    return play(Cells(Path(cache), variant, default_plan=default_plan), weight, seed, budget, rounds, capture)


def main() -> None:
    """Print mean and standard deviation over seeds for each weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"))
    parser.add_argument("--variant", choices=["fp32", "int8"], default="int8")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--capture", type=float, default=1.0, help="share of streamed frames that is kept")
    parser.add_argument("--weights", nargs="*", choices=[*WEIGHTS, "all-labels"], default=["random", "edge", "margin"])
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--default-plan", action="store_true", help="do not choose plans: a sixth of the time")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    Cells(args.cache, args.variant)  # embeds once, before the processes start
    jobs = [
        (
            str(args.cache),
            args.variant,
            args.default_plan,
            "random" if name == "all-labels" else name,
            seed,
            1.0 if name == "all-labels" else args.budget,
            1 if name == "all-labels" else args.rounds,
            args.capture,
        )
        for name in args.weights
        for seed in range(args.seeds)
    ]
    with ProcessPoolExecutor(args.processes) as pool:
        stories = list(pool.map(_job, jobs))
    out = {}
    for index, name in enumerate(args.weights):
        mine = stories[index * args.seeds : (index + 1) * args.seeds]
        ap, ba = (np.array([s[key] for s in mine]) for key in ("average_precision", "balanced_accuracy"))
        last = ap[:, -1]
        print(f"{name:16} AP by round {ap.mean(0).round(3).tolist()}; last {last.mean():.3f} (sd {last.std():.3f})")
        print(f"{'':16} balanced accuracy by round {ba.mean(0).round(3).tolist()}")
        print(f"{'':16} each seed {last.round(3).tolist()}, {mine[0]['labels']} labels")
        print(f"{'':16} fit seconds {mine[-1]['seconds']}, cpu {mine[-1]['cpu']}")
        print(f"{'':16} plans {mine[-1]['plans']}", flush=True)
        out[name] = mine
    if args.json:
        args.json.write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
