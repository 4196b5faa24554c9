"""What the two forms for detectors share: which boxes stand for a label, and which label boxes stand for. Pure.

1. Classes of kind ok have no box. A defect has a box and its pixels for each patch of its mark; with no mark, one box
   of the whole frame. Of several classes each has them all: a mark does not say which is where.
2. Read back, boxes say the label, except that an image whose boxes are those of its line in the index keeps that
   line's label: so ok stays ok, and nothing is said twice.
3. An image without a box is of no class: it is a problem, unless its line says ok or the importer says what such an
   image is.
"""

from __future__ import annotations

from collections.abc import Collection

from data.exports.regions import Box, Mask, patches_of
from data.exports.values import Labelled


def defects_in(
    one: Labelled, mask: Mask | None, defects: Collection[str], size: tuple[int, int]
) -> list[tuple[str, Box, Mask | None]]:
    """The boxes of a sample: class, box, pixels (None: of the whole frame). `size` is (width, height)."""
    patches: list[tuple[Box, Mask | None]] = [*patches_of(mask)] if mask is not None and mask.any() else []
    if not patches:
        patches = [((0.0, 0.0, float(size[0]), float(size[1])), None)]
    return [(name, box, pixels) for name in one.classes if name in defects for box, pixels in patches]


def label_from_boxes(
    found: Collection[str], stated: tuple[str, ...] | None, defects: Collection[str], empty: str
) -> tuple[str, ...]:
    """The label of an image.

    Args:
        found: Classes of its boxes.
        stated: Its label in the index, None without one.
        defects: Classes of kind defect.
        empty: What an image without a box is; "" for not known.

    Raises:
        ValueError: Nothing says what it is (rule 3).
    """
    if stated is not None and set(found) == {name for name in stated if name in defects} and stated:
        return stated
    if found:
        return tuple(sorted(set(found)))
    if stated:
        raise ValueError(
            f"its line in the index says {'+'.join(stated)}, and no box is left; correct the line, or draw the box"
        )
    if not empty:
        raise ValueError("it has no box, so nothing says what it is; say --empty CLASS if such images are all of one")
    return (empty,)
