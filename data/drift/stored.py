"""A device's reference and state as bytes, to be kept in the catalog between two looks.

Numbers only, in NumPy's own format without pickle; a blob of another version is a reason to begin anew, not an error.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any
from zipfile import BadZipFile

import numpy as np

from data.drift.memory import Memory, Placed
from data.drift.rates import RateReference, RateState
from data.drift.reference import BETS, Reference
from data.drift.space import Space
from data.drift.watch import WatchState

_VERSION = 1
_REFERENCE = (
    "knots",
    "ranks",
    "edges",
    "near",
    "centre",
    "spread",
    "spot_mean",
    "spot_spread",
    "coordinates",
    "weights",
)
_STATE = ("evidence", "morning", "today", "rise", "began", "began_at")


def pack_pictures(reference: Reference, state: WatchState) -> bytes:
    """Serialise a picture watch."""
    space, placed = reference.space, state.memory.placed
    return _pack(
        version=np.array([_VERSION]),
        numbers=np.array([reference.days, reference.frames, state.captured, state.day]),
        unspent=np.array([state.unspent]),
        space_mean=space.mean,
        space_axes=space.axes.astype(np.float16),
        space_basis=space.basis.astype(np.float16),
        space_rest=np.array([space.rest]),
        memory_scores=placed.scores,
        memory_coordinates=placed.coordinates.astype(np.float32),
        memory_spots=placed.spots.astype(np.float16),
        memory_relative=state.memory.relative,
        **{name: getattr(reference, name) for name in _REFERENCE},
        **{name: getattr(state, name) for name in _STATE},
    )


def unpack_pictures(data: bytes) -> tuple[Reference, WatchState] | None:
    """Read what :func:`pack_pictures` wrote; None if another version did."""
    found = _unpack(data)
    if found is None or found["evidence"].shape[0] != len(BETS):
        return None
    days, frames, captured, day = (int(number) for number in found["numbers"])
    reference = Reference(
        space=Space(
            mean=found["space_mean"],
            axes=found["space_axes"].astype(np.float32),
            basis=found["space_basis"].astype(np.float32),
            rest=float(found["space_rest"][0]),
        ),
        days=days,
        frames=frames,
        **{name: found[name] for name in _REFERENCE},
    )
    placed = Placed(
        scores=found["memory_scores"],
        coordinates=found["memory_coordinates"].astype(np.float64),
        spots=found["memory_spots"].astype(np.float64),
    )
    state = WatchState(
        captured=captured,
        day=day,
        unspent=float(found["unspent"][0]),
        memory=Memory(placed=placed, relative=found["memory_relative"]),
        **{name: found[name] for name in _STATE},
    )
    return reference, state


def pack_rates(reference: RateReference, state: RateState) -> bytes:
    """Serialise a rate watch."""
    return _pack(
        version=np.array([_VERSION]),
        names=np.array(reference.names, dtype=np.str_),
        centre=reference.centre,
        edges=reference.edges,
        dispersion=reference.dispersion,
        limit=np.array([reference.limit]),
        cusum=state.cusum,
        found=state.found,
        frames=state.frames,
    )


def unpack_rates(data: bytes) -> tuple[RateReference, RateState] | None:
    """Read what :func:`pack_rates` wrote; None if another version did."""
    found = _unpack(data)
    if found is None:
        return None
    reference = RateReference(
        names=tuple(str(name) for name in found["names"]),
        centre=found["centre"],
        edges=found["edges"],
        dispersion=found["dispersion"],
        limit=float(found["limit"][0]),
    )
    return reference, RateState(cusum=found["cusum"], found=found["found"], frames=found["frames"])


def _pack(**arrays: Any) -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _unpack(data: bytes) -> dict[str, Any] | None:
    try:
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, BadZipFile):
        return None
    return found if int(found["version"][0]) == _VERSION else None
