"""The evidence for the gate: champion and challenger on the same samples.

1. Nobody is judged on what they were trained on: for such samples their own out-of-fold predictions count (of the
   recipe), for all others the engine's.
2. Field evidence: the held-out field samples; while there are none (few labels), all labelled field samples,
   cross-fitted. Only samples with a known inclusion probability speak for the frames that were not captured, and of
   those only ones that no trunk was trained on: out-of-fold predictions of a head over what it has seen flatter.
3. Golden evidence: factory samples that are never trained on. They measure what was forgotten.
4. Labels are the true ones, whatever a challenger was trained on.
5. Each model is judged by the thresholds of its own engine.
6. Parity of the int8 variant with float is measured on a bounded number of frames, held-out ones first.
"""

import hashlib
import math
import time
from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import Thresholds
from flows.champion import Champion, columns_for, metadata_of
from flows.training_set import Rows, TrainingSet
from training.fit import Challenger
from training.frames import decode
from training.gate import Evidence, PairedSet, Parity
from training.parity import parity_of
from training.predict import run_engine
from training.trunk import Trunk

_TIMED_FRAMES = 12
_TIMED_ROUNDS = 3


def gather(
    ready: TrainingSet, challenger: Challenger, champion: Champion | None, *, plain: Trunk | None, parity_frames: int
) -> Evidence:
    """Collect the evidence.

    Args:
        ready: The snapshot, made ready.
        challenger: What was fitted on it.
        champion: None: there is none yet.
        plain: The float original of the trunk that ships; None where it is not known.
        parity_frames: On how many frames int8 is compared with float.
    """
    held = ready.held_out
    golden = held.select(held.split == "golden")
    field = held.select((held.split == "holdout") & np.isfinite(held.probability))
    if not len(field):
        known = ready.unseen(ready.train)
        field = known.select((known.origin == "field") & np.isfinite(known.probability))
    timed = ready.images(_first(golden if len(golden) else ready.train, _TIMED_FRAMES))
    took = latencies_ms([*([champion.engine] if champion else []), challenger.engine], timed)
    return Evidence(
        classes=ready.classes,
        field=paired(ready, challenger, champion, field, weight=1.0 / field.probability),
        golden=paired(ready, challenger, champion, golden, weight=np.ones(len(golden))),
        size_bytes=(len(champion.engine) if champion else None, len(challenger.engine)),
        latency_ms=(took[0] if champion else None, took[-1]),
        parity=parity(ready, challenger, plain, parity_frames),
        thresholds=(
            metadata_of(champion.engine).thresholds if champion else Thresholds(),
            challenger.metadata.thresholds,
        ),
        alarms="" if challenger.alarms is None else str(challenger.alarms),
    )


def paired(
    ready: TrainingSet,
    challenger: Challenger,
    champion: Champion | None,
    rows: Rows,
    *,
    weight: NDArray[np.float64],
) -> PairedSet | None:
    """Return both models' predictions on some rows; None when there are no rows."""
    if not len(rows):
        return None
    names = tuple(info.name for info in ready.classes)
    theirs = None
    if champion is not None:
        oof = champion.out_of_fold
        known = dict(zip(oof.ids, columns_for(names, oof.classes, oof.probabilities), strict=True))
        theirs = predicted(ready, rows, known, champion.engine, champion.classes)
    known = dict(zip(challenger.oof_ids.tolist(), challenger.oof, strict=True))
    return PairedSet(
        ids=rows.ids,
        labels=rows.label,
        champion=theirs,
        challenger=predicted(ready, rows, known, challenger.engine, names),
        weight=weight,
        device=rows.device,
        station=rows.station,
        group=rows.group,
        captured_at=captured_at(ready, rows),
    )


def parity(ready: TrainingSet, challenger: Challenger, plain: Trunk | None, most: int) -> Parity | None:
    """Compare the shipped variant with float; None where float ships, or where its original is not known."""
    if ready.trunk.variant != "int8" or plain is None:
        return None
    held = _picked(ready.held_out, most)
    rest = _picked(ready.train, most - len(held))
    frames = [*ready.images(held), *ready.images(rest)]
    return parity_of(challenger.engine, challenger.metadata, ready.trunk, plain, frames)


def captured_at(ready: TrainingSet, rows: Rows) -> NDArray[np.datetime64]:
    """Return when each sample was captured, datetime64 [n]; NaT where the snapshot does not say."""
    table = ready.snapshot.rows
    times = dict(zip(table["sample_id"].to_pylist(), table["captured_at"].to_pylist(), strict=True))
    known = [times.get(sample) for sample in rows.ids.tolist()]
    return np.array([np.datetime64("NaT") if t is None else t.replace(tzinfo=None) for t in known], "datetime64[us]")


def predicted(
    ready: TrainingSet,
    rows: Rows,
    out_of_fold: dict[str, NDArray[np.float32]],
    engine: bytes,
    classes: tuple[str, ...],
) -> NDArray[np.float32]:
    """Return one model's probabilities, float32 [n, K], by rule 1."""
    names = tuple(info.name for info in ready.classes)
    found = np.zeros((len(rows), len(names)), dtype=np.float32)
    fresh = np.array([sample not in out_of_fold for sample in rows.ids.tolist()], dtype=bool)
    for position in np.flatnonzero(~fresh):
        found[position] = out_of_fold[str(rows.ids[position])]
    if fresh.any():
        answers = run_engine(engine, ready.images(rows.select(fresh))).probabilities
        found[fresh] = columns_for(names, classes, answers)
    return found


def latencies_ms(engines: Sequence[bytes], images: Sequence[bytes]) -> list[float]:
    """Return the milliseconds a frame takes for each engine, on one thread of this machine.

    The engines take turns and the best of several medians counts: another process that wants the same core slows
    both, and must not decide which engine ships.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(e, options, providers=["CPUExecutionProvider"]) for e in engines]
    frames = [decode(image)[None] for image in images]
    best = [math.inf] * len(engines)
    for _ in range(_TIMED_ROUNDS):
        for index, session in enumerate(sessions):
            taken = []
            for frame in frames:
                began = time.perf_counter()
                session.run(None, {"image": frame})
                taken.append(time.perf_counter() - began)
            best[index] = min(best[index], float(np.median(taken)) * 1_000.0)
    return best


def _picked(rows: Rows, count: int) -> Rows:
    """Return some rows, picked by hash: no class or day leads, and the same ones the next time."""
    order = sorted(range(len(rows)), key=lambda i: hashlib.sha256(rows.image_sha256[i].encode()).digest())
    return rows.select(np.isin(np.arange(len(rows)), order[: max(0, count)]))


def _first(rows: Rows, count: int) -> Rows:
    return rows.select(np.arange(len(rows)) < count)
