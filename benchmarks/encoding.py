"""How captured frames are encoded: time and bytes of the ways that lose nothing, on grey frames and on colour.

Grey: solar cells of 300 x 300 pixels, and magnetic tiles where they are given. Colour: the cells with another gain in
each channel and a camera's noise (standard deviation 1.5 of 255), since neither set has colour. All ways take turns on
every frame. Figures: what `edge_client.encode` chooses against lossless WebP's better search, the smallest file.

    python -m benchmarks.encoding [--json] [--tiles FOLDER_OR_TAR] [--frames 60]
"""

from __future__ import annotations

import argparse
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.frame_sets import labelled_images, solar_cells
from benchmarks.interleave import interleave, ratio
from benchmarks.result import Row, tell
from edge_client.encode import encode_lossless, is_grey
from training.evaluate import Measure

Frame = NDArray[np.uint8]
_OURS, _SMALLEST = "chosen", "WebP, better search"


def _webp(frame: Frame, method: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "WEBP", lossless=True, quality=0, method=method, exact=True)
    return buffer.getvalue()


def _png(frame: Frame, strategy: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame[..., 0] if is_grey(frame) else frame).save(
        buffer, "PNG", compress_level=1, compress_type=strategy
    )
    return buffer.getvalue()


WAYS: dict[str, Callable[[Frame], bytes]] = {
    _OURS: lambda frame: encode_lossless(frame)[0],
    _SMALLEST: lambda frame: _webp(frame, 1),
    "WebP, fast search": lambda frame: _webp(frame, 0),
    "PNG, Huffman alone": lambda frame: _png(frame, zlib.Z_HUFFMAN_ONLY),
    "PNG, level 1": lambda frame: _png(frame, zlib.Z_DEFAULT_STRATEGY),
}


def coloured(frame: Frame, random: np.random.Generator) -> Frame:
    """Return a grey frame as a colour camera would see it."""
    seen = frame * np.array([1.0, 0.9, 0.8]) + random.normal(0.0, 1.5, frame.shape)
    return np.asarray(np.clip(seen, 0, 255), dtype=np.uint8)


def _encode_next(encode: Callable[[Frame], bytes], frames: Iterator[Frame]) -> bytes:
    return encode(next(frames))


def measure(name: str, frames: Sequence[Frame]) -> tuple[list[Row], dict[str, Measure]]:
    """Time every way on every frame."""
    rows = []
    bytes_of = {way: np.array([float(len(encode(f))) for f in frames]) for way, encode in WAYS.items()}
    turn = {way: iter([*frames[:3], *frames]) for way in WAYS}
    cases = {way: partial(_encode_next, encode, turn[way]) for way, encode in WAYS.items()}
    times = interleave(cases, len(frames), warm_up=3)
    for way in WAYS:
        rows.append(Row.of(f"{name}, {way}: time", "ms", times[way].tolist()))
        rows.append(Row.of(f"{name}, {way}: size", "kB", (bytes_of[way] / 1e3).tolist()))
    return rows, {
        f"{name}_time": ratio(times[_OURS], times[_SMALLEST]),
        f"{name}_bytes": ratio(bytes_of[_OURS], bytes_of[_SMALLEST]),
    }


def main() -> None:
    """Measure cells, colour, and tiles where they are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, help="not used; every benchmark takes it")
    parser.add_argument("--tiles", type=Path, help="images with an index.csv, a folder or a tar file")
    parser.add_argument("--frames", type=int, default=60, help="of each kind")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    cells = solar_cells().frames
    chosen = [cells[i] for i in random.permutation(len(cells))[: args.frames]]
    sets = {"grey_cells": chosen, "colour": [coloured(frame, random) for frame in chosen]}
    if args.tiles:
        tiles = labelled_images(args.tiles).frames
        sets["grey_tiles"] = [tiles[i] for i in random.permutation(len(tiles))[: args.frames]]
    rows: list[Row] = []
    figures: dict[str, Measure] = {}
    for name, frames in sets.items():
        more, told = measure(name, frames)
        rows += more
        figures |= told
    tell("encoding", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
