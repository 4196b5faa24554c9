"""The linear head by Lightning, with logit adjustment in the loss itself.

The problem is convex and small, so L-BFGS takes the whole batch in one step.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from training.head import ABSENT, LinearHead
from training.rebalance import Balanced

_STEPS = 150


class LinearModule(lightning.LightningModule):  # type: ignore[misc]
    """One linear head in training.

    Args:
        width: r, coordinates of an example.
        offset: float32 [K], added to the logits in the loss alone.
        regularisation: C, as scikit-learn defines it.
    """

    def __init__(self, width: int, offset: Tensor, regularisation: float) -> None:
        super().__init__()
        classes = len(offset)
        self.weights = nn.Parameter(torch.zeros(width, classes))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.register_buffer("offset", offset)
        self.regularisation = regularisation
        # With two classes scikit-learn penalises the difference of the two columns: twice this penalty.
        self.penalty = 1.0 if classes == 2 else 0.5

    def forward(self, coordinates: Tensor) -> Tensor:
        """Coordinates [n, r] to logits [n, K]."""
        return coordinates @ self.weights + self.bias

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        """The objective: weighted cross-entropy of the offset logits, and the penalty."""
        coordinates, labels, weight = batch
        loss = functional.cross_entropy(self(coordinates) + self.get_buffer("offset"), labels, reduction="none")
        return self.regularisation * (loss * weight).sum() + self.penalty * self.weights.square().sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """L-BFGS over the whole batch."""
        return torch.optim.LBFGS(
            self.parameters(), max_iter=_STEPS, tolerance_grad=1e-4, history_size=20, line_search_fn="strong_wolfe"
        )


def fit_lightning_head(data: Balanced, *, regularisation: float, classes: int) -> LinearHead:
    """Fit an L2-penalised softmax regression whose loss adds `data.offset` to the logits.

    Args:
        data: Rebalanced examples.
        regularisation: C, the weight of the loss against the penalty; smaller is stronger.
        classes: K.
    """
    module = LinearModule(
        data.coordinates.shape[1], torch.from_numpy(data.offset.astype(np.float32)), regularisation=regularisation
    )
    rows = TensorDataset(
        torch.from_numpy(data.coordinates),
        torch.from_numpy(data.labels),
        torch.from_numpy(data.weight.astype(np.float32)),
    )
    with TemporaryDirectory(prefix="andon-head-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers for a loader of one batch
        _trainer(Path(folder)).fit(module, DataLoader(rows, batch_size=len(rows)))
    absent = np.bincount(data.labels, weights=data.weight, minlength=classes) == 0
    weights = module.weights.detach().numpy().astype(np.float64)
    bias = module.bias.detach().numpy().astype(np.float64)
    return LinearHead(weights=np.where(absent, 0.0, weights), bias=np.where(absent, ABSENT, bias))


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
