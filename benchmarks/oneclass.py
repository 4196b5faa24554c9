"""A start from ok frames alone: how well defects are found, and whether the threshold keeps what it promises.

Each repeat holds out a fold of groups of ok frames; the rest is all that a fit sees. Judged are the held-out ok frames
and all defects. Andon's score comes out of the exported engine, with the float and with the int8 trunk; frames that
calibrate the int8 trunk judge nothing. All other rows are on the same backbone: variants of the score, and the peers of
`benchmarks.anomaly_peers`.

AUROC and average precision: mean over repeats, with a bootstrap over groups of ok frames and of defects. Recall: at the
score that 1 % of the held-out ok frames reach, for all methods alike; for Andon also at its own threshold, beside the
false alarms that it gave and the share it had promised.

Published, for the same tiles: PatchCore 0.979 (Roth et al. 2022, WideResNet50). No package carries those weights, so it
cannot be run here. There a random fifth of the ok frames is held out, so that other pictures of the same tile are
learnt from; here they are kept apart, and the rows "split at random" show what that makes.

    python -m benchmarks.oneclass [--tiles PATH] [--json] [--cache DIR] [--repeats 5]
        [--without-patchcore] [--ships-alone] [--without-cells]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.anomaly_peers import (
    PatchCore,
    highest,
    mahalanobis,
    nearest_embedding,
    paper_trunk,
    per_position,
    whitened_distance,
)
from benchmarks.embedded_set import embed_once, names_of
from benchmarks.frame_sets import labelled_images, solar_cells
from benchmarks.parity import LabelledFrames
from benchmarks.plan_sets import near_duplicates
from benchmarks.result import Row, tell
from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.alarm_threshold import AlarmRate
from training.anomaly import frame_score
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
PATCHCORE = {"1 %": (0.01, 150), "10 %": (0.1, 30)}
SHIPS, SMALL, RANDOM = "Andon, float engine", "Andon, int8 engine", "split at random"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """All repeats of one method."""

    repeats: list[Repeat]
    scores: list[Scores]


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
        self.trunks: dict[str, Trunk] = {trunk.variant: trunk for trunk in (plain, small)}
        self.embedded: dict[str, Embedded] = {trunk.variant: self._embed(trunk) for trunk in (plain, small)}

    def _embed(self, trunk: Trunk) -> Embedded:
        return embed_once(self.data.name, self.data.frames, trunk, self._cache)

    def paper_patches(self) -> NDArray[np.float16]:
        """Patches on the finer grid that the paper scores."""
        return self._embed(paper_trunk(self._cache)).patches

    def repeats(self, count: int, *, at_random: bool = False) -> list[Repeat]:
        """Deal groups of ok frames, or single ones; every deal of five folds holds each ok frame out once."""
        found = []
        names = names_of(self.ok) if at_random else self.groups[self.ok]
        for seed in range(count):
            fold = group_folds(names, np.zeros(len(self.ok), dtype=np.int64), folds=FOLDS, seed=seed // FOLDS)
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

    def by_bank(self, repeat: Repeat, rows: Rows) -> Scores:
        """Make the bank of some rows and score by it; as the engine does, without its file."""
        bank = score_examples(self.request(rows, "fp32", repeat.seed)).bank
        patches = self.embedded["fp32"].patches
        ok, defect = (bank.score(patches[asked]) for asked in (repeat.held, self.defects))
        return Scores(ok=ok, defect=defect, passing=bank.passing)


def play(world: OneClass, count: int, *, patchcore: bool, ships_alone: bool = False) -> dict[str, Method]:
    """Score by every method in every repeat."""
    found: dict[str, Method] = {}
    paper = world.paper_patches() if patchcore and not ships_alone else None
    plain = world.embedded["fp32"]

    def add(name: str, repeat: Repeat, scores: Scores | Floats) -> None:
        if not isinstance(scores, Scores):
            scores = Scores(ok=scores[: len(repeat.held)], defect=scores[len(repeat.held) :])
        method = found.setdefault(name, Method(repeats=[], scores=[]))
        method.repeats.append(repeat)
        method.scores.append(scores)
        print(f"  {world.data.name} {repeat.seed} {name}: {auroc_of(scores):.3f}", file=sys.stderr, flush=True)

    for repeat, mixed in zip(world.repeats(count), world.repeats(count, at_random=True), strict=True):
        known, asked = repeat.known, np.concatenate([repeat.held, world.defects])
        for name, variant in ((SHIPS, "fp32"), (SMALL, "int8")):
            add(name, repeat, world.by_engine(repeat, variant))
        if ships_alone:
            continue
        add(f"Andon, {RANDOM}", mixed, world.by_bank(mixed, mixed.known))
        random = np.random.default_rng(repeat.seed)
        for few in FEW:
            add(f"Andon, {few} ok frames", repeat, world.by_bank(repeat, random.permutation(known)[:few]))
        bank, places = score_examples(world.request(known, "fp32", repeat.seed)).bank.distances(plain.patches[asked])
        for name, distance in (("the bank alone", bank), ("the places alone", places)):
            add(f"Andon, {name}", repeat, frame_score(distance))
        flat = bank.reshape(len(bank), -1)
        add("Andon before (bank alone, highest twentieth)", repeat, highest(flat, 20))
        distance = whitened_distance(plain.patches[known], plain.patches[asked], repeat.seed)
        add("whitened bank, highest fiftieth", repeat, highest(distance, 50))
        add("a Gaussian for each position", repeat, per_position(plain.patches[known], plain.patches[asked]))
        add("nearest embedding", repeat, nearest_embedding(plain.features[known], plain.features[asked]))
        add("Mahalanobis, pooled features", repeat, mahalanobis(plain.features[known], plain.features[asked]))
        if paper is not None:
            for name, (portion, frames) in PATCHCORE.items():
                core = PatchCore(paper[random.permutation(known)[:frames]], portion, repeat.seed)
                add(f"PatchCore {name}, {frames} ok frames", repeat, core.score(paper[asked]))
            portion, frames = PATCHCORE["1 %"]
            core = PatchCore(paper[random.permutation(mixed.known)[:frames]], portion, repeat.seed)
            again = np.concatenate([mixed.held, world.defects])
            add(f"PatchCore 1 %, {frames} ok frames, {RANDOM}", mixed, core.score(paper[again]))
    return found


def auroc_of(scores: Scores) -> float:
    """Return the AUROC of one repeat."""
    truth = np.repeat([0, 1], [len(scores.ok), len(scores.defect)])
    return float(roc_auc_score(truth, np.concatenate([scores.ok, scores.defect])))


def figures_of(world: OneClass, method: Method) -> tuple[Measure, Measure]:
    """AUROC and average precision, mean over repeats; a bootstrap over groups of ok frames and of defects."""
    rank, precision, ranks, precisions = [], [], [], []
    defect_weight = _weights(world.groups[world.defects], 0)
    for repeat, one in zip(method.repeats, method.scores, strict=True):
        truth = np.repeat([False, True], [len(one.ok), len(one.defect)])
        both = np.concatenate([one.ok, one.defect]).astype(np.float64)
        ok_weight = _weights(world.groups[repeat.held], 1 + repeat.seed)
        rank.append(auroc_of(one))
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


def recall(one: Scores) -> float:
    """Recall of defects at the score that a hundredth of the held-out ok frames reach."""
    return float((one.defect >= np.quantile(one.ok, 1 - RATE, method="higher")).mean())


def share(hits: int, n: int) -> Measure:
    """A share with its exact interval."""
    low, high = clopper_pearson(hits / n, n)
    return Measure(value=hits / n, low=low, high=high, n=n)


def rows_of(world: OneClass, found: Mapping[str, Method]) -> tuple[list[Row], dict[str, Measure]]:
    """Tell all methods of one set."""
    name, figures = world.data.name, {}
    rows: list[Row] = []
    named = {SHIPS: "float", SMALL: "int8", f"Andon, {RANDOM}": "float_random_split"}
    named |= {f"PatchCore {k}, {n} ok frames": f"patchcore_{k.split()[0]}" for k, (_, n) in PATCHCORE.items()}
    for method, played in found.items():
        auroc, precision = figures_of(world, played)
        rows += [_row(f"{name}: {method}: AUROC", auroc), _row(f"{name}: {method}: average precision", precision)]
        rows.append(Row.of(f"{name}: {method}: recall at 1 % false alarms", "", [recall(s) for s in played.scores]))
        if method in named:
            figures[f"auroc_{name}_{named[method]}"] = auroc
        if played.scores[0].passing is not None:
            rows += _threshold(f"{name}: {method}", played.scores)
    ships = found[SHIPS].scores
    figures[f"false_alarms_{name}"] = share(sum(int((s.ok >= 1).sum()) for s in ships), sum(len(s.ok) for s in ships))
    return rows + _by_class(world, found), figures


def _row(case: str, measure: Measure) -> Row:
    return Row(case=case, unit="", median=measure.value, low=measure.low, high=measure.high, n=measure.n)


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


def _by_class(world: OneClass, found: Mapping[str, Method]) -> list[Row]:
    """Tell which kinds of defect are found, where there are several."""
    rows: list[Row] = []
    truth = world.data.labels[world.defects]
    kinds = np.unique(truth)
    for number in kinds if len(kinds) > 1 else []:
        label, mine = world.data.classes[number].name, truth == number
        for method in (SHIPS, *(m for m in found if m.startswith("PatchCore") and RANDOM not in m)):
            values = [auroc_of(replace(s, defect=s.defect[mine])) for s in found[method].scores]
            rows.append(Row.of(f"{world.data.name}: {method}: AUROC of {label}", "", values))
        values = [float((s.defect[mine] >= 1).mean()) for s in found[SHIPS].scores]
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
    parser.add_argument("--ships-alone", action="store_true", help="Andon's engines alone, without variants and peers")
    parser.add_argument("--without-cells", action="store_true", help="the set of --tiles alone")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    if args.without_cells and not args.tiles:
        parser.error("--without-cells leaves no set: give images as --tiles")
    sets = ([labelled_images(args.tiles)] if args.tiles else []) + ([] if args.without_cells else [solar_cells()])
    if args.tiles is None:
        print("oneclass: magnetic tiles are skipped: give their folder or tar as --tiles", file=sys.stderr)
    rows: list[Row] = []
    figures: dict[str, Measure] = {}
    with threadpool_limits(1):
        for data in sets:
            world = OneClass(data, args.cache)
            found = play(world, args.repeats, patchcore=not args.without_patchcore, ships_alone=args.ships_alone)
            more_rows, more = rows_of(world, found)
            rows += more_rows
            figures |= more
    tell("oneclass", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
