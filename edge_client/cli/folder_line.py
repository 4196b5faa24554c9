"""The frames of a folder, for ``andon-edge run``: once, in a loop, or as new files arrive."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from edge_client.cli.pace import Pace
from edge_client.cli.run_file import RunFile
from edge_client.client import Client
from edge_client.contract.errors import BadEngine, BadImage
from edge_client.sources.folder import Folder, read_frame
from edge_client.sources.frame import PartOf, SourceFrame

log = logging.getLogger("edge_client.run")

_LOOK_SECONDS = 0.1  # between looks into a followed folder


class FolderLine:
    """Inspects a folder.

    Args:
        client: Inspects.
        told: Tells of it.
        folder: The files.
        part_of: Whose a frame is.
        stop: Set by a signal.
        reference: Frames to inspect, without capture, while no file waits; None for none.
        fps: Most frames a second; 0 for no limit.
        reference_fps: Reference frames a second.
    """

    def __init__(
        self,
        client: Client,
        told: RunFile,
        folder: Folder,
        *,
        part_of: PartOf,
        stop: threading.Event,
        reference: Iterator[SourceFrame] | None,
        fps: float,
        reference_fps: float,
    ) -> None:
        self._client = client
        self._told = told
        self._folder = folder
        self._part_of = part_of
        self._stop = stop
        self._reference = reference
        self._fps = fps
        self._reference_fps = reference_fps
        self._pace = Pace(stop, told.tell_each_second)
        self._passes = 0

    def work(self, *, follow: bool, loop: bool) -> None:
        """Inspect until the folder is done or `stop` is set."""
        while not self._stop.is_set():
            files = self._folder.new_files()
            self._told.waiting = len(files)
            if not files:
                if follow:
                    self._idle()
                    continue
                if not loop or self._passes == 0:
                    return
                self._folder.again()
                self._passes = 0
                continue
            for path in files:
                if self._stop.is_set():
                    return
                self._one(path, follow=follow)
            self._passes += 1

    def _one(self, path: Path, *, follow: bool) -> None:
        try:
            frame = read_frame(path, self._part_of)
            self._pace.wait(self._fps)
            self._client.predict(frame.image, part_id=frame.part_id, context=frame.context)
        except (BadImage, OSError) as error:
            if not follow or not self._folder.try_later(path):
                self._folder.done(path, refused=True)
                self._told.unreadable += 1
                log.warning("%s: %s", path, error)
            else:
                self._stop.wait(_LOOK_SECONDS)
            return
        except BadEngine as error:  # counted as lost; the line goes on with the next part
            log.warning("%s: %s", path, error)
        self._folder.done(path)
        self._told.waiting -= 1
        self._told.tell_each_second()

    def _idle(self) -> None:
        self._told.tell_each_second()
        if self._reference is None:
            self._stop.wait(_LOOK_SECONDS)
            return
        frame = next(self._reference)
        self._pace.wait(self._reference_fps)
        try:
            self._client.predict(frame.image, part_id=frame.part_id, capture=False)
        except (BadImage, BadEngine) as error:
            log.warning("%s: %s", frame.name, error)
