"""Checks of what the application gives beside a frame."""

from collections.abc import Mapping, Sequence

import numpy as np

from edge_client.contract.errors import BadImage

Context = Mapping[str, float | str]


def check_parts(part_id: str | Sequence[str | None] | None, n: int) -> list[str | None]:
    """Return one part id for each of n frames.

    Raises:
        BadImage: Another number of them, or one that is no short text.
    """
    parts = [part_id] * n if part_id is None or isinstance(part_id, str) else list(part_id)
    if len(parts) != n:
        raise BadImage(f"{len(parts)} part ids for {n} frames: expected one each, or one for all")
    for part in parts:
        if part is not None and (not isinstance(part, str) or len(part) > 256):
            raise BadImage(f"part id {part!r} is not allowed: expected a text of at most 256 characters")
    return parts


def check_context(context: Context | None) -> Context:
    """Return the context, {} for None.

    Raises:
        BadImage: A value that is neither a finite number nor a short text.
    """
    for key, value in (context or {}).items():
        if not isinstance(key, str) or isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadImage(f"context[{key!r}] is {value!r}: expected a number or a text")
        if (isinstance(value, str) and len(value) > 1024) or (not isinstance(value, str) and not np.isfinite(value)):
            raise BadImage(f"context[{key!r}] is {value!r}: expected a finite number or at most 1024 characters")
    if len(context or {}) > 256 or any(len(key) > 128 for key in context or {}):
        raise BadImage("context has too many or too long keys: expected at most 256 of at most 128 characters")
    return context or {}
