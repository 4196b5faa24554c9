"""Bounded checking of untrusted images, in a child process.

1. An image is good if Pillow decodes it completely as what its media type says (PNG, JPEG or WebP), as one
   picture of 8 bits a channel and at most `most_pixels`; Pillow's bomb warning is an error.
2. Decoding happens in a child with limits on memory, files and time. An image that ends two children in a row (by a
   crash, by memory, by time) is bad; one is not enough, since the kernel may have ended it for another reason.
3. One child is kept for all images of a checker: starting it costs 0.1 s, an image its decoding and 0.1 ms.
4. Of a stream of images some are sent at once, and the child decodes them while the caller makes the next ready. Each
   has its own time. The first that is not answered when a child ends is the suspect of rule 2 and is asked alone; those
   behind it are sent again.

    with ImageChecker() as checker:
        size = checker.check(data, "image/png")      # raises BadImage
        for found in checker.check_many(images):     # ImageSize | BadImage, in their order
            ...
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_client.contract.errors import AndonError, BadImage

MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
MOST_PIXELS = 64_000_000
"""Above every camera on a line (a 60-megapixel sensor), below Pillow's own alarm of 89 million."""

_CHILD = Path(__file__).with_name("decode_child.py")
_CHUNK = 1 << 20
_PIPE_BYTES = 1 << 20  # what Linux gives without rights; the usual 64 KiB means a change of process for each image
_BATCH_IMAGES, _BATCH_BYTES = 16, 2 << 20  # sent at once; two batches are in memory
_LONGEST_ANSWER = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """What the child found: a good image."""

    width: int
    height: int
    mode: str


class DecoderUnavailable(AndonError):
    """The child process cannot be started at all: nothing is known of any image."""


class ImageChecker:
    """Checks images one after another in a long-lived child. Safe to share between threads: they take turns.

    Args:
        seconds: an image that takes longer is bad.
        memory_bytes: address space of the child; the default holds Pillow and two copies of the largest image.
        most_pixels: see `MOST_PIXELS`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        seconds: float = 20.0,
        memory_bytes: int = 1 << 30,
        most_pixels: int = MOST_PIXELS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._arguments = (str(memory_bytes), str(most_pixels))
        self._clock = clock
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")  # asks while the caller goes on

    def __enter__(self) -> ImageChecker:
        """Nothing is started before the first image."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self.close()

    def close(self) -> None:
        """End the child."""
        self._pool.shutdown(cancel_futures=True)
        with self._lock:
            self._end()

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None before the first image."""
        return self._child.pid if self._child is not None else None

    def check(self, image: bytes, media_type: str) -> ImageSize:
        """Decode one image completely.

        Raises:
            BadImage: it is not what `media_type` says, damaged, too large, or the decoder did not survive it.
            DecoderUnavailable: the child does not start.
        """
        with self._lock:
            (found,) = self._checked([(image, media_type)])
        if isinstance(found, BadImage):
            raise found
        return found

    def check_many(self, images: Iterable[tuple[bytes, str]]) -> Iterator[ImageSize | BadImage]:
        """Check a stream of (image, media type); a bad one is yielded as its error, in its place.

        Some images are taken from the stream ahead of the answers.

        Raises:
            DecoderUnavailable: the child does not start.
        """
        asked: deque[Future[list[ImageSize | BadImage]]] = deque()
        for batch in _batches(images):
            asked.append(self._pool.submit(self._check_batch, batch))
            if len(asked) == 2:
                yield from asked.popleft().result()
        while asked:
            yield from asked.popleft().result()

    def _check_batch(self, images: Sequence[tuple[bytes, str]]) -> list[ImageSize | BadImage]:
        with self._lock:
            return self._checked(images)

    def _checked(self, images: Sequence[tuple[bytes, str]]) -> list[ImageSize | BadImage]:
        """A verdict on each image (rules 2 and 4)."""
        found: list[ImageSize | BadImage] = []
        while len(found) < len(images):
            try:
                self._ask(images[len(found) :], found)
            except _ChildGone:
                suspect = images[len(found)]
                try:
                    self._ask([suspect], found)
                except _ChildGone as gone:
                    image, media_type = suspect
                    found.append(BadImage(f"image of {len(image)} bytes ({media_type}): {gone}; it is not used"))
        return found

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._end()  # it died between two images: no image's fault
        command = [sys.executable, "-I", str(_CHILD), *self._arguments]
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            )
        except OSError as error:
            raise DecoderUnavailable(f"the image decoder does not start: {error}. Free memory or processes.") from error
        self._child = child
        os.set_blocking(_stdin(child), False)
        os.set_blocking(_stdout(child), False)
        with contextlib.suppress(OSError, AttributeError):  # not Linux, or the user's pipes are used up: only slower
            fcntl.fcntl(_stdin(child), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            self._exchange(child, memoryview(b""), 1, self._clock() + 60.0)
        except _ChildGone as gone:
            self._end()
            raise DecoderUnavailable(
                f"the image decoder {_CHILD.name} does not start ({gone}). Is Pillow installed in {sys.prefix}?"
            ) from None
        return child

    def _ask(self, images: Sequence[tuple[bytes, str]], found: list[ImageSize | BadImage]) -> None:
        """Let the child check images, and add a verdict on each to what was found.

        Raises:
            _ChildGone: it did not answer for the one that comes next; what it had answered is in `found`.
        """
        child = self._running()
        try:
            self._converse(child, images, found)
        except _ChildGone:
            self._end()
            raise

    def _converse(
        self, child: subprocess.Popen[bytes], images: Sequence[tuple[bytes, str]], found: list[ImageSize | BadImage]
    ) -> None:
        unsent = memoryview(b"".join(map(_request, images)))
        for image, _ in images:
            deadline = self._clock() + self._seconds
            answer, unsent = self._exchange(child, unsent, 4, deadline)
            (length,) = struct.unpack(">I", answer)
            if length > _LONGEST_ANSWER:
                raise _ChildGone(f"the decoder answered {length} bytes")
            answer, unsent = self._exchange(child, unsent, length, deadline)
            found.append(_verdict(image, answer))
        if unsent:
            raise _ChildGone("the decoder answered before it had read all")

    def _exchange(
        self, child: subprocess.Popen[bytes], unsent: memoryview, wanted: int, deadline: float
    ) -> tuple[bytes, memoryview]:
        """Write while reading `wanted` bytes, so that neither side blocks the other. What was read, what is unsent."""
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(_stdout(child), selectors.EVENT_READ)
            if unsent:
                selector.register(_stdin(child), selectors.EVENT_WRITE)
            while len(received) < wanted:
                left = deadline - self._clock()
                if left <= 0:
                    raise _ChildGone(f"decoding took longer than {self._seconds:g} s")
                for key, _ in selector.select(left):
                    if key.fd == _stdout(child):
                        data = os.read(key.fd, wanted - len(received))
                        if not data:
                            raise _ChildGone(_how_it_ended(child))
                        received += data
                        continue
                    try:
                        unsent = unsent[os.write(key.fd, unsent[:_CHUNK]) :]
                    except BlockingIOError:
                        continue
                    except OSError:
                        raise _ChildGone(_how_it_ended(child)) from None
                    if not unsent:
                        selector.unregister(key.fd)
        return bytes(received), unsent

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait(timeout=30)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # unsent bytes of a request whose reader is gone
                    continue


class _ChildGone(Exception):
    """The child died, hung or answered nonsense; the text says which."""


def _batches(images: Iterable[tuple[bytes, str]]) -> Iterator[list[tuple[bytes, str]]]:
    """Cut a stream into what is sent at once; an image above the bound goes alone."""
    batch: list[tuple[bytes, str]] = []
    size = 0
    for image, media_type in images:
        if batch and (len(batch) >= _BATCH_IMAGES or size + len(image) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((image, media_type))
        size += len(image)
    if batch:
        yield batch


def _request(item: tuple[bytes, str]) -> bytes:
    image, kind = item[0], item[1].encode()
    return struct.pack(">II", len(kind), len(image)) + kind + image


def _verdict(image: bytes, answer: bytes) -> ImageSize | BadImage:
    """What the child said of an image.

    Raises:
        _ChildGone: nonsense.
    """
    try:
        said = json.loads(answer)
        if "error" in said:
            return BadImage(f"image of {len(image)} bytes: {said['error']}; it is not used")
        return ImageSize(width=int(said["width"]), height=int(said["height"]), mode=str(said["mode"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _ChildGone(f"the decoder answered nonsense ({error})") from None


def _stdin(child: subprocess.Popen[bytes]) -> int:
    assert child.stdin is not None
    return child.stdin.fileno()


def _stdout(child: subprocess.Popen[bytes]) -> int:
    assert child.stdout is not None
    return child.stdout.fileno()


def _how_it_ended(child: subprocess.Popen[bytes]) -> str:
    try:
        status = child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "the decoder closed its pipe"
    return f"the decoder was ended by signal {-status}" if status < 0 else f"the decoder exited with status {status}"
