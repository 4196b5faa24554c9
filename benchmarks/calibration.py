"""Whether probabilities can be taken at their word in the field, and what thresholds from stated costs save.

The factory set is monocrystalline solar cells (with --tiles: half of the tiles), the field polycrystalline ones (the
other half) with defects thinned to a few per cent. A third of the field is the holdout, captured by priority sampling
as a device captures, so its measures are weighted by 1/inclusion probability and speak of all its frames. Of the rest
three tenths are captured and a tenth is labelled. One everyday fit, then on the holdout:

calibration error (adaptive, debiased: `training.calibration_error`) of the defect probability as the head gives it, as
moved to the field's class shares, and as the engine has it; class shares with and without the estimate from unlabelled
frames; the expected cost of a frame with an escape at 50 and a false alarm at 1, at thresholds from those costs, at the
thresholds of best balanced accuracy and at 0.5, each on the engine's own probabilities; and with a person asked at 0.3.

    python -m benchmarks.calibration [--tiles PATH] [--defect-share 0.05] [--splits 10] [--json]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from elpv_dataset.utils import load_dataset
from numpy.typing import NDArray
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from benchmarks.embedded_set import EmbeddedSet, Rows
from benchmarks.plan_sets import embedded_set
from benchmarks.result import Row, mean_of, ratio_of_means, tell
from data.priority_sampling import priority_sample
from edge_client.contract.decision import defect_probability
from edge_client.contract.engine_metadata import Kind, Thresholds
from training.anomaly import Bank
from training.calibration_error import calibration_error
from training.examples import FACTORY, FIELD, Examples
from training.fit import FitRequest, Learnt, learn, score_examples
from training.goal import Costs, Goal
from training.label_shift import FieldFrames
from training.plan_measures import Answers, frame_costs
from training.plans import DEFAULT
from training.space import ANOMALY_LIMIT
from training.thresholds import thresholds_by_cost

CAPTURED, LABELLED = 0.3, 0.1
HOLDOUT_CAPTURED = 0.7
AUDIT = 0.3
COSTS = Costs(escape=50.0, false_alarm=1.0)
ASKING = replace(COSTS, ask=0.3)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Rows of factory, stream and holdout."""

    factory: Rows
    stream: Rows
    holdout: Rows


def parts_of(data: EmbeddedSet, tiles: bool, seed: int, share: float) -> Parts:
    """Split a data set; the field's defects are thinned to a share of its frames."""
    random = np.random.default_rng(seed)
    if tiles:
        first = random.permutation(len(data.labels)) < len(data.labels) // 2
    else:
        first = load_dataset()[2] != "poly"
    factory, field = random.permutation(np.flatnonzero(first)), random.permutation(np.flatnonzero(~first))
    bad = is_defect(data, field)
    kept = round(share / (1 - share) * int((~bad).sum()))
    field = random.permutation(np.concatenate([field[~bad], field[bad][:kept]]))
    return Parts(factory=factory, stream=field[len(field) // 3 :], holdout=field[: len(field) // 3])


def is_defect(data: EmbeddedSet, rows: Rows) -> NDArray[np.bool_]:
    """Return which rows are of a defect class."""
    return np.array([info.kind is Kind.DEFECT for info in data.classes])[data.labels[rows]]


def capture(p: Floats, n: int, random: np.random.Generator) -> tuple[Rows, Floats]:
    """Draw n frames as a device would, uncertain and defect-like ones more readily; positions and probabilities."""
    reasons = (1 - np.abs(2 * p - 1)) ** 2 + p
    weight = reasons + AUDIT / (1 - AUDIT) * reasons.mean()
    sample = priority_sample(weight.tolist(), (1.0 - random.random(len(weight))).tolist(), n)
    drawn = sample.order[:n]
    return drawn, sample.p[drawn]


def request(
    data: EmbeddedSet, factory: Rows, labelled: Rows, p: Floats, seed: int, goal: Goal, frames: FieldFrames | None
) -> FitRequest:
    """Ask for the everyday fit."""
    rows = np.concatenate([factory, labelled])
    plain = data.factory_request(rows, seed=seed, plans=[DEFAULT], goal=goal)
    examples: Examples = replace(
        plain.examples,
        origin=np.array([FACTORY] * len(factory) + [FIELD] * len(labelled)),
        probability=np.concatenate([np.full(len(factory), np.nan), p]),
    )
    return replace(plain, examples=examples, field_frames=frames)


def probabilities_of(data: EmbeddedSet, learnt: Learnt, bank: Bank, rows: Rows) -> NDArray[np.float32]:
    """Return what the engine says."""
    return learnt.head.probabilities(data.features[rows], data.anomaly(bank, rows))


def stages(data: EmbeddedSet, learnt: Learnt, bank: Bank, rows: Rows) -> dict[str, NDArray[np.floating]]:
    """Return probabilities of the head alone, moved to the field's shares, and as the engine has them."""
    raw = learnt.head.raw
    score = np.minimum(data.anomaly(bank, rows), ANOMALY_LIMIT)[:, None]
    logits = (data.features[rows] @ raw.weights + score * raw.anomaly_weights + raw.bias).astype(np.float64)
    return {
        "of the head": softmax(logits, axis=1),
        "moved to the field's shares": softmax(logits + learnt.head.shift, axis=1),
        "as the engine has it": probabilities_of(data, learnt, bank, rows),
    }


def story(data: EmbeddedSet, tiles: bool, seed: int, share: float) -> dict[str, float]:
    """Play one split; returns its measures by name."""
    random = np.random.default_rng([seed, 7])
    parts = parts_of(data, tiles, seed, share)
    nobody, none = np.empty(0, dtype=np.int64), np.empty(0)
    first = request(data, parts.factory, nobody, none, seed, Goal(), None)
    scored = score_examples(first)
    begun = learn(first, scored.scores)

    def risk_of(rows: Rows) -> Floats:
        said = probabilities_of(data, begun, scored.bank, rows)
        return defect_probability(said, data.classes).astype(np.float64)

    kept, p1 = capture(risk_of(parts.stream), round(CAPTURED * len(parts.stream)), random)
    captured = parts.stream[kept]
    budget = round(LABELLED * len(parts.stream))
    second = priority_sample((1 / p1).tolist(), (1.0 - random.random(len(p1))).tolist(), budget)
    drawn = second.order[:budget]
    known = np.full(len(captured), -1)
    known[drawn] = data.labels[captured[drawn]]
    frames = FieldFrames(features=data.features[captured], patches=data.patches[captured], probability=p1, labels=known)
    inclusion = p1[drawn] * second.p[drawn]
    asked = request(data, parts.factory, captured[drawn], inclusion, seed, Goal(), frames)
    scored = score_examples(asked)
    learnt = learn(asked, scored.scores, scored.bank)
    without = learn(replace(asked, field_frames=None), scored.scores, scored.bank)
    held, p = capture(risk_of(parts.holdout), round(HOLDOUT_CAPTURED * len(parts.holdout)), random)
    rows, weight = parts.holdout[held], 1.0 / p
    truth = is_defect(data, rows)
    told: dict[str, float] = {}
    for name, said in stages(data, learnt, scored.bank, rows).items():
        q = defect_probability(np.asarray(said, dtype=np.float32), data.classes)
        error = calibration_error(q, truth, weight=weight, seed=seed, resamples=0)
        told[f"calibration error {name}"] = error.value
    shares = np.bincount(data.labels[parts.stream], minlength=len(data.classes)) / len(parts.stream)
    for name, one in (("with unlabelled frames", learnt), ("from labels alone", without)):
        told[f"class shares, {name}: total variation from the truth"] = float(np.abs(one.prior - shares).sum() / 2)
    said = probabilities_of(data, learnt, scored.bank, rows)
    answers = Answers(probabilities=said, labels=data.labels[rows], prior=learnt.prior, frames=weight)
    q = defect_probability(said, data.classes)
    limits = {
        "from costs": thresholds_by_cost(COSTS, data.classes).defect,
        "of best balanced accuracy": learnt.thresholds.defect,
        "at 0.5": Thresholds().defect,
    }
    for name, limit in limits.items():
        cost = np.where(q >= limit, np.where(truth, 0.0, COSTS.false_alarm), np.where(truth, COSTS.escape, 0.0))
        told[f"cost of a frame, threshold {name}"] = float(np.average(cost, weights=weight))
    asking = frame_costs(ASKING, data.classes, answers)
    told["cost of a frame, from costs and asking at 0.3"] = float(np.average(asking, weights=weight))
    told["holdout frames"] = float(len(rows))
    told["holdout defects"] = float(truth.sum())
    return told


def main() -> None:
    """Play the splits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, default=Path(".andon/cache/benchmarks"), help="folder for embeddings")
    parser.add_argument("--tiles", type=Path, help="folder or tar of labelled images (default: the solar cells)")
    parser.add_argument("--defect-share", type=float, default=0.05, help="of the field's frames")
    parser.add_argument("--splits", type=int, default=10, help="independent splits and draws")
    args = parser.parse_args()
    data = embedded_set(args.tiles, args.cache)
    told = []
    with threadpool_limits(1):
        for seed in range(args.splits):
            told.append(story(data, args.tiles is not None, seed, args.defect_share))
            print(f"  split {seed} done", file=sys.stderr, flush=True)
    columns = {name: [one[name] for one in told] for name in told[0]}
    rows = [Row.of(name, "", values) for name, values in columns.items()]
    costs = columns["cost of a frame, threshold from costs"]
    figures = {
        "ece_before": mean_of(columns["calibration error of the head"]),
        "ece_after": mean_of(columns["calibration error as the engine has it"]),
        "cost_over_half": ratio_of_means(costs, columns["cost of a frame, threshold at 0.5"]),
        "cost_over_balanced": ratio_of_means(costs, columns["cost of a frame, threshold of best balanced accuracy"]),
        "cost_asking_over_half": ratio_of_means(
            columns["cost of a frame, from costs and asking at 0.3"], columns["cost of a frame, threshold at 0.5"]
        ),
    }
    tell("calibration", rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
