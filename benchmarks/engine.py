"""The engine: what it costs beside its bare network, int8 beside float, and whether int8 decides alike.

Speed: engines for 300 x 300 solar cells, one frame at a time on one thread, all cases one after another in every
round. The bare network is the engine's own, cut out of its file: float input, pooled last features. A large matrix
product in the same rounds shows what the processor can do; the network's share of it counts the convolutions'
multiply-adds alone. Preparation is the part of the engine from the uint8 frame to the network's input, beside
OpenCV's area resize with the same normalisation. Decisions: see `benchmarks.parity`.

    python -m benchmarks.engine [--json] [--tiles FOLDER_OR_TAR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.engines import bench_engines
from benchmarks.frame_sets import labelled_images, solar_cells
from benchmarks.interleave import Times, interleave, median_of, ratio
from benchmarks.parity import SAME, Parity, parity_of
from benchmarks.pieces import backbone, multiply_adds, peaks, preparation, runner
from benchmarks.result import Row, tell
from training.evaluate import Measure, clopper_pearson
from training.lite0 import Lite0
from training.trunk import float_trunk

_BATCH = 8
_FULL_HD = (1080, 1920)
Frames = NDArray[np.uint8]


def speed(cache: Path, rounds: int) -> tuple[list[Row], dict[str, Measure]]:
    """Time engines, bare networks, preparation and the processor's peak."""
    engines, size = bench_engines(cache), float_trunk(cache).input_size
    files = {"float": engines.float32, "int8": engines.int8}
    frames = engines.frames[:_BATCH]
    full_hd = np.random.default_rng(0).integers(0, 256, (1, *_FULL_HD, 3), dtype=np.uint8)
    cases: dict[str, Callable[[], object]] = {}
    for name, file in files.items():
        bare = backbone(file, size, Lite0.embedding_width)
        prepared = runner(preparation(file, size), 1, {"image": frames})()
        ready = np.asarray(prepared[0])  # type: ignore[index]
        for batch, threads in ((1, 1), (_BATCH, 1), (1, 2)):
            how = f"batch {batch}, {threads} thread{'s' * (threads > 1)}"
            cases[f"bare network {name}, {how}"] = runner(bare, threads, {"network_input": ready[:batch]})
            cases[f"engine {name}, {how}"] = runner(file, threads, {"image": frames[:batch]})
    prepare = preparation(files["float"], size)
    for name, image in (("300 x 300", frames[:1]), ("1080p", full_hd)):
        cases[f"preparation, {name}"] = runner(prepare, 1, {"image": image})
        cases[f"OpenCV's area resize, {name}"] = _opencv(image[0], size)
    cases |= {f"matmul peak {name}": run for name, (run, _) in peaks().items()}
    times = interleave(cases, rounds)
    rows = [
        Row.of(name, "ms a frame", (values / (_BATCH if f"batch {_BATCH}" in name else 1)).tolist())
        for name, values in times.items()
    ]
    one = {
        (what, name): times[f"{what} {name}, batch 1, 1 thread"]
        for what in ("engine", "bare network")
        for name in files
    }
    for name, file in files.items():
        needed = multiply_adds(backbone(file, size, Lite0.embedding_width))
        rows += _shares(name, needed, one["bare network", name], times[f"matmul peak {name}"], peaks()[name][1])
    return rows, {
        "engine_to_backbone_float": ratio(one["engine", "float"], one["bare network", "float"]),
        "engine_to_backbone_int8": ratio(one["engine", "int8"], one["bare network", "int8"]),
        "int8_speedup": ratio(one["engine", "float"], one["engine", "int8"]),
        "prepare_1080p_ms": median_of(times["preparation, 1080p"]),
    }


def _opencv(image: Frames, size: int) -> Callable[[], object]:
    cv2.setNumThreads(1)

    def run() -> object:
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        planes = (small.astype(np.float32) - Lite0.offset) / Lite0.scale
        return np.ascontiguousarray(planes.transpose(2, 0, 1))

    return run


def _shares(name: str, needed: int, network: Times, peak: Times, peak_needed: int) -> list[Row]:
    """The peak in operations a second (two a multiply-add), and the bare network's share of it."""
    at_best = 2 * peak_needed / peak / 1e6
    share = (2 * needed / network / 1e6) / float(np.median(at_best))
    return [
        Row.of(f"matmul peak {name}", "GOP/s", at_best.tolist()),
        Row.of(f"share of the matmul peak, bare network {name}", "", share.tolist()),
    ]


def decisions(cache: Path, tiles: Path | None) -> tuple[list[Row], dict[str, Measure]]:
    """Compare int8 decisions with float ones; the figures are the worst of the data sets."""
    sets = [solar_cells()]
    if tiles is None:
        print("engine: decisions on magnetic tiles are skipped: give their folder or tar as --tiles", file=sys.stderr)
    else:
        sets.append(labelled_images(tiles))
    rows, found = [], []
    for data in sets:
        parities = parity_of(data, cache)
        found.append(parities[SAME])
        for what, parity in parities.items():
            rows += _rows(f"{data.name}, {what}", parity)
    return rows, {
        name: max((_share(getattr(p, counted), p.n) for p in found), key=lambda share: share.value)
        for name, counted in (("class_flips", "classes"), ("verdict_flips", "verdicts"))
    }


def _share(hits: int, n: int) -> Measure:
    low, high = clopper_pearson(hits / n, n)
    return Measure(value=hits / n, low=low, high=high, n=n)


def _rows(case: str, parity: Parity) -> list[Row]:
    counts = {
        "decided for another class": parity.classes,
        "passed by one, rejected by the other": parity.verdicts,
        "on another side of the threshold": parity.sides,
        "another verdict, unsure included": parity.any_verdict,
    }
    rows = []
    for what, hits in counts.items():
        share = _share(hits, parity.n)
        rows.append(
            Row(case=f"{case}: {what}", unit="", median=share.value, low=share.low, high=share.high, n=parity.n)
        )
    for what, (float32, int8) in (("anomaly AUROC", parity.auroc), ("accuracy", parity.accuracy)):
        for name, value in (("float", float32), ("compared", int8)):
            rows.append(Row(case=f"{case}: {what} {name}", unit="", median=value, low=value, high=value, n=parity.n))
    return rows


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--tiles", type=Path, help="folder or tar of labelled images with an index.csv")
    parser.add_argument("--rounds", type=int, default=60, help="of the timings")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    speed_rows, speeds = speed(args.cache, args.rounds)
    decision_rows, flips = decisions(args.cache, args.tiles)
    tell("engine", [*speed_rows, *decision_rows], {**speeds, **flips}, as_json=args.json)


if __name__ == "__main__":
    main()
