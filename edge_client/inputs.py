"""Checks of what the application gives beside a frame: what passes can be stored, sent and read again."""

import sys
from collections.abc import Iterable, Mapping, Sequence

from edge_client.contract.errors import BadImage
from edge_client.contract.quoting import quoted

_LARGEST = sys.float_info.max
Context = Mapping[str, float | str]


def check_parts(part_id: str | Sequence[str | None] | None, n: int) -> list[str | None]:
    """Return one part id for each of n frames.

    Raises:
        BadImage: Another number of them, or one that is no short text.
    """
    if part_id is not None and not isinstance(part_id, Iterable):
        raise BadImage(f"part id {quoted(part_id)} is not allowed: expected a text, or a list of them")
    parts = [part_id] * n if part_id is None or isinstance(part_id, str) else list(part_id)
    if len(parts) != n:
        raise BadImage(f"{len(parts)} part ids for {n} frames: expected one each, or one for all")
    for part in parts:
        if part is not None and not _is_text(part, 256):
            raise BadImage(f"part id {quoted(part)} is not allowed: expected a text of at most 256 characters")
    return parts


def check_context(context: Context | None) -> Context:
    """Return the context, {} for None.

    Raises:
        BadImage: A value that is neither a finite number nor a short text.
    """
    for key, value in (context or {}).items():
        where = f"context[{quoted(key)}]"
        if not _is_text(key, 128):
            raise BadImage(f"{where}: expected a name of at most 128 characters")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadImage(f"{where} is {quoted(value)}: expected a number or a text")
        fits = _is_text(value, 1024) if isinstance(value, str) else -_LARGEST <= value <= _LARGEST
        if not fits:
            raise BadImage(f"{where} is {quoted(value)}: expected a finite number or at most 1024 characters")
    if len(context or {}) > 256:
        raise BadImage(f"context has {len(context or {})} values: expected at most 256")
    return context or {}


def _is_text(value: object, most: int) -> bool:
    """Tell whether a value is a text in bounds that UTF-8 can hold: a file's name that is no UTF-8 is not."""
    if not isinstance(value, str) or len(value) > most:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
