"""The engines that the speed benchmarks run: one fit on solar cells, with the float trunk and with the int8 trunk.

Both learn from three quarters of the monocrystalline cells and half of the polycrystalline ones; `frames` are some of
the rest. They are made once for a cache folder (about two minutes) and named after the trunks, so that a change of
the graph makes new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning import Cells
from training.atomic import write_atomically
from training.fit import fit
from training.plans import DEFAULT

_FRAMES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchEngines:
    """Two engines and frames that neither has learnt from.

    Attributes:
        float32: The engine on the float trunk, as its file.
        int8: The same on the int8 trunk.
        frames: uint8 [64, 300, 300, 3].
        held_out: Rows of the data set that neither engine has learnt from, nor calibrated on.
    """

    float32: bytes
    int8: bytes
    frames: NDArray[np.uint8]
    held_out: NDArray[np.int64]


def bench_engines(cache: Path) -> BenchEngines:
    """Make the engines, or read those of an earlier run.

    Args:
        cache: Folder for embeddings and engines; made if it is not there.
    """
    random = np.random.default_rng(0)
    cells = {variant: Cells(cache, variant, [DEFAULT]) for variant in ("fp32", "int8")}
    of_one = cells["fp32"]
    mono, poly = (random.permutation(np.flatnonzero(side)) for side in (~of_one.poly, of_one.poly))
    learnt = np.concatenate([mono[: 3 * len(mono) // 4], poly[: len(poly) // 2]])
    calibrated = of_one.calibration
    held_out = np.setdiff1d(np.arange(len(of_one.defect)), np.union1d(learnt, calibrated))
    shown = random.permutation(held_out)[:_FRAMES]
    return BenchEngines(
        float32=_engine(cache, of_one, "fp32", learnt),
        int8=_engine(cache, cells["int8"], "int8", learnt),
        frames=np.stack([of_one.frames[i] for i in shown]),
        held_out=held_out,
    )


def _engine(
    cache: Path, cells: Cells, variant: Literal["fp32", "int8"], rows: Sequence[int] | NDArray[np.int64]
) -> bytes:
    path = cache / f"engine-{variant}-{cells.trunk.id[:16]}.onnx"
    if not path.exists():
        none = np.empty(0, dtype=np.int64)
        write_atomically(path, fit(cells.request(np.asarray(rows), none, np.empty(0), none, 0)).engine)
    return path.read_bytes()
