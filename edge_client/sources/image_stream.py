"""A stream of image files, one after the other with nothing between: what ``ffmpeg -f image2pipe`` and ``cat`` write.

1. Each image's end is found by its own format: JPEG by its markers (a thumbnail inside a segment is not an end), PNG by
   its chunks, WebP by its length. Nothing is decoded here.
2. What is no image, or breaks off, is skipped up to the next beginning of one, and counted; the thumbnail in what was
   walked of a broken image is no beginning. An image larger than `MAX_IMAGE_BYTES` counts as broken.
3. No more than one image and one read is held.
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal

from edge_client.images import MAX_IMAGE_BYTES

_CHUNK = 1 << 16
_PNG = b"\x89PNG\r\n\x1a\n"
_BEGINNING = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL)
_LONGEST_BEGINNING = 12
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed byte, a restart or a fill byte


class ImageStream:
    """Iterate over it for encoded images.

    Args:
        read: Returns at most so many bytes, at least one unless the stream has ended.
        most_bytes: Of one image.
    """

    def __init__(self, read: Callable[[int], bytes], *, most_bytes: int = MAX_IMAGE_BYTES) -> None:
        self._read = read
        self._most = most_bytes
        self._held = bytearray()
        self._ended = False
        self._walked = 0
        self.damaged = 0

    def __iter__(self) -> Iterator[bytes]:
        broken = False
        while self._find_beginning(counted=broken):
            try:
                end = self._end()
            except _Broken:
                self.damaged += 1
                broken = True
                self._has(self._walked)  # what was walked is skipped whole, however much of it has arrived
                del self._held[: max(1, self._walked)]
                continue
            broken = False
            yield bytes(self._held[:end])
            del self._held[:end]

    def _find_beginning(self, *, counted: bool) -> bool:
        """Drop what comes before the next image, and count it unless it was `counted`; False when none comes."""
        skipped = False
        while True:
            self._has(_LONGEST_BEGINNING)
            found = _BEGINNING.search(self._held)
            at = found.start() if found else len(self._held)
            skipped |= at > 0
            if found is not None or self._ended:
                break
            del self._held[: max(0, at - _LONGEST_BEGINNING + 1)]  # a beginning may be cut by the end of the read
            self._fill()
        del self._held[:at]
        self.damaged += skipped and not counted
        return found is not None

    def _end(self) -> int:
        """Return where the image that begins at 0 ends; `_walked` is how far it was certainly one image."""
        self._walked = 0
        if self._held[:1] == b"\xff":
            return self._end_of_jpeg()
        return self._end_of_png() if self._held[:1] == b"\x89" else self._end_of_webp()

    def _end_of_jpeg(self) -> int:
        at = 2
        while True:
            previous, self._walked = self._walked, at
            marker = self._byte(at + 1) if self._byte(at) == 0xFF else -1
            if marker == 0xFF:  # a fill byte
                at += 1
            elif marker == 0xD9:
                return at + 2
            elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
                at += 2
            elif marker in (-1, 0x00):
                self._walked = previous  # the segment before it told a wrong length, or was cut
                raise _Broken
            elif marker == 0xD8:
                raise _Broken  # the next image begins here
            else:
                at += 2 + self._number(at + 2, 2, "big")
                if marker == 0xDA:
                    at = self._next_marker(at)

    def _next_marker(self, at: int) -> int:
        """Return where the next marker is, beyond the compressed data that begins at `at`."""
        while True:
            found = _JPEG_MARKER.search(self._held, at, self._most)  # beyond it only what arrived at once would count
            if found is not None:
                return found.start()
            at = max(at, len(self._held) - 1)
            self._need(len(self._held) + 1)

    def _end_of_png(self) -> int:
        at = len(_PNG)
        while True:
            length = self._number(at, 4, "big")
            self._need(at + 8)
            kind = bytes(self._held[at + 4 : at + 8])
            if not kind.isalpha():
                raise _Broken
            self._walked = at
            at += 12 + length
            if kind == b"IEND":
                self._need(at)
                return at

    def _end_of_webp(self) -> int:
        length = 8 + self._number(4, 4, "little")
        length += length % 2
        if length < _LONGEST_BEGINNING:
            raise _Broken  # it would end inside its own beginning
        self._need(length)
        return length

    def _byte(self, at: int) -> int:
        self._need(at + 1)
        return self._held[at]

    def _number(self, at: int, size: int, order: Literal["big", "little"]) -> int:
        self._need(at + size)
        return int.from_bytes(self._held[at : at + size], order)

    def _need(self, length: int) -> None:
        if length > self._most or not self._has(length):
            raise _Broken

    def _has(self, length: int) -> bool:
        while len(self._held) < length and not self._ended:
            self._fill()
        return len(self._held) >= length

    def _fill(self) -> None:
        part = self._read(_CHUNK)
        self._held += part
        self._ended = not part


class _Broken(Exception):
    """What began as an image is none."""
