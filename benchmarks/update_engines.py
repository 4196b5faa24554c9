"""The engines that the benchmark of updates sends: one fit on solar cells with the int8 trunk, and what came after it.

They are made once for a cache folder. A *head-only* update has a head that learnt from more frames, its calibration
and its thresholds; a *refit* has another anomaly bank and places besides, as the everyday retrain makes; the last has
other thresholds alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.learning import Cells
from edge_client.contract.engine_metadata import EngineMetadata
from training.atomic import write_atomically
from training.export import build_engine
from training.fit import FitRequest, Learnt, learn_with_bank, make_selftest
from training.plans import DEFAULT

INSPECTION = "solar-cells"
_NAMES = ("base", "head-only", "refit", "thresholds")
_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEngine:
    """An engine and its self-test, as they are released."""

    engine_id: str
    engine: bytes
    selftest: bytes


def update_engines(cache: Path) -> dict[str, SentEngine]:
    """Make the engines, or read those of an earlier run."""
    cells = Cells(cache, "int8", [DEFAULT])
    paths = {name: cache / f"update-{name}-{cells.trunk.id[:16]}-r1" for name in _NAMES}
    if not all(
        path.with_suffix(".onnx").exists() and path.with_suffix(".selftest").exists() for path in paths.values()
    ):
        _make(cells, paths)
    return {
        name: SentEngine(
            engine_id=name,
            engine=path.with_suffix(".onnx").read_bytes(),
            selftest=path.with_suffix(".selftest").read_bytes(),
        )
        for name, path in paths.items()
    }


def _make(cells: Cells, paths: dict[str, Path]) -> None:
    random = np.random.default_rng(0)
    mono, poly = (random.permutation(np.flatnonzero(side)) for side in (~cells.poly, cells.poly))
    factory, labelled = mono[: 3 * len(mono) // 4], poly[:200]
    none = np.empty(0, dtype=np.int64)
    before = cells.request(factory, none, np.empty(0), none, 0)
    after = cells.request(factory, labelled, np.full(len(labelled), 0.1), labelled, 0)
    first, first_bank, _ = learn_with_bank(before)
    then, then_bank, _ = learn_with_bank(after)
    stricter = replace(first, thresholds=replace(first.thresholds, defect=first.thresholds.defect / 2))
    frames = [cells.frames[i] for i in random.permutation(len(cells.frames))[:9]]
    made = {
        "base": (before, first, first_bank, frames[:8]),
        "head-only": (before, then, first_bank, frames[:8]),
        "refit": (after, then, then_bank, frames[1:]),
        "thresholds": (before, stricter, first_bank, frames[:8]),
    }
    for name, (request, learnt, bank, shown) in made.items():
        engine = build_engine(request.trunk, learnt.head, bank, _metadata(name, request, learnt))
        test = make_selftest(engine, shown, tolerance=_TOLERANCE)
        write_atomically(paths[name].with_suffix(".selftest"), test.pack())
        write_atomically(paths[name].with_suffix(".onnx"), engine)


def _metadata(name: str, request: FitRequest, learnt: Learnt) -> EngineMetadata:
    return EngineMetadata(
        engine_id=name,
        inspection=INSPECTION,
        classes=request.classes,
        thresholds=learnt.thresholds,
        training_prior=tuple(float(p) for p in learnt.prior),
        embedding_id=request.trunk.id,
        run_id="run-1",
        snapshot_id="snapshot-1",
        variant=request.trunk.variant,
        created_at="2026-01-01T00:00:00+00:00",
    )
