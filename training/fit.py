"""The everyday fit: labelled, embedded examples to one judged-to-be engine, in seconds.

Pure and seeded: the same request gives the same bytes. Steps: build the anomaly bank from ok frames and score all
examples across folds (`anomaly`), choose a plan on folds (`plans`), train its head on everything (`head`,
`lightning_head`), calibrate and move to the field's class shares (`calibration`, `label_shift`, `prior`), choose
thresholds (`thresholds`), compose the file (`export`), and write the self-test that a device must reproduce.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from edge_client.contract.decision import defect_probability
from edge_client.contract.engine_metadata import ClassInfo, EngineMetadata, Kind, Thresholds
from edge_client.contract.selftest import SelfTest
from training.alarm_threshold import AlarmRate
from training.anomaly import LEAST_FRAMES, Bank, Scored, TooFewOkFrames, build_bank
from training.calibration import Calibration, calibrate, calibrated, prior_shift
from training.calibration_error import calibration_error
from training.examples import BadExamples, Examples
from training.export import EngineHead, build_engine, calibrated_head, constant_head
from training.frames import Frame, decode
from training.goal import Goal
from training.label_shift import FieldFrames, FieldShares, estimate_shares
from training.plans import Chosen, Plan, choose_plan, train_head
from training.predict import run_engine
from training.prior import LEAST_PROBABILITY, labelled_shares, population_weight, target_prior
from training.space import RawHead
from training.thresholds import UNSURE_SHARE, choose
from training.trunk import Trunk

#: Largest difference of a probability that a device's arithmetic may make. int8 kernels round differently by CPU.
TOLERANCE = {"fp32": 0.01, "int8": 0.06}
SELFTEST_FRAMES = 8
_SELFTEST_SIDE = 256  # pixels at most: the self-test travels with every release


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """All that a fit depends on.

    Attributes:
        inspection: Its name.
        classes: K classes in label order.
        trunk: What embedded the examples, and what ships.
        examples: Labelled training data with features; no golden and no held-out rows.
        patches: float16 [n, h, w, C], the examples' patches (rows of kind defect are not used).
        selftest_images: Some of the inspection's frames, encoded or as arrays; the first eight are used.
        unlabelled: float32 [m, D], features of captured field frames without a label.
        run_id: MLflow run.
        snapshot_id: Data set snapshot.
        created_at: ISO 8601, UTC.
        seed: Of everything that is drawn.
        plans: Only these plans, instead of the usual candidates.
        alarm_rate: Share of ok frames whose anomaly score may alarm.
        unsure_share: Share of frames that people may be asked about.
        goal: By which measure plans are compared, and what sets the thresholds.
        field_frames: Captured frames with a known chance of being captured, for the field's class shares.
    """

    inspection: str
    classes: tuple[ClassInfo, ...]
    trunk: Trunk
    examples: Examples
    patches: NDArray[np.float16]
    selftest_images: Sequence[Frame]
    unlabelled: NDArray[np.float32] | None = None
    run_id: str = ""
    snapshot_id: str = ""
    created_at: str = ""
    seed: int = 0
    plans: Sequence[Plan] | None = None
    alarm_rate: float = 0.01
    unsure_share: float = UNSURE_SHARE
    goal: Goal = field(default_factory=Goal)
    field_frames: FieldFrames | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenger:
    """What a fit gives.

    Attributes:
        engine: The ONNX file.
        metadata: As stored in it.
        selftest: Packed `SelfTest`.
        plan: The plan, the table it was chosen from; None with one class.
        oof: float32 [n, K], calibrated out-of-fold probabilities of the examples that a camera saw, in their order.
        oof_ids: str [n], their ids.
        metrics: Numbers for the record; out of fold where they are scores.
        seconds: Where the time went.
        alarms: Which share of ok frames will pass the anomaly threshold; its text is a sentence for people.
    """

    engine: bytes
    metadata: EngineMetadata
    selftest: bytes
    plan: Chosen | None
    oof: NDArray[np.float32]
    oof_ids: NDArray[np.str_]
    metrics: dict[str, float]
    seconds: dict[str, float] = field(compare=False)
    alarms: AlarmRate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """The part of an engine that labels decide."""

    head: EngineHead
    thresholds: Thresholds
    prior: NDArray[np.float64]
    chosen: Chosen | None
    oof: NDArray[np.float32]
    metrics: dict[str, float]


def fit(request: FitRequest, *, clock: Callable[[], float] = time.perf_counter) -> Challenger:
    """Fit a challenger.

    Args:
        request: What to learn from.
        clock: Seconds, for the record of where time went.

    Raises:
        BadExamples: A column does not fit the others, or fewer than two classes have an example though K > 1.
        TooFewOkFrames: There is too little of kind ok for the anomaly score.
    """
    if not len(request.selftest_images):
        raise BadExamples("no frames for the self-test; expected at least one")
    decision, bank, seconds = learn_with_bank(request, clock=clock)
    started = clock()
    metadata = EngineMetadata(
        engine_id=_engine_id(request, decision, bank),
        inspection=request.inspection,
        classes=request.classes,
        thresholds=decision.thresholds,
        training_prior=tuple(float(p) for p in decision.prior),
        embedding_id=request.trunk.id,
        run_id=request.run_id,
        snapshot_id=request.snapshot_id,
        variant=request.trunk.variant,
        created_at=request.created_at,
    )
    engine = build_engine(request.trunk, decision.head, bank, metadata)
    seconds["export"] = clock() - started
    started = clock()
    selftest = make_selftest(engine, request.selftest_images, tolerance=TOLERANCE[request.trunk.variant])
    seconds["selftest"] = clock() - started
    return Challenger(
        engine=engine,
        metadata=metadata,
        selftest=selftest.pack(),
        plan=decision.chosen,
        oof=decision.oof[request.examples.real],
        oof_ids=request.examples.ids[request.examples.real],
        metrics=decision.metrics | _alarm_metrics(bank) | {"engine_bytes": float(len(engine))},
        seconds=seconds,
        alarms=bank.passing,
    )


def learn_with_bank(
    request: FitRequest, *, clock: Callable[[], float] = time.perf_counter
) -> tuple[Learnt, Bank, dict[str, float]]:
    """Learn all that an engine answers by, without composing its file; frames for its self-test are not needed.

    Args:
        request: What to learn from.
        clock: Seconds.

    Returns:
        Head and all that goes with it, the anomaly bank, and where the time went.

    Raises:
        BadExamples: As `fit` does.
        TooFewOkFrames: As `fit` does.
    """
    _check(request)
    seconds: dict[str, float] = {}
    started = clock()
    # One thread: sums in one order, so the same request gives the same bytes; and such small problems are faster so.
    with threadpool_limits(1):
        scored = score_examples(request)
        seconds["anomaly"] = clock() - started
        started = clock()
        learnt = _one_class(request) if len(request.classes) == 1 else learn(request, scored.scores, scored.bank)
        seconds["head"] = clock() - started
    return learnt, scored.bank, seconds


def make_selftest(engine: bytes, images: Sequence[Frame], *, tolerance: float) -> SelfTest:
    """Record what an engine answers on some frames, brought to one size.

    Args:
        engine: The ONNX file.
        images: Frames; the first eight are used.
        tolerance: Largest accepted difference of a probability.
    """
    side = min(_SELFTEST_SIDE, *(min(decode(image).shape[:2]) for image in images[:SELFTEST_FRAMES]))
    frames = np.stack([selftest_frame(image, side) for image in images[:SELFTEST_FRAMES]])
    answers = run_engine(engine, list(frames))
    return SelfTest(frames=frames, probabilities=answers.probabilities, anomaly=answers.anomaly, tolerance=tolerance)


def selftest_frame(image: Frame, side: int) -> NDArray[np.uint8]:
    """Bring a frame to the size of a self-test; uint8 [side, side, 3]."""
    return np.asarray(Image.fromarray(decode(image)).resize((side, side), Image.Resampling.BILINEAR))


def _check(request: FitRequest) -> None:
    examples, classes = request.examples, len(request.classes)
    if len(request.patches) != len(examples):
        raise BadExamples(f"there are {len(examples)} examples and {len(request.patches)} patch grids")
    if examples.features.shape[1] != request.trunk.feature_width:
        raise BadExamples(
            f"features are {examples.features.shape[1]} wide; expected {request.trunk.feature_width}: "
            "embed with the trunk that ships"
        )
    if len(examples) and examples.labels.max() >= classes:
        raise BadExamples(f"label {examples.labels.max()} has no class; expected below {classes}")
    if classes == 1 and len(examples) >= LEAST_FRAMES and (request.patches == request.patches[:1]).all():
        raise TooFewOkFrames(
            f"the inspection has {len(examples)} ok frames that are all one image: its threshold needs frames that "
            "differ as parts do; add frames of different parts"
        )
    present = np.unique(examples.labels)
    if classes > 1 and len(present) < 2:
        named = [request.classes[c].name for c in present]
        raise BadExamples(
            f"only {named} of {classes} classes have examples; expected two or more: "
            "label some of another class, or make an inspection with one class"
        )


def learn(request: FitRequest, anomaly: NDArray[np.float32], bank: Bank | None = None) -> Learnt:
    """Learn head, calibration and thresholds: `fit` without bank and file.

    Args:
        request: What to learn from; K > 1.
        anomaly: float32 [n], the examples' scores from `score_examples`.
        bank: From there too; needed for the field's class shares by frames without a label.
    """
    examples, k = request.examples, len(request.classes)
    chosen = choose_plan(
        examples,
        request.classes,
        request.seed,
        anomaly=anomaly,
        unlabelled=request.unlabelled,
        plans=request.plans,
        goal=request.goal,
    )
    head = train_head(examples, chosen, classes=k, seed=request.seed)
    weight = np.where(examples.speaks, population_weight(examples), 0.0)
    if not weight.any():  # what the trunk has not seen are extras alone
        weight = examples.speaks.astype(np.float64)
    rows = weight > 0
    calibration = calibrate(
        chosen.oof[rows],
        examples.labels[rows],
        weight[rows],
        prior=chosen.prior,
        groups=examples.groups[rows],
        seed=request.seed,
    )
    raw = chosen.space.to_features(head.weights, head.bias)
    sure = calibration.logits(chosen.oof)
    shares = _field_shares(request, raw, calibration, chosen, bank)
    believed = shares is not None and shares.believed(*labelled_shares(examples, k))
    prior = target_prior(examples, k, seen=shares.em if shares is not None and believed else None)
    shift = prior_shift(chosen.prior, prior)
    oof = calibrated(sure, 1.0, shift)
    is_defect = np.array([c.kind is Kind.DEFECT for c in request.classes])[examples.labels]
    p = defect_probability(oof, request.classes)
    judges = examples.speaks
    limits = choose(
        request.goal,
        request.classes,
        oof[judges],
        examples.labels[judges],
        weight[judges],
        unsure_share=request.unsure_share,
    )
    metrics = {
        "temperature": float(1 / calibration.scale.mean()),
        "oof_calibration_error": calibration_error(p[rows], is_defect[rows], weight=weight[rows], resamples=0).value,
        "examples": float(examples.real.sum()),
        "field_examples": float(examples.field.sum()),
        "pasted_examples": float((~examples.real).sum()),
        "unlabelled": float(0 if request.unlabelled is None else len(request.unlabelled)),
        **{f"calibration_log_loss_{name}": loss for name, loss in calibration.losses.items()},
        **{f"recall_promised_{name}": share for name, share in limits.promised.items()},
        **({} if shares is None else shares.metrics([c.name for c in request.classes])),
        "field_share_believed": float(believed),
    }
    for name, which in (("all", examples.speaks), ("field", examples.field & examples.speaks)):
        if 0 < is_defect[which].sum() < which.sum():
            metrics[f"oof_average_precision_{name}"] = float(average_precision_score(is_defect[which], p[which]))
    return Learnt(
        head=calibrated_head(raw, calibration, shift),
        thresholds=limits.thresholds,
        prior=prior,
        chosen=chosen,
        oof=oof,
        metrics=metrics,
    )


def _field_shares(
    request: FitRequest, raw: RawHead, calibration: Calibration, chosen: Chosen, bank: Bank | None
) -> FieldShares | None:
    """Estimate the field's class shares from frames that mostly nobody labelled; None where there are none."""
    frames = request.field_frames
    if frames is None or not len(frames.features) or bank is None:
        return None
    # At the training shares: what EM and BBSE start from is what the out-of-fold probabilities speak for.
    still, speaks = np.zeros(len(request.classes)), request.examples.speaks
    says = calibrated_head(raw, calibration, still).probabilities(frames.features, bank.score(frames.patches))
    return estimate_shares(
        says,
        frames.labels,
        1.0 / np.maximum(frames.probability, LEAST_PROBABILITY),
        prior=chosen.prior,
        known=calibrated(calibration.logits(chosen.oof), 1.0, still)[speaks],
        known_labels=request.examples.labels[speaks],
    )


def _one_class(request: FitRequest) -> Learnt:
    n = len(request.examples)
    return Learnt(
        head=constant_head(request.trunk.feature_width),
        thresholds=Thresholds(),
        prior=np.ones(1),
        chosen=None,
        oof=np.ones((n, 1), dtype=np.float32),
        metrics={"examples": float(n), "field_examples": float(request.examples.field.sum())},
    )


def score_examples(request: FitRequest) -> Scored:
    """Build the anomaly bank and score every example by a bank that has not seen it."""
    examples = request.examples
    ok = np.array([c.kind is Kind.OK for c in request.classes])[examples.labels]
    # With next to no ok frames, or none by definition, the bank says what training has seen at all.
    if len(request.classes) == 1 or (len(ok) and ok.sum() < LEAST_FRAMES):
        ok = np.ones(len(examples), dtype=bool)
    return build_bank(
        request.patches, examples.groups, ok, examples.field, seed=request.seed, alarm_rate=request.alarm_rate
    )


def _alarm_metrics(bank: Bank) -> dict[str, float]:
    """What the anomaly threshold promises, for the record."""
    metrics = {"anomaly_held_out": float(bank.held_out)}
    if bank.passing is not None:
        metrics |= {
            "anomaly_alarm_rate": bank.passing.value,
            "anomaly_alarm_rate_low": bank.passing.low,
            "anomaly_alarm_rate_high": bank.passing.high,
            "anomaly_alarm_rate_kept": float(bank.passing.kept),
        }
    return metrics


def _engine_id(request: FitRequest, decision: Learnt, bank: Bank) -> str:
    content = hashlib.sha256()
    for part in (
        request.trunk.id.encode(),
        request.inspection.encode(),
        repr([(c.name, c.kind.value) for c in request.classes]).encode(),
        repr((decision.thresholds, request.run_id, request.snapshot_id)).encode(),
        decision.head.raw.weights.tobytes(),
        decision.head.raw.anomaly_weights.tobytes(),
        decision.head.raw.bias.tobytes(),
        decision.head.shift.tobytes(),
        repr((decision.head.temperature, bank.threshold, bank.units)).encode(),
        bank.patches.tobytes(),
        bank.places.mean.tobytes(),
        bank.places.factor.tobytes(),
    ):
        content.update(hashlib.sha256(part).digest())
    return content.hexdigest()[:16]
