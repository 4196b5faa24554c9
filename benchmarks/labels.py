"""``python -m benchmarks.labels``: what choosing labels brings, beside random labels and other ways of choosing them.

The factory set is three quarters of ELPV's monocrystalline cells. Two thirds of the polycrystalline cells stream past
in five rounds, one third measures. `benchmarks.label_stories` says how frames are captured, who sees what, and how
labels are chosen; every strategy has the same learner, features, split and captured stream: differences are paired.

    stream      average precision against the share labelled: 2, 5, 10, 20 %, all
    longtail    the same stream with 5 % and with 1 % defects, 10 % labelled
    noise       5 and 20 % of all labels are wrong: what is suggested for review, beside cleanlab, and what that brings
    fresh       (--tiles) a class of defect that comes in the middle of the stream, each class in turn, 10 % labelled
    exposure    (--tiles) the lamp ages: bright frames are known, darker and darker ones stream

`noise` and `fresh` take half of the splits. Peers: margin (with two classes entropy is the same), coreset, and BADGE,
TypiClust, ProbCover, Falcun and CLUE of scikit-activeml in an environment of its own; cleanlab for label errors. Random
labels are the mean of four draws. The learner is `benchmarks.quick_learner`, for `noise`, which looks at out-of-fold
answers, the everyday fit. Half an hour on one core; `--parts` and `--splits` take less.

    python -m benchmarks.labels --cache .andon/cache/benchmarks --tiles magnetic-tile.tar --json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.frame_sets import column_of
from benchmarks.label_cells import longtail, noise, stream
from benchmarks.label_compare import Told
from benchmarks.label_stories import Learner
from benchmarks.label_tiles import EXPOSURE, PEERS, exposure, fresh, tiles_of
from benchmarks.learning import Cells
from benchmarks.peers.active_learning import STRATEGIES as OF_ACTIVEML
from benchmarks.peers.active_learning import ActiveLearning
from benchmarks.quick_learner import QuickLearner
from benchmarks.result import tell
from benchmarks.strategies import OWN, Strategy
from data.label_scores import Mix
from training.plans import DEFAULT

OF_CELLS = ("stream", "longtail", "noise")
OF_TILES = ("fresh", "exposure")


def strategies(peers: ActiveLearning | None, wanted: Sequence[str]) -> dict[str, Strategy]:
    """The peers that are wanted; scikit-activeml's own where it has one."""
    found: dict[str, Strategy] = {name: how for name, how in OWN.items() if name in wanted}
    if peers is not None:
        found |= {name: partial(peers.choose, name) for name in OF_ACTIVEML if name in wanted}
    return found


def main() -> int:
    """Tell the stories and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps embeddings and the peers' environment")
    parser.add_argument("--splits", type=int, default=10, help="independent splits, 5 or more to be quoted")
    parser.add_argument("--first", type=int, default=0, help="number of the first split, to look at others")
    parser.add_argument(
        "--parts", nargs="+", choices=[*OF_CELLS, *OF_TILES], help="default: all that there is data for"
    )
    parser.add_argument("--tiles", type=Path, help="images with an index.csv, for `fresh` and `exposure`")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=sorted({*OWN, *OF_ACTIVEML}),
        default=["margin", "coreset", "badge", "typiclust", "probcover"],
        help="which to compare with on the cells (falcun and clue take as long as badge)",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave scikit-activeml and cleanlab out")
    parser.add_argument("--everyday", action="store_true", help="the everyday fit for all parts: slow")
    parser.add_argument("--json", action="store_true", help="print JSON")
    for name, weight in Mix().weights.items():
        parser.add_argument(f"--{name}", type=float, default=weight, help=f"weight of the signal (default {weight})")
    args = parser.parse_args()
    if args.splits < 2:
        parser.error(f"--splits {args.splits}: expected at least 2, else nothing can be said about the spread")
    if args.first < 0:
        parser.error(f"--first {args.first}: expected 0 or more")
    parts = args.parts or (*OF_CELLS, *(OF_TILES if args.tiles else ()))
    of_tiles = [part for part in OF_TILES if part in parts]
    if of_tiles and not args.tiles:
        parser.error(f"--parts {' '.join(of_tiles)}: expected --tiles PATH, its images")
    try:
        exposures = column_of(args.tiles, EXPOSURE) if "exposure" in parts else None
    except (OSError, ValueError) as error:
        parser.error(f"--tiles: {error}")
    kind = Learner if args.everyday else QuickLearner
    mix = Mix(**{name: getattr(args, name) for name in Mix().weights})
    splits = range(args.first, args.first + args.splits)
    began = time.perf_counter()
    told = Told()
    with ExitStack() as stack:
        cache = args.cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="andon-labels-")))
        peers = None if args.no_peers else stack.enter_context(ActiveLearning(cache.resolve()))
        stack.enter_context(threadpool_limits(1))
        if set(parts) & set(OF_CELLS):
            cells, chosen = Cells(cache, "int8", [DEFAULT]), strategies(peers, args.peers)
            if "stream" in parts:
                stream(cells, splits, chosen, mix, told, kind)
            if "longtail" in parts:
                longtail(cells, splits, chosen, mix, told, kind)
            if "noise" in parts:
                noise(cells, splits[: max(2, args.splits // 2)], peers, mix, told)
        if of_tiles:
            tiles, chosen = tiles_of(args.tiles, cache), strategies(peers, PEERS)
            if "fresh" in parts:
                fresh(tiles, splits[: max(2, args.splits // 2)], chosen, mix, told, kind)
            if exposures is not None:
                exposure(tiles, exposures, splits, chosen, mix, told, kind)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    tell("labels", told.rows, told.figures, as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
