"""The linear head by Lightning, for losses that scikit-learn lacks: logit adjustment.

All folds are trained at once, as one stack of heads over the same coordinates: a head simply gives weight zero to
the examples it must not see. The problem is convex and small, so L-BFGS takes the whole batch in one step.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from training.head import ABSENT, LinearHead

_STEPS = 150


class LinearHeads(lightning.LightningModule):  # type: ignore[misc]
    """F linear heads trained side by side.

    Args:
        width: r, coordinates of an example.
        offset: float32 [F, K], added to the logits in the loss alone.
        regularisation: C, as scikit-learn defines it.
    """

    def __init__(self, width: int, offset: Tensor, regularisation: float) -> None:
        super().__init__()
        heads, classes = offset.shape
        self.weights = nn.Parameter(torch.zeros(heads, width, classes))
        self.bias = nn.Parameter(torch.zeros(heads, classes))
        self.register_buffer("offset", offset)
        self.regularisation = regularisation
        # With two classes scikit-learn penalises the difference of the two columns: twice this penalty.
        self.penalty = 1.0 if classes == 2 else 0.5

    def forward(self, coordinates: Tensor) -> Tensor:
        """Coordinates [n, r] to logits [F, n, K]."""
        return torch.einsum("nr,frk->fnk", coordinates, self.weights) + self.bias[:, None, :]

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        """Sum of the heads' objectives; they share no parameter, so each is minimised on its own."""
        coordinates, labels, weight = batch  # weight [n, F]
        logits = self(coordinates) + self.get_buffer("offset")[:, None, :]
        heads, n, classes = logits.shape
        loss = functional.cross_entropy(logits.reshape(-1, classes), labels.repeat(heads), reduction="none")
        data = (loss.reshape(heads, n) * weight.T).sum()
        return self.regularisation * data + self.penalty * self.weights.square().sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """L-BFGS over the whole batch."""
        return torch.optim.LBFGS(
            self.parameters(), max_iter=_STEPS, tolerance_grad=1e-4, history_size=20, line_search_fn="strong_wolfe"
        )


def fit_heads(
    coordinates: NDArray[np.float32],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64],
    offset: NDArray[np.float64],
    *,
    regularisation: float,
) -> Sequence[LinearHead]:
    """Fit F heads.

    Args:
        coordinates: float32 [n, r].
        labels: int [n].
        weight: float [F, n]; zero where a head must not see an example.
        offset: float [F, K], added to the logits in the loss.
        regularisation: C.

    Returns:
        F heads, in order.
    """
    heads, classes = offset.shape
    module = LinearHeads(coordinates.shape[1], torch.from_numpy(offset.astype(np.float32)), regularisation)
    data = TensorDataset(
        torch.from_numpy(coordinates), torch.from_numpy(labels), torch.from_numpy(weight.T.astype(np.float32).copy())
    )
    with TemporaryDirectory(prefix="andon-head-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers for a loader of one batch
        trainer = _trainer(Path(folder))
        trainer.fit(module, DataLoader(data, batch_size=len(data)))
    weights = module.weights.detach().numpy().astype(np.float64)
    bias = module.bias.detach().numpy().astype(np.float64)
    fitted = []
    for head in range(heads):
        absent = np.bincount(labels, weights=weight[head], minlength=classes) == 0
        fitted.append(
            LinearHead(weights=np.where(absent[None, :], 0.0, weights[head]), bias=np.where(absent, ABSENT, bias[head]))
        )
    return fitted


def _trainer(folder: Path) -> lightning.Trainer:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    return lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
