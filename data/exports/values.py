"""What goes out with one labelled sample, and what a file says of one when it comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client.contract.errors import AndonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
INDEX_FILE = "labels.csv"  # in every export: what the format itself has no place for


class ExportError(AndonError):
    """Labels cannot be written or read as a whole; the message names the file and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One labelled sample, without its image.

    Attributes:
        classes: The label: a set of class names, sorted.
        by: Who gave it; "" where that is not known (a snapshot keeps no names).
        side: train, holdout or golden.
        group: What must not straddle the sides, as the catalog has it (``part:A-7``).
    """

    sample_id: str
    classes: tuple[str, ...]
    by: str
    at: datetime | None
    side: str
    group: str
    origin: str
    image_sha256: str
    media_type: str
    width: int | None
    height: int | None
    captured_at: datetime
    part_id: str | None
    station: str | None
    device: str | None
    lake_path: str
    lake_row: int

    @property
    def file_name(self) -> str:
        """Name of its image's file: the sample id, so that nothing can be mixed up."""
        return self.sample_id + SUFFIXES[self.media_type]

    @property
    def label(self) -> str:
        """The label as one text; several classes joined by ``+``, which no class name has."""
        return "+".join(self.classes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileLabel:
    """What a file says of one sample.

    Attributes:
        where: File and line, for messages.
        image: Its image's file, None where there is none.
        classes: The label.
        by: Who said it; "" for whoever imports it.
        side: train or golden for a sample that is new; "" for by its group.
        group: As :class:`data.sources.sample.SourceSample` has it.
        defect: bool [height, width], where the defect is; None for not known.
    """

    where: str
    classes: tuple[str, ...]
    sample_id: str = ""
    image: Path | None = None
    by: str = ""
    at: datetime | None = None
    side: str = ""
    group: str | None = None
    part_id: str | None = None
    station: str | None = None
    captured_at: datetime | None = None
    defect: NDArray[np.bool_] | None = field(default=None, repr=False)
