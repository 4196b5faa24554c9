"""Whether the int8 engine decides as the float engine does, on frames that neither has learnt from.

1. Calibration frames are drawn first and judge nothing.
2. The rest is judged across five folds, each by engines that learnt from the other four. What int8 changes is one
   engine (head, bank, thresholds) on the float trunk against the same on the int8 trunk.
3. The engine that ships learns with the trunk that ships, so beside it: a float engine against an int8 engine that
   learnt from int8 features. That difference holds what int8 changes and what learning anew changes. How much the
   second is alone shows a float engine that learnt anew, with another seed: nothing of it is int8.
4. Two decisions differ in *class* by `decided_class`, in *verdict* where one engine passes what the other rejects.
   The stricter counts are beside them: a verdict of any kind that differs, `unsure` included, and the side of the
   threshold, as if there were no band of `unsure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import embed_once, names_of
from edge_client.contract.decision import Verdict, decide, decided_class
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind
from training.anomaly import Bank
from training.examples import FACTORY, Examples
from training.fit import FitRequest, Learnt, learn_with_bank
from training.plans import DEFAULT
from training.quantize import CALIBRATION_FRAMES, int8_trunk
from training.trunk import Embedded, Trunk, float_trunk

_FOLDS = 5
#: The same engine on the int8 trunk; an engine that learnt on it; a float engine that learnt anew.
COMPARED = SAME, LEARNT_ON_INT8, LEARNT_ANEW = "same engine on int8", "learnt on int8", "learnt anew in float"
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFrames:
    """A data set.

    Attributes:
        name: For the report and the cache.
        frames: uint8 RGB frames of any sizes.
        labels: int [n], indices into the classes.
        classes: Its K classes.
    """

    name: str
    frames: Sequence[NDArray[np.uint8]]
    labels: Rows
    classes: tuple[ClassInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How two engines' decisions differ on n frames.

    Attributes:
        n: Frames judged.
        classes: Of them, decided for another class.
        verdicts: Passed by one, rejected by the other.
        sides: On another side of the defect threshold.
        any_verdict: With any other verdict.
        auroc: Of the anomaly score against the truth, of the float and of the other engine.
        accuracy: Share decided for the true class, of the float and of the other engine.
    """

    n: int
    classes: int
    verdicts: int
    sides: int
    any_verdict: int
    auroc: tuple[float, float]
    accuracy: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Answers:
    """Probabilities [n, K], anomaly [n], verdicts [n], classes [n], as rows of one engine's folds."""

    anomaly: NDArray[np.float32]
    verdicts: NDArray[np.object_]
    classes: Rows


def parity_of(data: LabelledFrames, cache: Path, *, seed: int = 0) -> dict[str, Parity]:
    """Compare int8 with float on one data set.

    Args:
        data: Labelled frames.
        cache: Folder for trunks and embeddings.
        seed: Of the calibration frames and folds.

    Returns:
        By what is compared with the float engine: one of `COMPARED`.
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(len(data.frames))
    calibration, judged = np.sort(rows[:CALIBRATION_FRAMES]), np.sort(rows[CALIBRATION_FRAMES:])
    plain = float_trunk(cache)
    small = int8_trunk(plain, [data.frames[i] for i in calibration], cache)
    embedded = {trunk.variant: embed_once(data.name, data.frames, trunk, cache) for trunk in (plain, small)}
    fold = random.permutation(len(judged)) % _FOLDS
    float32: list[_Answers] = []
    others: dict[str, list[_Answers]] = {name: [] for name in COMPARED}
    order = []
    with threadpool_limits(1):
        for k in range(_FOLDS):
            held, rest = judged[fold == k], judged[fold != k]
            order.append(held)
            by_float = _fit(data, plain, embedded["fp32"], rest)
            by_int8 = _fit(data, small, embedded["int8"], rest)
            anew = _fit(data, plain, embedded["fp32"], rest, seed=1)
            float32.append(_answer(data, by_float, embedded["fp32"], held))
            others[SAME].append(_answer(data, by_float, embedded["int8"], held))
            others[LEARNT_ON_INT8].append(_answer(data, by_int8, embedded["int8"], held))
            others[LEARNT_ANEW].append(_answer(data, anew, embedded["fp32"], held))
    truth, reference = data.labels[np.concatenate(order)], _together(float32)
    return {name: _compare(reference, _together(parts), truth, data.classes) for name, parts in others.items()}


def _fit(data: LabelledFrames, trunk: Trunk, embedded: Embedded, rows: Rows, seed: int = 0) -> tuple[Learnt, Bank]:
    names = names_of(rows)
    examples = Examples(
        ids=names,
        labels=data.labels[rows],
        groups=names,
        origin=np.full(len(rows), FACTORY),
        probability=np.full(len(rows), np.nan),
        device=names,
        station=names,
        features=embedded.features[rows],
    )
    learnt, bank, _ = learn_with_bank(
        FitRequest(
            inspection=data.name,
            classes=data.classes,
            trunk=trunk,
            examples=examples,
            patches=embedded.patches[rows],
            selftest_images=[],
            plans=[DEFAULT],
            seed=seed,
        )
    )
    return learnt, bank


def _answer(data: LabelledFrames, engine: tuple[Learnt, Bank], embedded: Embedded, rows: Rows) -> _Answers:
    learnt, bank = engine
    anomaly = bank.score(embedded.patches[rows])
    probabilities = learnt.head.probabilities(embedded.features[rows], anomaly)
    metadata = EngineMetadata(
        engine_id="benchmark",
        inspection=data.name,
        classes=data.classes,
        thresholds=learnt.thresholds,
        training_prior=tuple(float(share) for share in learnt.prior),
        embedding_id="benchmark",
    )
    return _Answers(
        anomaly,
        np.array(decide(probabilities, anomaly, metadata), dtype=object),
        decided_class(probabilities, data.classes, learnt.thresholds),
    )


def _together(parts: Sequence[_Answers]) -> _Answers:
    return _Answers(
        np.concatenate([part.anomaly for part in parts]),
        np.concatenate([part.verdicts for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )


def _compare(one: _Answers, two: _Answers, truth: Rows, classes: Sequence[ClassInfo]) -> Parity:
    defect = np.array([c.kind is Kind.DEFECT for c in classes])
    passed, rejected = ([a.verdicts == verdict for a in (one, two)] for verdict in (Verdict.OK, Verdict.DEFECT))
    return Parity(
        n=len(truth),
        classes=int((one.classes != two.classes).sum()),
        verdicts=int(((passed[0] & rejected[1]) | (rejected[0] & passed[1])).sum()),
        sides=int((defect[one.classes] != defect[two.classes]).sum()),
        any_verdict=int((one.verdicts != two.verdicts).sum()),
        auroc=(_auroc(defect[truth], one.anomaly), _auroc(defect[truth], two.anomaly)),
        accuracy=(float((one.classes == truth).mean()), float((two.classes == truth).mean())),
    )


def _auroc(defect: NDArray[np.bool_], anomaly: NDArray[np.float32]) -> float:
    return float(roc_auc_score(defect, anomaly))
