"""What a model looks at: side, backbone, tiles and region against average precision, with what each costs a device.

Each choice has its own trunk (float), embeddings and fits: everything out of fold by groups (near-duplicates are never
on both sides), folds dealt anew in each repeat, the regularisation chosen for each choice. Two sets: solar cells or,
with --tiles, a folder or tar of labelled images; and a planted one: mosaics of nine solar cells each, 900 pixels wide,
of which a third have a scratch two pixels wide in the middle part. At 224 pixels that is half a pixel; tiles and a
region see it.

Differences are to the default choice, paired by repeat; engines take turns when they are timed, one frame at a time on
one thread.

    python -m benchmarks.inputs [--tiles PATH] [--sets images planted] [--choices CHOICE ...] [--repeats 5] [--json]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import EmbeddedSet
from benchmarks.frame_sets import labelled_images, solar_cells
from benchmarks.interleave import interleave, median_of
from benchmarks.parity import LabelledFrames
from benchmarks.pieces import session_of
from benchmarks.plan_sets import near_duplicates
from benchmarks.result import Row, tell
from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.evaluate import Measure
from training.fit import fit
from training.input_choice import DEFAULT_CHOICE, InputChoice
from training.input_trial import PLANS, pick_frames

_TIMED_FRAMES, _TIMED_ROUNDS = 3, 7
_CELLS = 3  # of a mosaic, along a side
_REGION = (0.3, 0.3, 0.7, 0.7)  # of a mosaic: where scratches are planted
_SCRATCH = (2, 28)  # pixels wide and long
_PLANTED_FRAMES = 240
Frame = NDArray[np.uint8]

USUAL = (
    "efficientnet-lite0@224",
    "efficientnet-lite0@160",
    "efficientnet-lite0@320",
    "efficientnet-lite2@224",
    "efficientnet-lite2@256",
    "efficientnet-lite0@224/2x2",
    "efficientnet-lite0@224/2x2/overlap=0.25",
    "efficientnet-lite0@224/views=2",
)
PLANTED = (
    "efficientnet-lite0@224",
    "efficientnet-lite0@320",
    "efficientnet-lite0@224/2x2",
    "efficientnet-lite0@224/3x3",
    "efficientnet-lite0@224/region=0.3,0.3,0.7,0.7",
    "efficientnet-lite0@224/2x2/region=0.3,0.3,0.7,0.7",
)


class Mosaics(Sequence[Frame]):
    """Frames of ok solar cells, made when they are asked for: all at once would fill the memory.

    Args:
        cells: uint8 [m, 300, 300], all ok.
        labels: int [n]; 1 has a scratch.
        seed: Of all that is drawn.
    """

    def __init__(self, cells: NDArray[np.uint8], labels: NDArray[np.int64], seed: int) -> None:
        self._cells, self._labels, self._seed = cells, labels, seed

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        random = np.random.default_rng((self._seed, index))
        chosen = random.integers(0, len(self._cells), (_CELLS, _CELLS))
        grey = np.concatenate([np.concatenate(list(self._cells[row]), axis=1) for row in chosen], axis=0).astype(float)
        if self._labels[index]:
            _scratch(grey, random)
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _scratch(grey: NDArray[np.float64], random: np.random.Generator) -> None:
    """Darken a short line at a random place and angle inside the region."""
    side = len(grey)
    left, top, right, bottom = (round(edge * side) for edge in _REGION)
    width, length = _SCRATCH
    y, x = random.integers(top + length, bottom - length), random.integers(left + length, right - length)
    angle = random.uniform(0, np.pi)
    rows, columns = np.mgrid[y - length : y + length, x - length : x + length]
    along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
    line = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)
    grey[rows[line], columns[line]] *= 0.45


def planted(frames: int = _PLANTED_FRAMES, seed: int = 0) -> LabelledFrames:
    """Return the planted set."""
    cells = solar_cells()
    ok = np.stack([cells.frames[i][:, :, 0] for i in np.flatnonzero(cells.labels == 0).tolist()])
    labels = (np.arange(frames) % 3 == 0).astype(np.int64)
    classes = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="scratch", kind=Kind.DEFECT))
    return LabelledFrames(name=f"planted-{seed}", frames=Mosaics(ok, labels, seed), labels=labels, classes=classes)


def bounded(data: LabelledFrames, most: int) -> tuple[LabelledFrames, NDArray[np.str_]]:
    """Return at most so many frames of a set, each class in its share, with the near-duplicate groups of all of it."""
    groups = near_duplicates(data)
    rows = pick_frames(data.labels, [str(i) for i in range(len(data.labels))], most)
    part = LabelledFrames(
        name=f"{data.name}-{len(rows)}",
        frames=[data.frames[i] for i in rows],
        labels=data.labels[rows],
        classes=data.classes,
    )
    return part, groups[rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a choice on a set.

    Attributes:
        mean: Mean average precision of the defect classes, by repeat.
        worst: Of the worst defect class, by repeat.
        engine: Of the first repeat.
    """

    choice: InputChoice
    mean: list[float]
    worst: list[float]
    engine: bytes


def outcome(data: LabelledFrames, groups: NDArray[np.str_], choice: InputChoice, cache: Path, repeats: int) -> Outcome:
    """Embed a set by a choice and fit on it."""
    held = EmbeddedSet(
        data.name, data.frames, data.labels, data.classes, groups=groups, cache=cache, plans=PLANS, choice=choice
    )
    every = np.arange(len(data.labels))
    defects = [k for k, info in enumerate(data.classes) if info.kind is Kind.DEFECT]
    mean, worst, engine = [], [], b""
    for seed in range(repeats):
        challenger = fit(held.factory_request(every, seed=seed, plans=PLANS))
        found = [average_precision_score(data.labels == k, challenger.oof[:, k]) for k in defects]
        mean.append(float(np.mean(found)))
        worst.append(float(np.min(found)))
        engine = engine or challenger.engine
        print(f"  {data.name} {choice} {seed}: {mean[-1]:.3f}, {worst[-1]:.3f}", file=sys.stderr, flush=True)
    return Outcome(choice=choice, mean=mean, worst=worst, engine=engine)


def told(data: LabelledFrames, outcomes: Sequence[Outcome], label: str) -> tuple[list[Row], dict[str, Measure]]:
    """Rows of a set, and the gain of the best choice over the default."""
    frames = [data.frames[i][None] for i in range(_TIMED_FRAMES)]
    runs = {str(one.choice): _all(one.engine, frames) for one in outcomes}
    times = interleave(runs, _TIMED_ROUNDS, warm_up=1)
    rows, figures = [], {}
    usual = outcomes[0]
    for one in outcomes:
        case = f"{label}: {one.choice}"
        rows += [
            Row.of(f"{case}: mean AP", "", one.mean),
            Row.of(f"{case}: worst class AP", "", one.worst),
            Row.of(f"{case}: engine", "ms a frame", (times[str(one.choice)] / len(frames)).tolist()),
            Row.of(f"{case}: engine's size", "MB", [len(one.engine) / 1e6]),
        ]
        if one is not usual:
            gaps = np.array(one.mean) - np.array(usual.mean)
            rows.append(Row.of(f"{case}: mean AP over the default", "", gaps.tolist()))
    best = max(outcomes, key=lambda one: float(np.mean(one.mean)))
    figures[f"{label}_best_gain"] = median_of(np.array(best.mean) - np.array(usual.mean))
    figures[f"{label}_best_worst_class_gain"] = median_of(np.array(best.worst) - np.array(usual.worst))
    print(f"{label}: best is {best.choice}", file=sys.stderr, flush=True)
    return rows, figures


def _all(engine: bytes, frames: Sequence[Frame]) -> Callable[[], object]:
    session = session_of(engine, 1)
    return lambda: [session.run(None, {"image": frame}) for frame in frames]


def main() -> None:
    """Measure all sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--tiles", type=Path, help="folder or tar of labelled images, instead of solar cells")
    parser.add_argument("--sets", nargs="+", choices=("images", "planted"), default=("images", "planted"))
    parser.add_argument("--frames", type=int, default=700, help="most frames of the images (default 700)")
    parser.add_argument(
        "--choices", nargs="+", metavar="CHOICE", help="instead of the usual ones; default choice first"
    )
    parser.add_argument("--repeats", type=int, default=5, help="deals of folds")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    usual: Sequence[str]
    figures: dict[str, Measure] = {}
    with threadpool_limits(1):
        for name in args.sets:
            if name == "planted":
                data, usual = planted(), PLANTED
                groups = np.arange(len(data.labels)).astype(str)
            else:
                images = solar_cells() if args.tiles is None else labelled_images(args.tiles)
                usual = USUAL
                data, groups = bounded(images, args.frames)
            choices = [InputChoice.parse(text) for text in args.choices or usual]
            choices = list(dict.fromkeys([DEFAULT_CHOICE, *choices]))
            label = "planted" if name == "planted" else "elpv" if args.tiles is None else "tiles"
            outcomes = [outcome(data, groups, choice, args.cache, args.repeats) for choice in choices]
            more, best = told(data, outcomes, label)
            rows += more
            figures |= best
    tell("inputs", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
