"""Fine-tuning from begin to end, resumed after a kill as if nothing had happened.

1. Same backbone, frames, plan and number of threads on the same machine: the same weights to the bit, in one go or in
   several. All of these are in the name of the run's folder, so nothing of another run is ever gone on from.
2. After each epoch the whole state is written and takes the place of the one before by a rename. What a kill costs is
   the epoch that it fell into. A checkpoint that cannot be read is thrown away and the run begins anew.
3. The result stays in the folder, the checkpoint goes: asked for again, it is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import nn
from torch.utils.data import DataLoader

from training.atomic import write_atomically
from training.finetune.module import Epoch, FineTuning, HeadStart, TuningSet
from training.finetune.plan import FineTunePlan
from training.finetune.stages import FrozenStages, Staged, frozen_count
from training.finetune.weights import load_weights, pack_weights

_log = logging.getLogger("andon.retrain")
_CLIP = 5.0  # norm of the gradient: one strange frame must not throw the weights off
_CHECKPOINT, _RESULT, _HISTORY = "last.ckpt", "weights.npz", "history.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What fine-tuning gave.

    Attributes:
        weights: The backbone's, as `weights.pack_weights` packs them.
        history: One entry an epoch.
        resumed: Epochs that an earlier, killed run had done.
        seconds: Of this process.
    """

    weights: bytes
    history: tuple[Epoch, ...]
    resumed: int
    seconds: float


def fine_tune(
    backbone: Staged,
    data: TuningSet,
    start: HeadStart,
    plan: FineTunePlan,
    *,
    folder: Path,
    threads: int | None = None,
    show_progress: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuned:
    """Fine-tune a backbone; afterwards it has the new weights.

    Args:
        backbone: In evaluation mode.
        data: What is learnt from.
        start: Where the head begins.
        plan: How.
        folder: Where runs are kept, each in a folder of its own.
        threads: Default the cores that this process may use.
        show_progress: Draw a bar on the terminal.
        clock: Seconds.
    """
    threads = threads or len(os.sched_getaffinity(0))
    began = clock()
    place = folder / run_key(backbone, data, start, plan, threads)
    module = cast("nn.Module", backbone)
    if (place / _RESULT).exists():
        weights = (place / _RESULT).read_bytes()
        load_weights(module, weights, name=str(place / _RESULT))
        history = [Epoch(**entry) for entry in json.loads((place / _HISTORY).read_text())]
        return Tuned(weights=weights, history=tuple(history), resumed=len(history), seconds=clock() - began)
    place.mkdir(parents=True, exist_ok=True)
    with _torch_threads(threads):
        frozen = FrozenStages(backbone, frozen_count(backbone, plan), threads=threads)
        module.to(memory_format=torch.channels_last)
        tuning = FineTuning(backbone, data, start, plan, frozen, told=_told(plan, clock))
        resumed = _train(tuning, plan, place, show_progress=show_progress)
        tuning.keep_average()
        module.to(memory_format=torch.contiguous_format)
    weights = pack_weights(module)
    write_atomically(place / _HISTORY, json.dumps([asdict(epoch) for epoch in tuning.history]).encode())
    write_atomically(place / _RESULT, weights)
    (place / _CHECKPOINT).unlink(missing_ok=True)
    return Tuned(weights=weights, history=tuple(tuning.history), resumed=resumed, seconds=clock() - began)


def run_key(backbone: Staged, data: TuningSet, start: HeadStart, plan: FineTunePlan, threads: int) -> str:
    """Return the name of a run: everything that its weights depend on (rule 1)."""
    content = hashlib.sha256(f"{plan.id} {threads} {torch.__version__} {backbone.name}".encode())
    for array in (data.frames, data.labels, data.weight, data.stopping, start.mean, start.scale, start.offset):
        content.update(hashlib.sha256(array.tobytes()).digest())
    for array in (start.head.weights, start.head.bias):
        content.update(hashlib.sha256(array.tobytes()).digest())
    content.update(hashlib.sha256(pack_weights(cast("nn.Module", backbone))).digest())
    return content.hexdigest()[:32]


def _train(tuning: FineTuning, plan: FineTunePlan, place: Path, *, show_progress: bool) -> int:
    """Train to the end; returns how many epochs were done before."""
    path = place / _CHECKPOINT
    done = _readable(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers for a loader of numbers
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        trainer = lightning.Trainer(
            max_epochs=plan.epochs,
            accelerator="cpu",
            devices=1,
            precision="bf16-mixed" if plan.precision == "bfloat16" else "32-true",
            gradient_clip_val=_CLIP,
            default_root_dir=place,
            logger=False,
            callbacks=[_EachEpoch(path)],
            enable_progress_bar=show_progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        # The module picks its own frames by epoch and step: the loader only counts steps.
        steps = DataLoader(list(range(tuning.steps_per_epoch)), batch_size=None)
        trainer.fit(tuning, steps, ckpt_path=path if done else None, weights_only=True)
    return done


class _EachEpoch(Checkpoint):  # type: ignore[misc]
    """Rule 2. Lightning calls it after the module's own end of the epoch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        half = self._path.with_suffix(".half")
        trainer.save_checkpoint(half)
        with half.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(half, self._path)


def _readable(path: Path) -> int:
    """Return how many epochs a checkpoint has behind it; 0 where there is none that can be read."""
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        return len(kept["fine_tuning"]["history"])
    except FileNotFoundError:
        return 0
    except Exception as error:  # noqa: BLE001  # torch raises what it likes; the run can begin anew whatever it is
        _log.warning("the checkpoint %s cannot be read (%s): fine-tuning begins anew", path, error)
        path.unlink()
        return 0


def _told(plan: FineTunePlan, clock: Callable[[], float]) -> Callable[[int, Epoch], None]:
    began, first = clock(), [-1]

    def tell(number: int, epoch: Epoch) -> None:
        if first[0] < 0:
            first[0] = number
        each = (clock() - began) / (number - first[0] + 1)
        held = "" if epoch.stopping_loss is None else f", {epoch.stopping_loss:.3f} on frames set aside"
        left = each * (plan.epochs - number - 1)
        _log.info(
            "fine-tuning: epoch %d of %d, loss %.3f%s; %.0f s left at most",
            number + 1,
            plan.epochs,
            epoch.loss,
            held,
            left,
        )

    return tell


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
