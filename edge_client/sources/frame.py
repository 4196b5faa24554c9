"""One frame from a source, and whose it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceFrame:
    """A frame with what `Client.predict` takes beside it.

    Attributes:
        name: File name, or ``<source>#<number>``, counted from 1.
        image: uint8 [H, W, 3] RGB, or an encoded file.
        part_id: The part, where known.
        context: Process values; ``station`` if the frame names one.
    """

    name: str
    image: NDArray[np.uint8] | bytes
    part_id: str | None = None
    context: Mapping[str, float | str] = field(default_factory=dict)

    def of(self, whose: "Whose") -> "SourceFrame":
        """Return the frame with its part and station filled in; what it knows already stays."""
        context = dict(self.context)
        if whose.station is not None:
            context.setdefault("station", whose.station)
        part_id = self.part_id if self.part_id is not None else whose.part_id
        return replace(self, part_id=part_id, context=context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Which part a frame shows, and at which station it was taken; None where that is not known."""

    part_id: str | None = None
    station: str | None = None


#: Tells whose a frame is, from its name or its image (a code on the part, for example).
PartOf = Callable[[SourceFrame], Whose]
