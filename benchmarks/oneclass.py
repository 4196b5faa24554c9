"""A start from ok frames alone: how well defects are found, and whether the threshold keeps what it promises.

Each repeat holds out a fold of groups of ok frames; the rest is all that a fit sees. Judged are the held-out ok frames
and all defects. Andon's score comes out of the exported engine, with the float and with the int8 trunk; frames that
calibrate the int8 trunk judge nothing. The peers are on the same backbone (`benchmarks.anomaly_peers`), and so is the
score as it was before reaches (`anomaly`, rule 2) and small defects (rule 3) counted.

AUROC and average precision: mean over repeats, with a bootstrap over groups of ok frames and of defects. Recall: at the
score that 1 % of the held-out ok frames reach, for all methods alike; for Andon also at its own threshold, beside the
false alarms that it gave and the share it had promised.

Published, for the same tiles: PatchCore 0.979 (Roth et al. 2022, table 5, WideResNet50, a random fifth of the ok frames
held out). It does not compare: no package carries those weights, and frames that show one tile are split apart there,
kept together here.

    python -m benchmarks.oneclass [--tiles PATH] [--json] [--cache DIR] [--repeats 5] [--without-patchcore]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.anomaly_peers import PatchCore, mahalanobis, nearest_embedding, paper_trunk, per_position
from benchmarks.embedded_set import embed_once, names_of
from benchmarks.frame_sets import labelled_images, solar_cells
from benchmarks.parity import LabelledFrames
from benchmarks.plan_sets import near_duplicates
from benchmarks.result import Row, tell
from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.alarm_threshold import AlarmRate
from training.anomaly import Bank
from training.bootstrap import resampled_counts
from training.evaluate import Measure, average_precisions, clopper_pearson
from training.examples import FACTORY, Examples
from training.fit import FitRequest, fit, score_examples
from training.folds import group_folds
from training.predict import run_engine
from training.quantize import CALIBRATION_FRAMES, int8_trunk
from training.trunk import Embedded, Trunk, float_trunk

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
ONLY_OK = (ClassInfo(name="ok", kind=Kind.OK),)
FOLDS = 5
FEW = (10, 30, 100)
RATE = 0.01
_RESAMPLES = 400
#: PatchCore's coreset takes hours of all frames: it is chosen from patches of at most so many, by its share.
PATCHCORE = {"1 %": (0.01, 200), "10 %": (0.1, 40)}
SHIPS, SMALL, BEFORE = "Andon, float engine", "Andon, int8 engine", "Andon before, float"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One method's answers in one repeat.

    Attributes:
        ok: float32 [n], of held-out ok frames.
        defect: float32 [m], of all defects, in the set's order.
        passing: What the threshold 1.0 promises; None where there is none.
    """

    ok: Floats
    defect: Floats
    passing: AlarmRate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Rows of one repeat: ok frames to learn from, and ok frames held out."""

    known: Rows
    held: Rows
    seed: int


class OneClass:
    """A data set seen from its ok frames.

    Args:
        data: Labelled frames; the first class is ok.
        cache: Folder for trunks and embeddings.
    """

    def __init__(self, data: LabelledFrames, cache: Path) -> None:
        self.data, self._cache = data, cache
        self.groups = near_duplicates(data)
        self.ok, self.defects = np.flatnonzero(data.labels == 0), np.flatnonzero(data.labels != 0)
        random = np.random.default_rng(0)
        self.calibration = np.sort(random.permutation(self.ok)[: min(CALIBRATION_FRAMES, len(self.ok) // 4)])
        plain = float_trunk(cache)
        small = int8_trunk(plain, [data.frames[i] for i in self.calibration], cache)
        self.trunks = {trunk.variant: trunk for trunk in (plain, small)}
        self.embedded = {trunk.variant: self._embed(trunk) for trunk in (plain, small)}

    def _embed(self, trunk: Trunk) -> Embedded:
        return embed_once(self.data.name, self.data.frames, trunk, self._cache)

    def paper_patches(self) -> NDArray[np.float16]:
        """Patches on the finer grid that the paper scores."""
        return self._embed(paper_trunk(self._cache)).patches

    def repeats(self, count: int) -> list[Repeat]:
        """Deal groups of ok frames; every deal of five folds holds each ok frame out once."""
        found = []
        for seed in range(count):
            fold = group_folds(
                self.groups[self.ok], np.zeros(len(self.ok), dtype=np.int64), folds=FOLDS, seed=seed // FOLDS
            )
            held = self.ok[fold == seed % FOLDS]
            found.append(
                Repeat(known=self.ok[fold != seed % FOLDS], held=np.setdiff1d(held, self.calibration), seed=seed)
            )
        return found

    def request(self, rows: Rows, variant: str, seed: int) -> FitRequest:
        """Ask for the fit of an inspection that has seen ok frames alone."""
        names, embedded = names_of(rows), self.embedded[variant]
        return FitRequest(
            inspection=self.data.name,
            classes=ONLY_OK,
            trunk=self.trunks[variant],
            examples=Examples(
                ids=names,
                labels=np.zeros(len(rows), dtype=np.int64),
                groups=self.groups[rows],
                origin=np.full(len(rows), FACTORY),
                probability=np.full(len(rows), np.nan),
                device=names,
                station=names,
                features=embedded.features[rows],
            ),
            patches=embedded.patches[rows],
            selftest_images=[self.data.frames[int(rows[0])]],
            seed=seed,
            alarm_rate=RATE,
        )

    def by_engine(self, repeat: Repeat, variant: str) -> Scores:
        """Fit, export, and ask the engine's file."""
        challenger = fit(self.request(repeat.known, variant, repeat.seed))
        ok, defect = (
            run_engine(challenger.engine, [self.data.frames[i] for i in rows]).anomaly
            for rows in (repeat.held, self.defects)
        )
        return Scores(ok=ok, defect=defect, passing=challenger.alarms)

    def by_bank(self, repeat: Repeat, score: Callable[[Bank, NDArray[np.float16]], Floats], rows: Rows) -> Scores:
        """Make the bank of some rows and score by it."""
        bank = score_examples(self.request(rows, "fp32", repeat.seed)).bank
        patches = self.embedded["fp32"].patches
        return Scores(
            ok=score(bank, patches[repeat.held]), defect=score(bank, patches[self.defects]), passing=bank.passing
        )


def as_before(bank: Bank, patches: NDArray[np.float16]) -> Floats:
    """The score without reaches, the mean of the highest twentieth of patches."""
    distance = replace(bank, reach=np.ones_like(bank.reach)).distance(patches).reshape(len(patches), -1)
    count = max(1, distance.shape[1] // 20)
    return np.asarray(-np.partition(-distance, count - 1, axis=1)[:, :count].mean(axis=1))


def play(world: OneClass, repeats: Sequence[Repeat], *, patchcore: bool) -> dict[str, list[Scores]]:
    """Score by every method in every repeat."""
    found: dict[str, list[Scores]] = {}
    paper = world.paper_patches() if patchcore else None
    plain = world.embedded["fp32"]
    for repeat in repeats:
        known, held, defects = repeat.known, repeat.held, world.defects
        asked = np.concatenate([held, defects])

        def add(name: str, scores: Floats, n: int = len(held)) -> None:
            found.setdefault(name, []).append(Scores(ok=scores[:n], defect=scores[n:]))

        for name, variant in ((SHIPS, "fp32"), (SMALL, "int8")):
            found.setdefault(name, []).append(world.by_engine(repeat, variant))
        before = world.by_bank(repeat, as_before, known)
        found.setdefault(BEFORE, []).append(replace(before, passing=None))
        random = np.random.default_rng(repeat.seed)
        for few in FEW:
            rows = random.permutation(known)[:few]
            found.setdefault(f"Andon, {few} ok frames", []).append(world.by_bank(repeat, Bank.score, rows))
        add("a Gaussian for each position (PaDiM-like)", per_position(plain.patches[known], plain.patches[asked]))
        add("nearest embedding (5)", nearest_embedding(plain.features[known], plain.features[asked]))
        add("Mahalanobis on pooled features", mahalanobis(plain.features[known], plain.features[asked]))
        if paper is not None:
            for name, (share, frames) in PATCHCORE.items():
                core = PatchCore(paper[random.permutation(known)[:frames]], share, repeat.seed)
                add(f"PatchCore {name}, {frames} ok frames", core.score(paper[asked]))
        print(f"  {world.data.name}: repeat {repeat.seed} done", file=sys.stderr, flush=True)
    return found


def figures_of(world: OneClass, repeats: Sequence[Repeat], scores: Sequence[Scores]) -> tuple[Measure, Measure]:
    """AUROC and average precision, mean over repeats; a bootstrap over groups of ok frames and of defects."""
    rank, precision, ranks, precisions = [], [], [], []
    defect_weight = _weights(world.groups[world.defects], 0)
    for repeat, one in zip(repeats, scores, strict=True):
        truth = np.repeat([False, True], [len(one.ok), len(one.defect)])
        both = np.concatenate([one.ok, one.defect]).astype(np.float64)
        ok_weight = _weights(world.groups[repeat.held], 1 + repeat.seed)
        rank.append(float(roc_auc_score(truth, both)))
        higher = (one.defect[None, :] > one.ok[:, None]) + 0.5 * (one.defect[None, :] == one.ok[:, None])
        total = ok_weight.sum(axis=1) * defect_weight.sum(axis=1)
        ranks.append(np.einsum("bi,ij,bj->b", ok_weight, higher, defect_weight, optimize=True) / total)
        weights = np.concatenate([np.ones((1, len(truth))), np.concatenate([ok_weight, defect_weight], axis=1)])
        found = average_precisions(truth, both, weights)
        precision.append(float(found[0]))
        precisions.append(found[1:])
    return _measure(rank, ranks), _measure(precision, precisions)


def _weights(groups: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    """Bootstrap counts float64 [b, n], whole groups together."""
    strata = np.zeros(len(groups), dtype=np.int64)
    blocks = resampled_counts(strata, resamples=_RESAMPLES, seed=seed, groups=groups)
    return np.concatenate([np.asarray(block, dtype=np.float64) for block in blocks])


def _measure(values: Sequence[float], spread: Sequence[NDArray[np.float64]]) -> Measure:
    low, high = (float(q) for q in np.quantile(np.mean(spread, axis=0), [0.025, 0.975]))
    return Measure(value=float(np.mean(values)), low=low, high=high, n=len(values))


def recalls(one: Scores) -> float:
    """Recall of defects at the score that a hundredth of the held-out ok frames reach."""
    return float((one.defect >= np.quantile(one.ok, 1 - RATE, method="higher")).mean())


def share(hits: int, n: int) -> Measure:
    """A share with its exact interval."""
    low, high = clopper_pearson(hits / n, n)
    return Measure(value=hits / n, low=low, high=high, n=n)


def rows_of(
    world: OneClass, repeats: Sequence[Repeat], found: Mapping[str, Sequence[Scores]]
) -> tuple[list[Row], dict[str, Measure]]:
    """Tell all methods of one set."""
    name, rows, figures = world.data.name, [], {}
    keys = {SHIPS: "float", SMALL: "int8"} | {
        f"PatchCore {k}, {n} ok frames": f"patchcore_{k[:-2]}" for k, (_, n) in PATCHCORE.items()
    }
    for method, scores in found.items():
        auroc, precision = figures_of(world, repeats, scores)
        for what, measure in (("AUROC", auroc), ("average precision", precision)):
            rows.append(
                Row(
                    case=f"{name}: {method}: {what}",
                    unit="",
                    median=measure.value,
                    low=measure.low,
                    high=measure.high,
                    n=len(scores),
                )
            )
        rows.append(Row.of(f"{name}: {method}: recall at 1 % false alarms", "", [recalls(s) for s in scores]))
        if method in keys:
            figures[f"auroc_{name}_{keys[method]}"] = auroc
        if scores[0].passing is not None:
            rows += _threshold(f"{name}: {method}", scores)
    held = sum(len(s.ok) for s in found[SHIPS])
    alarms = sum(int((s.ok >= 1).sum()) for s in found[SHIPS])
    figures[f"false_alarms_{name}"] = share(alarms, held)
    rows += _by_class(world, found)
    return rows, figures


def _threshold(case: str, scores: Sequence[Scores]) -> list[Row]:
    promised = [s.passing for s in scores if s.passing is not None]
    inside = [p.low <= (s.ok >= 1).mean() <= p.high for s, p in zip(scores, promised, strict=True)]
    return [
        Row.of(f"{case}: recall at its own threshold", "", [float((s.defect >= 1).mean()) for s in scores]),
        Row.of(f"{case}: false alarms at its own threshold", "", [float((s.ok >= 1).mean()) for s in scores]),
        Row.of(f"{case}: false alarms it promises", "", [p.value for p in promised]),
        Row.of(f"{case}: highest of their interval", "", [p.high for p in promised]),
        Row.of(f"{case}: repeats whose false alarms lie in the interval", "", [float(np.mean(inside))]),
    ]


def _by_class(world: OneClass, found: Mapping[str, Sequence[Scores]]) -> list[Row]:
    rows = []
    truth = world.data.labels[world.defects]
    for number in np.unique(truth) if len(np.unique(truth)) > 1 else ():
        label = world.data.classes[number].name
        for method in (SHIPS, BEFORE, *(m for m in found if m.startswith("PatchCore"))):
            values = [
                float(
                    roc_auc_score(
                        np.repeat([0, 1], [len(s.ok), (truth == number).sum()]),
                        np.concatenate([s.ok, s.defect[truth == number]]),
                    )
                )
                for s in found[method]
            ]
            rows.append(Row.of(f"{world.data.name}: {method}: AUROC of {label}", "", values))
        values = [float((s.defect[truth == number] >= 1).mean()) for s in found[SHIPS]]
        rows.append(Row.of(f"{world.data.name}: {SHIPS}: recall of {label} at its own threshold", "", values))
    return rows


def main() -> None:
    """Play both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument(
        "--tiles", type=Path, help="folder or tar of labelled images with an index.csv, as a second set"
    )
    parser.add_argument("--repeats", type=int, default=FOLDS, help="held-out folds; five hold each ok frame out once")
    parser.add_argument(
        "--without-patchcore", action="store_true", help="leave out the slowest peer: a third of the time"
    )
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    sets = [solar_cells()] + ([labelled_images(args.tiles)] if args.tiles else [])
    if args.tiles is None:
        print("oneclass: magnetic tiles are skipped: give their folder or tar as --tiles", file=sys.stderr)
    rows, figures = [], {}
    with threadpool_limits(1):
        for data in sets:
            world = OneClass(data, args.cache)
            repeats = world.repeats(args.repeats)
            more_rows, more = rows_of(world, repeats, play(world, repeats, patchcore=not args.without_patchcore))
            rows += more_rows
            figures |= more
    tell("oneclass", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
