"""A launched client's side of `protocol.py`: standing by, handing over, and saying how it does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from edge_client.config import Config
from edge_client.sd_notify import notify
from edge_client.software import protocol
from edge_client.updates.single import SingleUse

_LOOK_SECONDS = 0.01


def on_hand_over(stop: threading.Event) -> threading.Event:
    """Let the launcher ask for this client's place: then `stop` is set, and the event that is returned."""
    handing_over = threading.Event()
    if protocol.launched() is not None:

        def hand_over(*_: object) -> None:
            handing_over.set()
            stop.set()

        signal.signal(protocol.HAND_OVER, hand_over)
    return handing_over


def stand_by(configs: Sequence[Path], stop: threading.Event) -> None:
    """Under a launcher: say that everything is imported, and wait until no other client is on the state folders.

    Raises:
        ConfigError: A configuration cannot be used: said before the client in service is asked to go.
    """
    if protocol.launched() is None:
        return
    folders = [Config.load(path).device.state / "updates" for path in configs]
    notify(protocol.STANDBY)
    for folder in folders:
        while (lock := SingleUse.try_take(folder)) is None and not stop.is_set():
            time.sleep(_LOOK_SECONDS)
        if lock is not None:
            lock.release()


def tell_alive(answered: int, lost: int) -> None:
    """Tell the service manager or the launcher that all is well; the launcher also what was answered."""
    counts = f"\n{protocol.ANSWERED}={answered}\n{protocol.LOST}={lost}" if protocol.launched() is not None else ""
    notify(f"WATCHDOG=1{counts}")
