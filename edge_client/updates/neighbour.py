"""What a device can give to its neighbours: the engines and self-tests that it holds, by digest, and nothing else.

A neighbour is asked as a mirror is. It has no metadata, so that everyone hears what is in force from the bucket or a
real mirror; only the large files come from next door. What is sent is what lies on disk: who receives it checks it.
Where engines are sealed nothing is given: what lies on disk is in the plain.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_client.config import ShareConfig
from edge_client.contract.errors import ConfigError
from edge_client.contract.releases import TARGETS_PREFIX
from edge_client.updates.keeper import Keeper
from edge_client.updates.rules import Place, UpdateState
from edge_client.updates.share import ShareServer
from edge_client.updates.slots import ENGINE_FILE, SELFTEST_FILE, Slots

_FOLDER = f"{TARGETS_PREFIX}engines/"


def held_files(
    state: Callable[[], UpdateState], slots: Slots, sealed: Callable[[], bool] = lambda: False
) -> Callable[[str], Path | None]:
    """Resolve the keys of engines and self-tests that lie in the slots.

    Args:
        state: Says what lies there now.
        slots: Where.
        sealed: Whether engines of this inspection are sealed.
    """

    def resolve(key: str) -> Path | None:
        if not key.startswith(_FOLDER) or sealed():
            return None
        digest = key.rpartition("/")[2].partition(".")[0]
        now = state()
        for place in (Place.A, Place.B):
            held = now.at(place)
            if held is None or now.quarantined(held.engine_sha256) is not None:
                continue
            if digest == held.engine_sha256:
                return slots.path(place) / ENGINE_FILE
            if digest == held.selftest_sha256:
                return slots.path(place) / SELFTEST_FILE
        return None

    return resolve


def share_engines(config: ShareConfig, keeper: Keeper, slots: Slots, sealed: Callable[[], bool]) -> ShareServer | None:
    """Serve the slots to neighbours if the operator wants it; a port that can't be had is told in the status."""
    if not config.port:
        return None
    try:
        server = ShareServer(
            held_files(lambda: keeper.state, slots, sealed),
            host=config.host,
            port=config.port,
            bytes_per_second=config.bytes_per_second,
        )
    except ConfigError as error:
        keeper.note("share", str(error))
        return None
    server.start()
    return server
