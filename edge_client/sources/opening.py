"""What the words for a source mean.

FOLDER, folder:PATH   images of a folder, once, in name order
FILE, video:PATH      a video file
camera:0              a camera: its number, device file or URL
-                     standard input: image files one after the other, or raw RGB frames of a given size
"""

import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import ConfigError
from edge_client.sources.camera import Camera
from edge_client.sources.folder import SUFFIXES, folder_frames
from edge_client.sources.frame import PartOf, SourceFrame
from edge_client.sources.image_stream import ImageStream
from edge_client.sources.part_pattern import nobody, stem
from edge_client.sources.raw_stream import RawStream
from edge_client.sources.reading import Frames
from edge_client.sources.video import video_frames

_KINDS = ("folder", "video", "camera")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceName:
    """A source as it was named: its kind (folder, video, camera, stdin) and where it is."""

    kind: str
    where: str


def read_name(text: str) -> SourceName:
    """Read the words for a source.

    Raises:
        ConfigError: They mean nothing.
    """
    if text == "-":
        return SourceName(kind="stdin", where="-")
    kind, colon, where = text.partition(":")
    if colon and kind in _KINDS:
        if not where:
            raise ConfigError(f"source {text!r} names no {kind}: expected {kind}:WHERE")
        return SourceName(kind=kind, where=where)
    path = Path(text)
    if path.is_dir():
        return SourceName(kind="folder", where=text)
    if not path.is_file():
        raise ConfigError(
            f"{text} is not a folder, nor a file: expected a folder of images, a video file, camera:NUMBER, or - for "
            "standard input"
        )
    if path.suffix.lower() in SUFFIXES:
        raise ConfigError(f"{text} is one image: give the folder that it is in")
    return SourceName(kind="video", where=text)


def open_source(
    text: str,
    *,
    part_of: PartOf | None = None,
    live: bool | None = None,
    queue_frames: int = 2,
    frame_size: tuple[int, int] | None = None,
    stdin: IO[bytes] | None = None,
) -> Frames:
    """Open a source.

    Args:
        text: Which one; see the module.
        part_of: Tells part and station of a frame; without it a file's stem is its part id in a folder, and there is
            none elsewhere.
        live: Drop the oldest waiting frame rather than make the source wait; by default only a camera does.
        queue_frames: Most frames read ahead.
        frame_size: Width and height of raw RGB frames on standard input; None for image files.
        stdin: Instead of the process's standard input.

    Raises:
        ConfigError: It cannot be opened; the message says what to do.
    """
    name = read_name(text)
    if frame_size is not None and name.kind != "stdin":
        raise ConfigError(f"a frame size is for raw frames on standard input: {text!r} brings its own")
    stop = threading.Event()
    live = name.kind == "camera" if live is None else live
    whose = part_of or (stem if name.kind == "folder" else nobody)
    if name.kind == "camera":
        camera = Camera(name.where, wait=stop.wait)
        return Frames(
            name.kind,
            camera,
            part_of=whose,
            live=live,
            queue_frames=queue_frames,
            stop=stop,
            details=lambda: {"reopened": camera.reopened, "problem": camera.problem},
        )
    if name.kind == "stdin":
        # without Python's buffer: a reader that waits in it would hold its lock when the process ends
        stream = _stream(stdin or FileIO(sys.stdin.fileno(), closefd=False), frame_size)
        return Frames(
            name.kind,
            _numbered(stream),
            part_of=whose,
            live=live,
            queue_frames=queue_frames,
            stop=stop,
            details=lambda: {"damaged": stream.damaged},
        )
    path = Path(name.where)
    # a folder's frames ask `part_of` themselves, after the side file
    frames = folder_frames(path, whose) if name.kind == "folder" else video_frames(path)
    return Frames(
        name.kind,
        frames,
        part_of=nobody if name.kind == "folder" else whose,
        live=live,
        queue_frames=queue_frames,
        stop=stop,
    )


def _stream(file: IO[bytes], size: tuple[int, int] | None) -> ImageStream | RawStream:
    # what has arrived is taken at once: a plain read would wait for a whole buffer
    read = getattr(file, "read1", file.read)
    return ImageStream(read) if size is None else RawStream(read, width=size[0], height=size[1])


def _numbered(stream: Iterable[NDArray[np.uint8] | bytes]) -> Iterator[SourceFrame]:
    for number, image in enumerate(stream, start=1):
        yield SourceFrame(name=f"stdin#{number:06d}", image=image)
