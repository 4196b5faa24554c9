"""Frames of a video file, once, in order."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from edge_client.contract.errors import ConfigError
from edge_client.sources.frame import SourceFrame
from edge_client.sources.opencv import Capture


def video_frames(path: Path) -> Iterator[SourceFrame]:
    """Open a video and yield its frames; their names are ``<file name>#<number>``.

    Raises:
        ConfigError: There is no such file, OpenCV is not installed, or it is no video.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is not a file: expected a video")
    capture = Capture(str(path))  # opened here, so that a mistake is told at once and not with the first frame

    def frames() -> Iterator[SourceFrame]:
        with closing(capture):
            for number, picture in enumerate(capture.frames(), start=1):
                yield SourceFrame(name=f"{path.name}#{number:06d}", image=picture)

    return frames()
