"""Evidence drawn from two models of known quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import ClassInfo, Kind
from training.evidence import PairedSet

TWO = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))
THREE = (*TWO, ClassInfo(name="void", kind=Kind.DEFECT))


def risk(logit: NDArray[np.float64]) -> NDArray[np.float32]:
    """Probabilities [n, 2] of ok and crack."""
    p = 1 / (1 + np.exp(-logit))
    return np.stack([1 - p, p], axis=1).astype(np.float32)


def seen(
    labels: NDArray[np.int64], separation: float, rng: np.random.Generator, noise: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Logits of a calibrated model: two normal distributions `separation` standard deviations apart.

    With noise of a shared part, two models make correlated mistakes as trained ones do.
    """
    own = rng.normal(size=len(labels))
    mixed = own if noise is None else np.sqrt(0.5) * (own + noise)
    defects = max(float(np.mean(labels > 0)), 1e-3)
    middle = np.log(defects / (1 - defects))
    return separation * (mixed + separation * ((labels > 0) - 0.5)) + middle


def paired(
    labels: NDArray[np.int64],
    champion: NDArray[np.float32] | None,
    challenger: NDArray[np.float32],
    *,
    weight: NDArray[np.float64] | None = None,
    devices: int = 1,
) -> PairedSet:
    """A paired set; devices take turns."""
    n = len(labels)
    ids = np.array([f"sample-{i}" for i in range(n)])
    device = np.array([f"line-{i % devices}" for i in range(n)])
    return PairedSet(
        ids=ids, labels=labels, champion=champion, challenger=challenger,
        weight=np.ones(n) if weight is None else weight, device=device, station=device, group=ids,
    )  # fmt: skip


def drawn(
    rng: np.random.Generator, n: int, before: float | None, after: float, *, share: float = 0.4, devices: int = 1
) -> PairedSet:
    """n labelled samples seen by a champion and a challenger of known separations (d')."""
    labels = (rng.permutation(n) < round(share * n)).astype(np.int64)
    noise = rng.normal(size=n)
    champion = None if before is None else risk(seen(labels, before, rng, noise))
    return paired(labels, champion, risk(seen(labels, after, rng, noise)), devices=devices)
