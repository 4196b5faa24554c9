"""The direction in which some examples lie, as seen from ordinary frames. Pure.

Plain nearness to the examples finds what is near to everything: in a trunk's embedding most of the spread is of no
matter (which product, which light). So the mean example is taken against the mean of ordinary frames in the metric of
their spread, w = (S + λ·tr(S)/D·I)⁻¹ (m - m₀): a linear discriminant with one side known by its mean alone (Hariharan,
Malik & Ramanan 2012), λ = 1 since the frames are fewer than the dimensions. `benchmarks/campaign.py` compares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.campaigns import Like
from flows.fleet_settings.signing import SettingsError

LEAST_ORDINARY = 30
MOST_ORDINARY = 500
_SHRINK = 1.0
_LARGEST = 127

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """What a campaign is made of.

    Attributes:
        wanted: float32 [n, D], length 1: of the examples.
        ordinary: float32 [m, D], length 1: of frames as the line usually brings them.
        embedding_id: The space of both.
    """

    wanted: Vectors
    ordinary: Vectors
    embedding_id: str


def like(examples: Examples) -> Like:
    """Make the query.

    Raises:
        SettingsError: There are too few ordinary frames, or the examples are like them in every respect.
    """
    ordinary = examples.ordinary.astype(np.float64)
    if len(ordinary) < LEAST_ORDINARY:
        raise SettingsError(
            f"there are {len(ordinary)} ordinary frames to set the examples against: expected at least "
            f"{LEAST_ORDINARY} captured frames of this trunk that are labelled ok or that the engine passed; wait for "
            "more, or ask by --class and --margin-below"
        )
    wanted = examples.wanted.astype(np.float64).mean(axis=0)
    direction = _direction(wanted, ordinary)
    largest = float(np.abs(direction).max())
    if not largest > 0:
        raise SettingsError("the examples are exactly as ordinary frames are: nothing tells them apart")
    whole = np.round(direction / largest * _LARGEST).astype(np.int8)
    reached = ordinary @ whole.astype(np.float64)
    return Like(
        embedding_id=examples.embedding_id,
        direction=whole,
        mean=float(reached.mean()),
        deviation=max(float(reached.std()) * _underestimate(wanted, ordinary), 1e-6),
    )


def _direction(wanted: NDArray[np.float64], ordinary: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve for w; through the m frames instead of the D dimensions, where those are fewer (Woodbury)."""
    mean = ordinary.mean(axis=0)
    centred = ordinary - mean
    away: NDArray[np.float64] = wanted - mean
    count = max(1, len(ordinary) - 1)
    ridge = _SHRINK * float((centred**2).sum()) / count / ordinary.shape[1]
    if ridge <= 0:
        return away
    inner = centred @ centred.T + ridge * count * np.eye(len(ordinary))
    found: NDArray[np.float64] = (away - centred.T @ np.linalg.solve(inner, centred @ away)) / ridge
    return found


def _underestimate(wanted: NDArray[np.float64], ordinary: NDArray[np.float64]) -> float:
    """How much wider frames spread in a direction that was not fitted to them than those that it was fitted to."""
    fitted, fresh = ordinary[::2], ordinary[1::2]
    direction = _direction(wanted, fitted)
    inside = float((fitted @ direction).std())
    return max(1.0, float((fresh @ direction).std()) / inside) if inside > 0 else 1.0
