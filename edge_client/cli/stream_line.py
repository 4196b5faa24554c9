"""The frames of a video, a camera or standard input, for ``andon-edge run``."""

import logging
import threading
from collections.abc import Callable

from edge_client.cli.pace import Pace
from edge_client.cli.run_file import RunFile
from edge_client.client import Client
from edge_client.contract.errors import BadEngine, BadImage
from edge_client.sources.frame import SourceFrame
from edge_client.sources.reading import Frames

log = logging.getLogger("edge_client.run")

_LOOK_SECONDS = 0.2  # how soon a signal is seen while no frame comes


class StreamLine:
    """Inspects frames as they come.

    Args:
        client: Inspects.
        told: Tells of it.
        open_frames: Opens the source; called again for each round of a loop.
        stop: Set by a signal.
        fps: Most frames a second; 0 for no limit.
    """

    def __init__(
        self, client: Client, told: RunFile, open_frames: Callable[[], Frames], *, stop: threading.Event, fps: float
    ) -> None:
        self._client = client
        self._told = told
        self._open = open_frames
        self._stop = stop
        self._fps = fps
        self._pace = Pace(stop, told.tell_each_second)

    def work(self, *, loop: bool) -> None:
        """Inspect until the source ends or `stop` is set.

        Raises:
            ConfigError: The source cannot be opened.
            OSError: It broke off.
        """
        while not self._stop.is_set():
            with self._open() as frames:
                self._client.add_section("source", frames.status)
                self._round(frames)
            if not loop or frames.read == 0:
                return

    def _round(self, frames: Frames) -> None:
        while not frames.ended and not self._stop.is_set():
            frame = frames.next_frame(_LOOK_SECONDS)
            self._told.waiting = frames.status()["queued"]
            if frame is not None:
                self._one(frame)
            self._told.tell_each_second()

    def _one(self, frame: SourceFrame) -> None:
        self._pace.wait(self._fps)
        try:
            self._client.predict(frame.image, part_id=frame.part_id, context=frame.context)
        except BadImage as error:
            self._told.unreadable += 1
            log.warning("%s: %s", frame.name, error)
        except BadEngine as error:  # counted as lost; the line goes on with the next part
            log.warning("%s: %s", frame.name, error)
