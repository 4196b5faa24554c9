"""The retention flow: frames that policy does not keep any longer are erased, at night.

It is served only where `[retention] frames_days` says how long frames are kept. What goes and what is needed is
:mod:`data.erasure.expired`'s; what estimates rest on stays.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from data.workspace import Workspace
from flows.erasure import erase_expired
from flows.exclusive import Busy

_WAIT_SECONDS = 600.0  # for a retrain or a backup; the next night goes on


@flow(name="retention")
def retention() -> State[Any]:
    """Erase captured frames that are older than policy says and that nothing needs."""
    try:
        done = erase_expired(Workspace.open(), wait_seconds=_WAIT_SECONDS)
    except Busy as busy:
        return Completed(message=str(busy), name="Skipped")
    samples = sum(one.counts.get("samples", 0) for one in done)
    size = sum(one.counts.get("image_bytes", 0) for one in done)
    return Completed(message=f"frames of {samples} samples erased, {size / 1e6:.1f} MB")
