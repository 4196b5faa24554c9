"""From labelled frames to a new trunk.

1. It starts from the weights of the trunk that is there: the packaged ones, or those of an earlier fine-tuning (warm
   start). It learns from all labels of the groups that are shown (replay), so old classes are kept.
2. Groups that are held (`held`) are never shown; the new trunk's record names what it and its forerunners have seen.
3. The trunk that comes out is a float one; whether it ships in int8 is decided as for any other.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from threadpoolctl import threadpool_limits
from torch import nn

from edge_client.contract.engine_metadata import ClassInfo
from edge_client.contract.errors import AndonError
from training.atomic import write_atomically
from training.backbones import load_backbone
from training.examples import Examples
from training.finetune.frames import MOST_BYTES, network_frames
from training.finetune.held import HELD_SHARE, group_digest, roles_of
from training.finetune.module import Epoch, HeadStart, TuningSet
from training.finetune.plan import FineTunePlan
from training.finetune.run import fine_tune
from training.finetune.stages import as_staged
from training.finetune.weights import load_weights
from training.frames import Frame
from training.head import fit_head
from training.plans import DEFAULT
from training.rebalance import Rebalance, rebalance
from training.torch_export import export_trunk
from training.trunk import Trunk

#: Shown examples of each of two classes below which a trunk has nothing to learn from.
LEAST_SHOWN = 20
_LEAST_SCALE = 1e-3


class TooFewToTune(AndonError):
    """There are too few labelled frames to fine-tune a trunk."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TuneRequest:
    """All that fine-tuning depends on.

    Attributes:
        trunk: A float trunk, whose weights are started from.
        weights: They, packed, where the trunk was fine-tuned; None: the backbone's own.
        seen: Digests of groups that it and its forerunners have seen.
        examples: Labelled training data with features of that trunk, or of its int8 variant.
        classes: K classes.
        frame_of: Position to frame.
        plan: How.
        held_share: Share of groups that no trunk sees.
        most_bytes: What frames may take in memory.
    """

    trunk: Trunk
    weights: bytes | None
    seen: frozenset[str]
    examples: Examples
    classes: tuple[ClassInfo, ...]
    frame_of: Callable[[int], Frame]
    plan: FineTunePlan
    held_share: float = HELD_SHARE
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedTrunk:
    """A fine-tuned trunk.

    Attributes:
        trunk: Float.
        weights: Of the backbone, packed, to start from another time.
        seen: Digests of all groups that it or a forerunner has seen.
        shown: How many examples it was trained on.
        history: One entry an epoch.
        resumed: Epochs that an earlier, killed run had done.
        seconds: Of training.
    """

    trunk: Trunk
    weights: bytes
    seen: frozenset[str]
    shown: int
    history: tuple[Epoch, ...]
    resumed: int
    seconds: float


def tune_trunk(
    request: TuneRequest, *, folder: Path, threads: int | None = None, show_progress: bool = False
) -> TunedTrunk:
    """Fine-tune a trunk; a call that was killed is gone on with.

    Args:
        request: What to learn from.
        folder: Where runs and exported trunks are kept.
        threads: Default the cores that this process may use.
        show_progress: Draw a bar on the terminal.

    Raises:
        TooFewToTune: Fewer than two classes have enough examples that may be shown.
        ConfigError: The backbone cannot be fine-tuned, or the frames do not fit into memory.
    """
    examples, plan = request.examples, request.plan
    backbone = as_staged(load_backbone(request.trunk.backbone, request.trunk.input_size))
    module = cast("nn.Module", backbone)
    if request.weights is not None:
        load_weights(module, request.weights, name=f"weights of trunk {request.trunk.id[:12]}")
    roles = roles_of(examples.groups, stopping=plan.patience > 0, held_share=request.held_share)
    rows = np.flatnonzero(~roles.held)
    check_enough(examples.labels[roles.shown], request.classes)
    frames = network_frames(
        request.trunk, backbone, len(rows), lambda i: request.frame_of(int(rows[i])), most_bytes=request.most_bytes
    )
    weight = np.where(examples.field[rows], DEFAULT.field_weight, 1.0)
    data = TuningSet(
        frames=frames,
        labels=examples.labels[rows].astype(np.int64),
        weight=np.asarray(weight / weight.mean(), dtype=np.float32),
        stopping=roles.stopping[rows],
    )
    start = head_start(examples.select(roles.shown), plan, len(request.classes))
    tuned = fine_tune(backbone, data, start, plan, folder=folder, threads=threads, show_progress=show_progress)
    exported = folder / f"trunk-{hashlib.sha256(tuned.weights).hexdigest()[:32]}.onnx"
    if not exported.exists():
        write_atomically(exported, export_trunk(backbone, request.trunk.choice, weights=request.trunk.weights))
    return TunedTrunk(
        trunk=Trunk.load(exported.read_bytes()),
        weights=tuned.weights,
        seen=request.seen | {group_digest(group) for group in np.unique(examples.groups[rows]).tolist()},
        shown=int(roles.shown.sum()),
        history=tuned.history,
        resumed=tuned.resumed,
        seconds=tuned.seconds,
    )


def tune_on_a_worker(request: TuneRequest, *, folder: Path, threads: int) -> TunedTrunk:
    """Fine-tune on a machine of a cluster; a piece that was killed is gone on with where its folder can be reached.

    Args:
        request: What to learn from; its frames are values.
        folder: As for `tune_trunk`. A machine that cannot write there uses its own temporary folder.
        threads: As for `tune_trunk`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return tune_trunk(
        request, folder=folder if writable else Path(tempfile.gettempdir()) / "andon-finetune", threads=threads
    )


def check_enough(labels: np.ndarray, classes: tuple[ClassInfo, ...]) -> None:
    """Refuse what cannot be learnt from.

    Raises:
        TooFewToTune: Fewer than two classes have `LEAST_SHOWN` examples.
    """
    count = np.bincount(labels, minlength=len(classes))
    if (count >= LEAST_SHOWN).sum() < 2:
        found = ", ".join(f"{info.name} {n}" for info, n in zip(classes, count.tolist(), strict=True))
        raise TooFewToTune(
            f"a trunk would learn from {found}; expected at least {LEAST_SHOWN} of two classes: label more, or retrain "
            "with --tier head"
        )


def head_start(examples: Examples, plan: FineTunePlan, classes: int) -> HeadStart:
    """Fit the head that fine-tuning starts from: the head tier's default on the examples that are shown."""
    mean = examples.features.mean(axis=0)
    scale = examples.features.std(axis=0) + np.float32(_LEAST_SCALE)
    how = Rebalance.LOGIT_ADJUSTMENT if plan.balance == "logit_adjustment" else Rebalance.NONE
    data = rebalance(
        how,
        ((examples.features - mean) / scale).astype(np.float32),
        examples.labels,
        np.where(examples.field, DEFAULT.field_weight, 1.0),
        classes=classes,
        seed=plan.seed,
    )
    with threadpool_limits(1):  # sums in one order, whatever machine does them
        head = fit_head(data, regularisation=DEFAULT.regularisation, classes=classes)
    return HeadStart(mean=mean.astype(np.float32), scale=scale.astype(np.float32), head=head, offset=data.offset)
