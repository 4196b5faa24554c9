"""What a retrain costs: a head with everything chosen and exported, and the embedding that new labels need.

Head: `fit` as the nightly retrain calls it on cached embeddings, search over plans, calibration, thresholds, file and
self-test included, and where its seconds go. Embedding: a cache that knows 5,000 frames and one that knows 50,000 each
get 50 new ones, in turns; work is finding which are new, embedding and storing them. Handing all rows over to the fit
is told beside it: it grows with the rows, as learning from them does.

    python -m benchmarks.retrain [--tiles PATH] [--repeats 5] [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.embedded_set import EmbeddedSet
from benchmarks.plan_sets import embedded_set
from benchmarks.result import Row, ratio_of_means, tell
from training.embeddings import EmbeddingCache
from training.evaluate import Measure
from training.fit import fit
from training.trunk import Trunk

FRAMES = 1_344
SMALL, LARGE = 5_000, 50_000
NEW = 50
_CHUNK = 512  # as the cache itself stores


def head_seconds(data: EmbeddedSet, repeats: int) -> dict[str, list[float]]:
    """Time fits with different seeds; returns the seconds of each part, and `all`.

    Beside the time on the wall stands what the processor spent: where others compute too, the wall tells of them.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(data.labels))[:FRAMES])
    spent: dict[str, list[float]] = {}
    for seed in range(repeats):
        request = data.factory_request(rows, seed=seed)
        began, worked = time.perf_counter(), time.process_time()
        challenger = fit(request)
        spent.setdefault("all", []).append(time.perf_counter() - began)
        spent.setdefault("all, seconds of a processor", []).append(time.process_time() - worked)
        for part, seconds in challenger.seconds.items():
            spent.setdefault(part, []).append(seconds)
    return spent


def remembering(folder: Path, trunk: Trunk, frames: int) -> list[str]:
    """Fill a cache's folder with so many frames, as earlier retrains would have; returns their digests.

    Patches are a hole in the file: 50,000 real ones are 3 GB, and nothing here reads them.
    """
    random = np.random.default_rng(frames)
    known = [hashlib.sha256(f"{frames} {i}".encode()).hexdigest() for i in range(frames)]
    for start in range(0, frames, _CHUNK):
        names = known[start : start + _CHUNK]
        chunk = folder / trunk.id / f"chunk-{start:08d}"
        chunk.mkdir(parents=True)
        (chunk / "images.json").write_text(json.dumps(names))
        np.save(chunk / "features.npy", random.standard_normal((len(names), trunk.feature_width), dtype=np.float32))
        shape = (len(names), trunk.grid, trunk.grid, trunk.patch_width)
        np.lib.format.open_memmap(chunk / "patches.npy", mode="w+", dtype=np.float16, shape=shape).flush()
    return known


def _behind(images: Sequence[bytes], known: int, number: int) -> bytes:
    """The image of a row behind those that are known."""
    return images[number - known]


def embedding_seconds(data: EmbeddedSet, repeats: int) -> dict[str, list[float]]:
    """Time bringing in `NEW` frames, and handing all rows over, with few and with many frames known."""
    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="andon-embeddings-") as place:
        folders = {frames: Path(place) / str(frames) for frames in (SMALL, LARGE)}
        known = {frames: remembering(folder, data.trunk, frames) for frames, folder in folders.items()}
        data.trunk.run([data.frames[0]])  # the session is made once in a process
        for turn in range(repeats + 1):  # the first is not counted: files are not yet in memory
            for frames, folder in folders.items():
                images = [_png(data.frames[(turn * NEW + i) % len(data.frames)], turn, frames) for i in range(NEW)]
                names = [*known[frames], *(hashlib.sha256(image).hexdigest() for image in images)]
                cache = EmbeddingCache(folder)
                began, worked = time.perf_counter(), time.process_time()
                computed = cache.add(data.trunk, names, partial(_behind, images, frames))
                added, done = time.perf_counter(), time.process_time()
                nothing = np.zeros(len(names), dtype=bool)
                cache.embed(data.trunk, names, lambda i: b"", patches_of=nothing)
                ended = time.perf_counter()
                assert computed == NEW, f"{computed} frames were embedded; expected {NEW}"
                if turn:
                    spent.setdefault(f"{NEW} new beside {frames}: embedding work", []).append(added - began)
                    spent.setdefault(f"{NEW} new beside {frames}: processor", []).append(done - worked)
                    spent.setdefault(f"{NEW} new beside {frames}: handing all features over", []).append(ended - added)
    return spent


def _png(frame: np.ndarray, *marks: int) -> bytes:
    """Encode a frame, marked so that its bytes are new in each turn."""
    marked = frame.copy()
    marked[0, : len(marks), 0] = [mark % 256 for mark in marks]
    marked[1, : len(marks), 0] = [mark // 256 for mark in marks]
    buffer = io.BytesIO()
    Image.fromarray(marked).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--tiles", type=Path, help="folder or tar of labelled images (default: 1,344 solar cells)")
    parser.add_argument("--repeats", type=int, default=5, help="fits, and turns of embedding")
    args = parser.parse_args()
    data = embedded_set(args.tiles, args.cache)
    head = head_seconds(data, args.repeats)
    embedding = embedding_seconds(data, args.repeats)
    rows = [Row.of(f"retrain on {FRAMES} embeddings: {part}", "s", seconds) for part, seconds in head.items()]
    rows += [Row.of(case, "s", seconds) for case, seconds in embedding.items()]
    spent = Row.of("", "s", head["all"])
    work = [embedding[f"{NEW} new beside {frames}: embedding work"] for frames in (LARGE, SMALL)]
    figures = {
        "seconds": Measure(value=spent.median, low=spent.low, high=spent.high, n=spent.n),
        "embedding_work_ratio": ratio_of_means(*work),
    }
    tell("retrain", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
