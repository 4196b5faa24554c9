"""A backbone and a linear head in fine-tuning, for Lightning.

1. The head starts as the head tier's: a head that starts at random would first spoil what the backbone knows (Kumar et
   al. 2022).
2. What is kept are averaged weights (EMA), of the epoch with the least loss on the frames set aside if there is
   patience, else of the last one.
3. Everything that is drawn depends on seed, epoch and step alone, and all state is in the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.finetune.augment import augment, generator_of, mix, order_of
from training.finetune.plan import FineTunePlan
from training.finetune.stages import FrozenStages, Learning, Staged, frozen_count, learning_parts
from training.head import LinearHead

_WARM_UP = 0.1  # of all steps
_LEAST_RATE = 0.02  # of the peak
_EPOCH_ROWS = 64  # at a time where nothing is learnt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TuningSet:
    """What is learnt from.

    Attributes:
        frames: uint8 [n, 3, S, S].
        labels: int64 [n].
        weight: float32 [n], mean 1.
        stopping: bool [n]; these are not learnt from, they say when to stop.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    weight: NDArray[np.float32]
    stopping: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadStart:
    """Where the head begins.

    Attributes:
        mean: float32 [D], taken off the features.
        scale: float32 [D], divides them then.
        head: Over what is left.
        offset: float64 [K], added to the logits in the loss alone.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    head: LinearHead
    offset: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        loss: Mean over its steps.
        stopping_loss: On the frames set aside, by the averaged weights; None without.
    """

    loss: float
    stopping_loss: float | None


class FineTuning(lightning.LightningModule):  # type: ignore[misc]
    """Fine-tuning.

    Args:
        backbone: In evaluation mode; its weights change.
        data: What is learnt from.
        start: Where the head begins.
        plan: How.
        frozen: The first stages.
        told: Called with the number of the epoch and what it came to.
    """

    def __init__(
        self,
        backbone: Staged,
        data: TuningSet,
        start: HeadStart,
        plan: FineTunePlan,
        frozen: FrozenStages,
        told: Callable[[int, Epoch], None] = lambda number, epoch: None,
    ) -> None:
        super().__init__()
        self.backbone = cast("nn.Module", backbone)
        self._staged, self._frozen, self._plan, self._told = backbone, frozen, plan, told
        self._done = frozen_count(backbone, plan)
        self._frames, self._labels = torch.from_numpy(data.frames), torch.from_numpy(data.labels)
        self._weight = torch.from_numpy(data.weight)
        self._shown, self._stopping = np.flatnonzero(~data.stopping), np.flatnonzero(data.stopping)
        self._parts: list[Learning] = learning_parts(backbone, plan)
        width, classes = start.head.weights.shape
        self.head = nn.Linear(width, classes)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(start.head.weights.T.astype(np.float32)))
            self.head.bias.copy_(torch.from_numpy(start.head.bias.astype(np.float32)))
        self.register_buffer("mean", torch.from_numpy(start.mean))
        self.register_buffer("scale", torch.from_numpy(start.scale))
        self.register_buffer("offset", torch.from_numpy(start.offset.astype(np.float32)))
        self._live = [p for part in self._parts for p in part.parameters] + list(self.head.parameters())
        self._average = [p.detach().clone() for p in self._live]
        self._best: list[Tensor] | None = None
        self._best_loss, self._worse = math.inf, 0
        self.history: list[Epoch] = []
        self._losses: list[float] = []
        self._order: NDArray[np.int64] = self._shown

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        return -(-len(self._shown) // self._plan.batch)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames float32 [n, 3, S, S], values about 0…255, to logits [n, K]."""
        image = (frames - self._staged.offset) / self._staged.scale
        carried = tuple(part.contiguous(memory_format=torch.channels_last) for part in self._frozen(image))
        features, _ = self._staged.last_stages(carried, self._done)
        return self.head((features.float() - self.get_buffer("mean")) / self.get_buffer("scale"))

    def on_train_epoch_start(self) -> None:
        """Draw the order; batch normalisation keeps its means."""
        self.backbone.eval()
        self._order = self._shown[order_of(self._plan, self.current_epoch, len(self._shown))]
        self._losses = []

    def training_step(self, _batch: object, step: int) -> Tensor:
        """The loss of one step: weighted cross-entropy of smoothed, mixed labels."""
        rows = torch.from_numpy(self._order[step * self._plan.batch : (step + 1) * self._plan.batch])
        random = generator_of(self._plan, self.current_epoch, step)
        frames = augment(self._frames[rows], self._plan, random)
        classes = len(self.get_buffer("offset"))
        targets = functional.one_hot(self._labels[rows], classes).float()
        targets = targets * (1 - self._plan.smoothing) + self._plan.smoothing / classes
        frames, targets = mix(frames, targets * self._weight[rows, None], self._plan, random)
        says = torch.log_softmax(self(frames) + self.get_buffer("offset"), dim=1)
        loss = -(targets * says).sum() / len(rows)
        self._losses.append(loss.item())
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the averaged weights follow, faster while there were few steps."""
        decay = min(self._plan.average, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for kept, now in zip(self._average, self._live, strict=True):
                kept.mul_(decay).add_(now, alpha=1 - decay)

    def on_train_epoch_end(self) -> None:
        """Note how it went, and whether to go on."""
        patience = self._plan.patience
        stopping_loss = self._stopping_loss() if patience and len(self._stopping) else None
        epoch = Epoch(loss=float(np.mean(self._losses)), stopping_loss=stopping_loss)
        self.history.append(epoch)
        if stopping_loss is not None:
            if stopping_loss < self._best_loss:
                self._best, self._best_loss, self._worse = [t.clone() for t in self._average], stopping_loss, 0
            else:
                self._worse += 1
                self.trainer.should_stop = self._worse >= patience
        self._told(self.current_epoch, epoch)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with a rate for each depth, warm-up, then half a cosine."""
        groups = [{"params": part.parameters, "lr": part.rate, "weight_decay": part.decay} for part in self._parts]
        groups.append(
            {
                "params": list(self.head.parameters()),
                "lr": self._plan.head_rate,
                "weight_decay": self._plan.weight_decay,
            }
        )
        optimizer = torch.optim.AdamW(groups)
        steps = max(1, self._plan.epochs * self.steps_per_epoch)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put in what is no parameter."""
        checkpoint["fine_tuning"] = {
            "average": self._average,
            "best": self._best,
            "best_loss": self._best_loss,
            "worse": self._worse,
            "history": [(epoch.loss, epoch.stopping_loss) for epoch in self.history],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it out again."""
        kept = checkpoint["fine_tuning"]
        self._average = [tensor.clone() for tensor in kept["average"]]
        self._best = None if kept["best"] is None else [tensor.clone() for tensor in kept["best"]]
        self._best_loss, self._worse = float(kept["best_loss"]), int(kept["worse"])
        self.history = [Epoch(loss=loss, stopping_loss=stopping) for loss, stopping in kept["history"]]

    def keep_average(self) -> None:
        """End: put the averaged weights into the backbone and the head (rule 2)."""
        with torch.no_grad():
            for live, kept in zip(self._live, self._average if self._best is None else self._best, strict=True):
                live.copy_(kept)

    def _stopping_loss(self) -> float:
        """Weighted log loss of the averaged weights on the frames set aside."""
        rows, total = self._stopping, 0.0
        self._exchange()
        try:
            with torch.no_grad():
                for start in range(0, len(rows), _EPOCH_ROWS):
                    part = torch.from_numpy(rows[start : start + _EPOCH_ROWS])
                    says = torch.log_softmax(self(self._frames[part].float()) + self.get_buffer("offset"), dim=1)
                    lost = -says.gather(1, self._labels[part, None])[:, 0] * self._weight[part]
                    total += float(lost.sum())
        finally:
            self._exchange()
        return total / float(self._weight[torch.from_numpy(rows)].sum())

    def _exchange(self) -> None:
        with torch.no_grad():
            for live, kept in zip(self._live, self._average, strict=True):
                held = live.clone()
                live.copy_(kept)
                kept.copy_(held)


def rate_at(step: int, steps: int) -> float:
    """Return the learning rate at a step as a share of its peak."""
    warm = min(1.0, (step + 1) / max(1.0, _WARM_UP * steps))
    return warm * (_LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
