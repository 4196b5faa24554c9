"""Loading the engine that the state names, and going down the list when it can't be loaded.

A damaged file empties its slot (disk); an engine that does not load is quarantined (engine); the factory engine is
last. Each new state is stored before the next engine is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from edge_client.contract.errors import BadEngine
from edge_client.engine import Engine
from edge_client.updates import rules
from edge_client.updates.rules import Place, UpdateState
from edge_client.updates.slots import DamagedSlot, Slots

_WARM_UP_SIZE = (64, 64)


class LoadingConfig(Protocol):
    """What loading needs of the updater's configuration."""

    @property
    def inspection(self) -> str:
        """What an engine must be for."""

    @property
    def factory_engine(self) -> Path:
        """The engine in the application's package."""

    @property
    def provider(self) -> str:
        """Where engines run."""

    @property
    def threads(self) -> int:
        """Threads of one run."""


def load_place(
    place: Place, state: UpdateState, slots: Slots, config: LoadingConfig, frame_size: tuple[int, int] | None = None
) -> Engine:
    """Load and warm up the engine at a place.

    It is warmed up with a frame of the size that the line inspects, where that is known: the first run decides how
    ONNX Runtime divides its memory, and after one of another size each frame costs up to 2 % more.

    Args:
        place: Where it lies.
        state: Says what lies there.
        slots: The slots.
        config: See `LoadingConfig`.
        frame_size: Height and width of the line's frames.

    Raises:
        DamagedSlot: The file is not what the state says.
        BadEngine: It does not load, fails on a frame, or is for another inspection.
        OSError: The factory engine can't be read.
    """
    held = state.at(place)
    data = config.factory_engine.read_bytes() if held is None else slots.read(place, held)
    engine = Engine.from_bytes(data, threads=config.threads, provider=config.provider)
    if engine.metadata.inspection != config.inspection:
        raise BadEngine(
            f"engine {engine.metadata.engine_id!r} is for the inspection {engine.metadata.inspection!r}: this "
            "device inspects "
            f"{config.inspection!r}"
        )
    engine.run(np.full((1, *(frame_size or _WARM_UP_SIZE), 3), 128, dtype=np.uint8))
    return engine


def load_active(
    state: UpdateState,
    slots: Slots,
    config: LoadingConfig,
    save: Callable[[UpdateState], None],
    note: Callable[[str, str], None],
    frame_size: tuple[int, int] | None = None,
) -> tuple[UpdateState, Engine]:
    """Load the active engine, or the next best one.

    Args:
        state: Stored here first.
        slots: The slots.
        config: See `LoadingConfig`.
        save: Stores a state.
        note: Takes (key, problem) for the status.
        frame_size: Height and width of the line's frames, where known.

    Returns:
        The state that holds now, and its engine.

    Raises:
        BadEngine: Not even the factory engine can be loaded.
    """
    save(state)
    while True:
        place = state.active
        try:
            return state, load_place(place, state, slots, config, frame_size)
        except DamagedSlot as error:
            note("slot", str(error))
            state = rules.slot_damaged(state, place)
        except (BadEngine, OSError) as error:
            if place is Place.FACTORY:
                raise BadEngine(
                    f"the factory engine {config.factory_engine} cannot be used: {error}; install the "
                    "application's package again"
                ) from error
            note("engine", f"an engine was left: {error}")
            state = rules.engine_failed(state, f"does not load in service: {error}")
        save(state)
