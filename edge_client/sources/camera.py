"""Frames of a camera, for as long as anyone wants them.

1. A camera that cannot be opened at the start is an error; one that is lost later is opened again, with a backoff,
   until the reader is told to stop. Meanwhile `problem` says so.
2. Opening again is counted. Numbers of frames go on.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing

from edge_client.contract.errors import ConfigError
from edge_client.sources.frame import SourceFrame
from edge_client.sources.opencv import Capture

log = logging.getLogger("edge_client.camera")

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0  # a camera that is plugged in again is noticed within ten seconds


class Camera:
    """An opened camera; iterate over it for frames.

    Args:
        where: Number, device file, URL or pipeline, as OpenCV takes it.
        wait: Waits for so many seconds; True when the reader should end instead.

    Raises:
        ConfigError: OpenCV is not installed, or the camera cannot be opened.
    """

    def __init__(self, where: str, *, wait: Callable[[float], bool]) -> None:
        self._where = where
        self._wait = wait
        self._capture = Capture(where)
        self.reopened = 0
        self.problem = ""

    def __iter__(self) -> Iterator[SourceFrame]:
        number, pause = 0, _FIRST_PAUSE
        while True:
            with closing(self._capture) as capture:
                for picture in capture.frames():
                    number, pause, self.problem = number + 1, _FIRST_PAUSE, ""
                    yield SourceFrame(name=f"camera-{self._where}#{number:06d}", image=picture)
                    if self._wait(0):
                        return
            self.problem = f"camera {self._where} gives no frames: check its cable and power; it is opened again"
            log.warning("%s", self.problem)
            while True:
                if self._wait(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)
                try:
                    self._capture = Capture(self._where)
                    break
                except ConfigError as error:
                    log.info("%s", error)
            self.reopened += 1
