"""The one place where OpenCV is asked for: videos and cameras open the same way.

OpenCV is the extra ``camera``; nothing imports it until a video or a camera is opened.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import ConfigError


class Capture:
    """An opened video or camera.

    Args:
        where: A camera's number, a file, or anything else that `cv2.VideoCapture` takes (a URL, a device file).

    Raises:
        ConfigError: OpenCV is not installed, or it cannot open it.
    """

    def __init__(self, where: str) -> None:
        self._cv2 = _opencv()
        self._capture = self._cv2.VideoCapture(int(where) if where.isdigit() else where)
        if not self._capture.isOpened():
            self._capture.release()
            raise ConfigError(
                f"OpenCV cannot open {where!r}: check the name, that the file is a video, or that the camera is "
                "plugged in and this user may read it (on Linux: the group `video`)"
            )

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield frames, uint8 [H, W, 3] RGB, until the video ends or the camera gives no more."""
        while True:
            read, picture = self._capture.read()
            if not read:
                return
            if picture.ndim == 2:
                yield self._cv2.cvtColor(picture, self._cv2.COLOR_GRAY2RGB)
            else:
                yield self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Let the device or the file go."""
        self._capture.release()


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            "videos and cameras need OpenCV, which is not installed: pip install 'andon-edge[camera]'"
        ) from error
    return cv2
