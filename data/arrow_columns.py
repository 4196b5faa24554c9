"""Arrow columns made of their buffers, for what is written often.

`pyarrow.array` imports pandas, which takes most of a second and 60 MB: more than most runs of ingest need for all else.
The layout is Arrow's own: offsets (int32), then values; validity one bit a row, least first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def texts(values: Sequence[str]) -> Any:
    """A column of strings."""
    return _of_bytes(pa.string(), [value.encode() for value in values])


def blobs(values: Sequence[bytes]) -> Any:
    """A column of binary values."""
    return _of_bytes(pa.binary(), values)


def half_lists(values: Sequence[NDArray[np.float16] | None]) -> Any:
    """A column of lists of half floats, each of which may be null.

    >>> half_lists([np.array([1, 2], dtype=np.float16), None]).to_pylist()
    [[1.0, 2.0], None]
    """
    flat = [np.zeros(0, dtype="<f2") if value is None else value.astype("<f2").ravel() for value in values]
    joined = np.concatenate([np.zeros(0, dtype="<f2"), *flat])
    children = [pa.Array.from_buffers(pa.float16(), len(joined), [None, pa.py_buffer(joined)])]
    buffers = [_validity(values), _offsets([len(each) for each in flat])]
    return pa.Array.from_buffers(pa.list_(pa.float16()), len(values), buffers, children=children)


def whole_numbers(values: Sequence[int | None]) -> Any:
    """A column of int32, each of which may be null."""
    numbers = np.array([value or 0 for value in values], dtype="<i4")
    return pa.Array.from_buffers(pa.int32(), len(values), [_validity(values), pa.py_buffer(numbers)])


def _of_bytes(kind: Any, values: Sequence[bytes]) -> Any:
    joined = pa.py_buffer(b"".join(values))
    return pa.Array.from_buffers(kind, len(values), [None, _offsets([len(value) for value in values]), joined])


def _offsets(lengths: Sequence[int]) -> Any:
    return pa.py_buffer(np.cumsum([0, *lengths], dtype="<i4"))


def _validity(values: Sequence[object]) -> Any:
    if all(value is not None for value in values):
        return None
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))
