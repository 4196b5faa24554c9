"""Where an ONNX file may be cut so that what two engines share lies in equal pieces.

1. The cuts follow the file's own layout: a large tensor has pieces of its own, so a tensor that did not change is the
   same pieces wherever it lies; small fields that follow one another go together.
2. The same bytes always have the same cuts: a device cuts the engine that it holds as the cloud cut the new one.
3. Nothing is understood beyond protobuf's wire format, and nothing is believed: a file that can't be read has no cuts.

Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator

#: Changes with the rule: lists and bases cut by different rules share next to nothing.
RULE = "onnx-1"
_LARGE = 4096  # bytes from which a field has pieces of its own
_TOGETHER = 8192  # small fields are gathered up to this; less makes the list longer than what it saves
_LONGEST = 131_072  # of a piece: what a damaged base costs, and a resumed one verifies at once
_GRAPH = 7  # field of ModelProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def piece_lengths(data: bytes | memoryview) -> list[int]:
    """Return the lengths of the pieces of an ONNX file, in order; their sum is the file's length.

    Raises:
        ValueError: The bytes are not a protobuf message.

    >>> model = bytes([0x08, 0x0A, 0x3A, 0x04, 0x12, 0x02, 0x67, 0x31])
    >>> piece_lengths(model)  # up to the graph's content, and the graph
    [4, 4]
    """
    view = memoryview(data)
    ends: list[int] = []
    gathered_from = 0
    for start, end, closes in _fields_of_model(view):
        if end - start >= _LARGE:
            if start > gathered_from:
                ends.append(start)
            ends.extend(range(start + _LONGEST, end, _LONGEST))
            ends.append(end)
            gathered_from = end
        elif closes or end - gathered_from >= _TOGETHER:
            ends.append(end)
            gathered_from = end
    if gathered_from < len(view):
        ends.append(len(view))
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _fields_of_model(view: memoryview) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, whether a piece must end there) of the model's fields, those of its graph one by one."""
    for field, start, content, end in _fields(view, 0, len(view)):
        if field != _GRAPH:
            yield start, end, False
            continue
        yield start, content, True  # the graph's length changes with every tensor's: it costs its own few bytes
        for _, inner, _, inner_end in _fields(view, content, end):
            yield inner, inner_end, inner_end == end


def _fields(view: memoryview, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, start, start of the content, end) of a message's fields."""
    while position < end:
        start = position
        tag, position = _varint(view, position, end)
        wire, content = tag & 7, position
        if wire == _VARINT:
            _, position = _varint(view, position, end)
        elif wire == _BYTES:
            length, content = _varint(view, position, end)
            position = content + length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"no protobuf message: wire type {wire} at byte {start}")
        if position > end:
            raise ValueError(f"no protobuf message: the field at byte {start} ends {position - end} bytes too late")
        yield tag >> 3, start, content, position


def _varint(view: memoryview, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(position, min(position + 10, end)):
        byte = view[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise ValueError(f"no protobuf message: a number at byte {position} does not end")
