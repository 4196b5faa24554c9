"""What is likely behind a drift: the words that alarms, pages and policies share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Cause(str, Enum):
    """What is likely the matter."""

    DIRT = "dirt"  # a spot in one place
    BLUR = "blur"  # out of focus, smeared, or a film on the lens
    LIGHT = "light"  # brighter or darker: lamp, exposure, stray light
    NEW = "new"  # another product, another position, or unknown
    RATES = "rates"  # classes or verdicts changed in number


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A likely cause.

    Attributes:
        cause: Which.
        words: For people.
        frames: Captured frames that it rests on.
        figures: What was measured, against the reference.
    """

    cause: Cause
    words: str
    frames: int
    figures: dict[str, float]
