"""Other ways to score frames by ok frames alone, on the product's own backbone.

`PatchCore` follows Roth et al. 2022: patches of the two middle levels, each pooled over 3x3, the coarser one brought
to the finer one's grid (§3.1); a coreset of a stated share of all patches by greedy k-centre in a random projection
(§3.2); the frame's score is its largest patch distance, reweighted by how the neighbours of the patch found lie (§3.3).
Lite0's levels have 40 and 112 channels: they are joined as they are, where the paper brings wider ones to 1,024.
`per_position` is in the manner of PaDiM (Defard et al. 2021): a Gaussian for each position, the largest counts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from torch import Tensor
from torch.nn import functional

from training.atomic import write_atomically
from training.lite0 import Lite0
from training.torch_export import export_trunk
from training.trunk import Trunk

Floats = NDArray[np.float32]
_PROJECTION = 128  # of the authors' code, for their bound on distances
_NEIGHBOURS = 9  # b in §3.3
_POSITION_RIDGE = 0.01  # added to each position's covariance, as the paper does
_BLOCK = 8_192
_WHITENED_FRAMES, _WHITENED_PATCHES = 300, 10_000  # as many as `training.anomaly` takes
_WHITENED_SHRINKAGE = 0.1
_FINE_STRIDE = 8
_TAPS = (4, 10)


class PaperLevels(Lite0):
    """Lite0 whose patches are on the grid of the finer middle level: 28x28 at 224 pixels."""

    def __init__(self, input_size: int = 224) -> None:
        """Load the packaged weights."""
        super().__init__(input_size)
        self.grid = input_size // _FINE_STRIDE

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network: see `training.backbone.Backbone`."""
        net = self.network
        x = net._swish(net._bn0(net._conv_stem(image)))
        levels: list[Tensor] = []
        for index, block in enumerate(net._blocks):
            x = block(x)
            if index in _TAPS:
                levels.append(functional.avg_pool2d(x, 3, stride=1, padding=1))
        fine, coarse = levels
        coarse = functional.interpolate(coarse, size=(self.grid, self.grid), mode="bilinear", align_corners=False)
        features = x.mean((2, 3)).repeat(1, self.feature_width // x.shape[1] + 1)[:, : self.feature_width]
        return features, torch.cat([fine, coarse], dim=1).permute(0, 2, 3, 1)


def paper_trunk(cache: Path) -> Trunk:
    """Return the trunk of `PaperLevels`, exported once."""
    path = cache / "lite0-paper-levels.onnx"
    if not path.exists():
        write_atomically(path, export_trunk(PaperLevels()))
    return Trunk.load(path.read_bytes())


class PatchCore:
    """PatchCore by its paper.

    Args:
        patches: float16 [n, h, w, C], of ok frames.
        share: Of all patches that the coreset keeps.
        seed: Of the projection and the first patch.
    """

    def __init__(self, patches: NDArray[np.float16], share: float, seed: int) -> None:
        flat = patches.reshape(-1, patches.shape[-1]).astype(np.float32)
        self._bank = flat[greedy_coreset(flat, max(1, round(share * len(flat))), seed)]
        self._square = np.square(self._bank).sum(axis=1)

    def __len__(self) -> int:
        """Return how many patches are kept."""
        return len(self._bank)

    def score(self, patches: NDArray[np.float16]) -> Floats:
        """Patches [n, h, w, C] to scores float32 [n]."""
        return np.array([self._one(frame.reshape(-1, frame.shape[-1]).astype(np.float32)) for frame in patches])

    def _one(self, frame: Floats) -> float:
        square = self._distances(frame)
        nearest = square.argmin(axis=1)
        distance = square[np.arange(len(frame)), nearest]
        worst = int(distance.argmax())
        found = self._bank[nearest[worst]]
        around = np.argsort(self._distances(found[None])[0], kind="stable")[:_NEIGHBOURS]
        gaps = np.sqrt(np.maximum(square[worst, around], 0.0))
        own = float(np.sqrt(max(distance[worst], 0.0)))
        # 1 - exp(own) / sum(exp(gaps)), without the overflow
        weight = 1.0 - 1.0 / float(np.exp(gaps - own).sum())
        return weight * own

    def _distances(self, rows: Floats) -> Floats:
        """Squared distances float32 [len(rows), len(bank)]."""
        out = np.empty((len(rows), len(self._bank)), dtype=np.float32)
        for start in range(0, len(self._bank), _BLOCK):
            part = slice(start, start + _BLOCK)
            out[:, part] = self._square[part] - 2.0 * (rows @ self._bank[part].T)
        return np.asarray(out + np.square(rows).sum(axis=1)[:, None], dtype=np.float32)


def greedy_coreset(flat: Floats, size: int, seed: int) -> NDArray[np.int64]:
    """Each next patch is the one farthest from all that were chosen (§3.2)."""
    random = np.random.default_rng(seed)
    width = min(_PROJECTION, flat.shape[1])
    points = flat @ (random.standard_normal((flat.shape[1], width)) / np.sqrt(width)).astype(np.float32)
    square = np.square(points).sum(axis=1)
    chosen = np.empty(size, dtype=np.int64)
    chosen[0] = random.integers(len(points))
    nearest = np.full(len(points), np.inf, dtype=np.float32)
    for k in range(1, size):
        last = chosen[k - 1]
        np.minimum(nearest, square + (square[last] - 2.0 * (points @ points[last])), out=nearest)
        chosen[k] = int(nearest.argmax())
    return chosen


def per_position(known: NDArray[np.float16], asked: NDArray[np.float16]) -> Floats:
    """A Gaussian for each position; patches [n, h, w, C] and [m, h, w, C] to scores float32 [m]."""
    _, height, width, channels = known.shape
    worst = np.zeros(len(asked))
    for row in range(height):
        for column in range(width):
            here = known[:, row, column].astype(np.float64)
            mean = here.mean(axis=0)
            covariance = np.atleast_2d(np.cov(here, rowvar=False)) + _POSITION_RIDGE * np.eye(channels)
            gap = asked[:, row, column].astype(np.float64) - mean
            worst = np.maximum(worst, np.einsum("ij,ij->i", gap, np.linalg.solve(covariance, gap.T).T))
    return np.sqrt(worst).astype(np.float32)


def whitened_distance(known: NDArray[np.float16], asked: NDArray[np.float16], seed: int, size: int = 512) -> Floats:
    """Distances to a coreset of patches whose channels are whitened: [n, h, w, C] and [m, h, w, C] to [m, h * w]."""
    random = np.random.default_rng(seed)
    channels = known.shape[-1]
    kept = np.sort(random.permutation(len(known))[:_WHITENED_FRAMES])
    flat = known[kept].reshape(-1, channels)
    sample = flat[np.sort(random.permutation(len(flat))[:_WHITENED_PATCHES])].astype(np.float32)
    mean, scale = sample.mean(axis=0), sample.std(axis=0) + np.float32(1e-3)
    values, vectors = np.linalg.eigh(np.corrcoef(((sample - mean) / scale), rowvar=False))
    values = (1 - _WHITENED_SHRINKAGE) * values + _WHITENED_SHRINKAGE
    turn = (((vectors / np.sqrt(values)) @ vectors.T) / scale[:, None]).astype(np.float32)
    sample = (sample - mean) @ turn
    bank = sample[greedy_coreset(sample, size, seed)]
    square = np.square(bank).sum(axis=1)
    out = np.empty((len(asked), asked.shape[1] * asked.shape[2]), dtype=np.float32)
    for row, frame in enumerate(asked):
        here = (frame.reshape(-1, channels).astype(np.float32) - mean) @ turn
        nearest = (square - 2.0 * (here @ bank.T)).min(axis=1) + np.square(here).sum(axis=1)
        out[row] = np.sqrt(np.maximum(nearest, 0.0))
    return out


def highest(distance: Floats, part: int) -> Floats:
    """Mean of each frame's highest distances, one in `part`: [n, P] to float32 [n]."""
    count = max(1, distance.shape[1] // part)
    return np.asarray(-np.partition(-distance, count - 1, axis=1)[:, :count].mean(axis=1))


def nearest_embedding(known: Floats, asked: Floats, neighbours: int = 5) -> Floats:
    """Mean distance to the nearest of ok frames in standardised pooled features: [n, D] and [m, D] to float32 [m]."""
    x, y = _standardised(known, asked)
    square = np.square(y).sum(axis=1)[:, None] + np.square(x).sum(axis=1) - 2.0 * (y @ x.T)
    nearest = np.partition(square, min(neighbours, len(x)) - 1, axis=1)[:, : min(neighbours, len(x))]
    return np.asarray(np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1), dtype=np.float32)


def mahalanobis(known: Floats, asked: Floats) -> Floats:
    """Distance from one Gaussian of the pooled features, its covariance shrunk by Ledoit and Wolf's rule."""
    x, y = _standardised(known, asked)
    covariance, _ = ledoit_wolf(x.astype(np.float64), assume_centered=True)
    square = np.einsum("ij,ij->i", y, np.linalg.solve(covariance, y.T.astype(np.float64)).T)
    return np.asarray(np.sqrt(square), dtype=np.float32)


def _standardised(known: Floats, asked: Floats) -> tuple[Floats, Floats]:
    mean, scale = known.mean(axis=0), known.std(axis=0) + np.float32(1e-3)
    return (known - mean) / scale, (asked - mean) / scale
