"""A stream of raw frames: width x height x 3 bytes each, RGB, row by row; what ``ffmpeg -f rawvideo -pix_fmt rgb24``
writes. A last frame that is not whole is left out, and counted.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import ConfigError
from edge_client.images import MAX_PIXELS, MAX_SIDE

_CHUNK = 1 << 20


def frame_size(text: str) -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT``.

    Raises:
        ConfigError: Not that, or larger than a frame may be.
    """
    found = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ConfigError(
            f"frame size {text!r} is not usable: expected WIDTHxHEIGHT such as 1920x1080, at most {MAX_PIXELS} pixels"
        )
    return width, height


class RawStream:
    """Iterate over it for frames, uint8 [H, W, 3].

    Args:
        read: Returns at most so many bytes, at least one unless the stream has ended.
        width: Pixels a row.
        height: Rows.
    """

    def __init__(self, read: Callable[[int], bytes], *, width: int, height: int) -> None:
        self._read = read
        self._shape = (height, width, 3)
        self.damaged = 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        size = self._shape[0] * self._shape[1] * 3
        while True:
            frame = np.empty(size, dtype=np.uint8)
            at = 0
            while at < size:
                part = self._read(min(_CHUNK, size - at))
                if not part:
                    self.damaged += at > 0
                    return
                frame[at : at + len(part)] = np.frombuffer(part, dtype=np.uint8)
                at += len(part)
            yield frame.reshape(self._shape)
