"""Input choices compared on an inspection's own frames: each has its own trunk, its own fit, and an engine to time.

1. Frames are of the training side alone; the holdout and the golden set stay for the gate. Their number is bounded.
2. What is compared is what would ship: int8 where int8 keeps the embeddings, as a retrain would decide.
3. Nothing is changed: trunks and embeddings go to the cache, where a retrain by that choice finds them.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.inspections import get_inspection
from data.snapshots import take_snapshot
from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows.evidence import latencies_ms
from flows.input_settings import input_of
from flows.retrain_settings import gate_of, goal_of
from flows.training_set import Rows, examples_of, rows_of
from flows.trunks import calibration_frames, shipped
from training.embeddings import EmbeddingCache
from training.fit import FitRequest, fit
from training.gate_policy import GatePolicy
from training.input_choice import InputChoice
from training.input_trial import PLANS, Comparison, Tried, compare, pick_frames
from training.trunk import Trunk, float_trunk

_log = logging.getLogger("andon.inputs")
#: Enough to tell a point or two of average precision apart; embedding them takes seconds a choice.
FRAMES = 600
_TIMED_FRAMES = 12


class NothingToCompare(AndonError):
    """An inspection has too little for input choices to be told apart."""


def compare_inputs(
    workspace: Workspace,
    inspection: str,
    candidates: Sequence[InputChoice],
    *,
    frames: int = FRAMES,
    in_float: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] = _log.info,
) -> Comparison:
    """Try today's choice and candidates.

    Args:
        workspace: The installation.
        inspection: Its name.
        candidates: Other choices.
        frames: Most frames that are used.
        in_float: Compare float trunks only, which is faster: no int8 trunk is made.
        seed: Of folds and bootstrap.
        progress: Is told what is done.

    Raises:
        NothingToCompare: The inspection has one class, or too few labels of a second one.
        BadBackbone: A candidate's backbone is unknown, or does not keep to the protocol.
    """
    info = get_inspection(workspace.catalog(), inspection)
    snapshot = take_snapshot(workspace.catalog(), workspace.lake(), inspection, policy=workspace.policy())
    rows = rows_of(snapshot)
    train = rows.select(rows.split == "train")
    _check(train.label, [c.name for c in snapshot.classes], inspection)
    picked = train.select(np.isin(np.arange(len(train)), pick_frames(train.label, train.image_sha256, frames)))
    images = [image for image, _ in workspace.lake().images(picked.location)]
    calibration = [] if in_float else calibration_frames(workspace, snapshot)
    today = input_of(info, workspace.policy())
    choices = list(dict.fromkeys([today, *candidates]))
    progress(f"{len(picked)} of {len(train)} training frames, {len(choices)} choices")
    engines, answers, variants = [], [], []
    for number, choice in enumerate(choices, 1):
        progress(f"{number} of {len(choices)}: {choice}: trunk")
        trunk = _trunk(workspace.cache / "trunks", choice, calibration, info.settings.get("variant"))
        progress(f"{number} of {len(choices)}: {choice}: embedding and fit")
        challenger = fit(_request(workspace, picked, images, trunk, inspection, seed))
        engines.append(challenger.engine)
        answers.append(challenger.oof)
        variants.append(trunk.variant)
    progress("timing the engines")
    took = latencies_ms(engines, images[:_TIMED_FRAMES])
    empty = np.zeros((len(picked), 0), dtype=np.float32)
    comparison = compare(
        [
            Tried(choice=choice, variant=variant, probabilities=says, ms=ms, engine_bytes=len(engine))
            for choice, variant, says, ms, engine in zip(choices, variants, answers, took, engines, strict=True)
        ],
        examples_of(picked, empty),
        snapshot.classes,
        goal_of(info, workspace.policy()),
        of=len(train),
        seed=seed,
    )
    gate = GatePolicy.from_dict(gate_of(info, workspace.policy()))
    return replace(comparison, latency_limit_ms=gate.latency_limit(took[0]))


def _trunk(folder: Path, choice: InputChoice, calibration: Sequence[bytes], variant: str | None) -> Trunk:
    """Return the trunk that a retrain by a choice would ship; the float one without calibration frames."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = float_trunk(folder, choice)
    return shipped(plain, calibration, folder, variant) if calibration else plain


def _request(
    workspace: Workspace, picked: Rows, images: Sequence[bytes], trunk: Trunk, inspection: str, seed: int
) -> FitRequest:
    info = get_inspection(workspace.catalog(), inspection)
    cache = EmbeddingCache(workspace.cache / "embeddings")
    embedded = cache.embed(trunk, picked.image_sha256, lambda i: images[i])
    return FitRequest(
        inspection=inspection,
        classes=info.classes,
        trunk=trunk,
        examples=examples_of(picked, embedded.features),
        patches=embedded.patches,
        selftest_images=images[:1],
        seed=seed,
        plans=PLANS,
        goal=goal_of(info, workspace.policy()),
    )


def _check(labels: NDArray[np.int64], classes: Sequence[str], inspection: str) -> None:
    present = [classes[k] for k in np.unique(labels).tolist()]
    if len(present) < 2:
        raise NothingToCompare(
            f"inspection {inspection!r} has labelled training frames of {present or 'no class'}; expected two classes: "
            "without a defect there is nothing that a choice could find better. Label some, or choose with --set"
        )
