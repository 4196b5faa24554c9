"""What every source yields: one image as a file holds it, and what is known about it.

A source checks its index before the first image is read (an empty folder or a missing column is an error, raised
when the source is opened), then yields items in a stable order and holds one image in memory at a time.
An item that cannot be read later on is a `SourceProblem`: reported, never fatal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from edge_client.contract.errors import AndonError

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
"""The three formats that the whole loop stores and decodes, by file suffix (lower case)."""

MARK_ENDINGS = (".mask", "_mask")
"""What the name of a mark has after that of its image."""

MAX_FILE_BYTES = 64 << 20
"""The same bound as a sample blob on the wire: what a device could not send is not imported either."""


class SourceError(AndonError):
    """A source cannot be used as it is; the message says which file or column, and what to change."""


class Stage(Enum):
    """What a sample is for in a rehearsal; outside one, everything is `factory`."""

    FACTORY = "factory"  # known before the line starts: training and golden set
    STREAM = "stream"  # passes under a device's camera
    HOLDOUT = "holdout"  # never streamed, never trained on: measures each round


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSample:
    """One image with its label.

    Attributes:
        path: how the source names it; relative to the source, unique in it.
        image: the file's bytes, as they were encoded.
        media_type: from the file's suffix; ingest and import check it against the content.
        label: class name, or None when the source does not know.
        group: what must not straddle train and test (part, lot, wafer…), or None.
        time: aware, or None.
        mark: PNG as large as the image, bright where the defect is, or None. What an image file `plate.jpg` has beside
            it as `plate.mask.png` or `plate_mask.png`.
        side: of the split, `train` or `golden`, where the source states it; "" leaves it to the group.
    """

    path: str
    image: bytes
    media_type: str
    label: str | None = None
    group: str | None = None
    station: str | None = None
    time: datetime | None = None
    stage: Stage = Stage.FACTORY
    part_id: str | None = None
    mark: bytes | None = None
    side: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProblem:
    """One item of a source that could not be used, and why."""

    path: str
    reason: str


class Source(Protocol):
    """A labelled archive. Iterating twice yields the same items in the same order."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Every label of the source, sorted."""

    @property
    def ignored(self) -> tuple[SourceProblem, ...]:
        """Files that were seen and left out on purpose (masks, notes, unknown formats)."""

    def __len__(self) -> int:
        """How many items iterating yields, problems included."""

    def __iter__(self) -> Iterator[SourceSample | SourceProblem]:
        """Read the items one by one."""


def media_type_of(path: Path) -> str | None:
    """Media type by the file's suffix, None for a format that is not taken."""
    return MEDIA_TYPES.get(path.suffix.lower())


def mark_beside(path: Path) -> bytes | None:
    """The mark that lies beside an image file, None where there is none; one that cannot be read is empty."""
    for ending in MARK_ENDINGS:
        mark = path.with_name(f"{path.stem}{ending}.png")
        if mark.is_file():
            data = read_image_file(mark)
            return b"" if isinstance(data, str) else data
    return None


def read_image_file(path: Path) -> bytes | str:
    """The bytes of one image file, or the reason in words why they can't be had."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not data:
        return "is empty (0 bytes)"
    if len(data) > MAX_FILE_BYTES:
        return f"is larger than {MAX_FILE_BYTES >> 20} MiB"
    return data
