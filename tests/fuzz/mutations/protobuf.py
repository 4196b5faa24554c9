"""Changes to protobuf messages: to the wire format, and to the fields of a parsed message of any type."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.mutations.plain import mutate_bytes

_NUMBERS = (0, 1, 2, 3, 7, 8, 11, 17, 23, 24, 127, 2**31 - 1, -1, -(2**31))
_LARGE = (2**31, 2**32 + 2, 2**63 - 1, -(2**63))
_BYTES = (b"", b"\xff\xfe", b"weights.bin", b"x" * 2000, b"\x00" * 16)


def mutate_wire(data: bytes, random: Random, depth: int = 0) -> bytes:
    """Return a protobuf message after a change to one of its fields, or to a field of a message inside."""
    fields = _split(data)
    if not fields:
        return mutate_bytes(data, random)
    at = random.randrange(len(fields))
    number, wire, payload = fields[at]
    kind = random.randrange(10)
    if wire == 2 and depth < 7 and kind < 5:
        fields[at] = (number, wire, mutate_wire(payload, random, depth + 1))
    elif kind == 5:
        fields.insert(random.randrange(len(fields) + 1), fields[at])
    elif kind == 6:
        del fields[at]
    elif kind == 7:
        fields[at] = (random.choice((*range(1, 27), 2**28, 0)), wire, payload)
    elif kind == 8:
        fields[at] = (number, random.choice((0, 1, 2, 5, 3, 4, 6)), payload)
    else:
        fields[at] = (number, wire, mutate_bytes(payload, random))
    return b"".join(_join(number, wire, payload, random) for number, wire, payload in fields)


def _split(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return (field, wire type, payload) as far as the bytes are protobuf."""
    fields, position = [], 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire, start = tag & 7, position
        if wire == 0:
            _, position = _varint(data, position)
            fields.append((tag >> 3, wire, data[start:position]))
            continue
        length = {1: 8, 5: 4}.get(wire, 0)
        if wire == 2:
            length, position = _varint(data, position)
        fields.append((tag >> 3, wire, data[position : position + length]))
        position += length
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        value, position, shift = value | (byte & 127) << shift, position + 1, shift + 7
        if byte < 128:
            break
    return value, position


def _join(number: int, wire: int, payload: bytes, random: Random) -> bytes:
    head = _number(number << 3 | wire, padding=random.random() < 0.01)
    return head + _number(len(payload), padding=random.random() < 0.01) + payload if wire == 2 else head + payload


def _number(value: int, *, padding: bool) -> bytes:
    """A varint; padded it is longer than it must be, which readers judge differently."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    if padding:
        out[-1] |= 128
        out += b"\x80\x00"
    return bytes(out)


def change_a_field(message: Any, random: Random, texts: Sequence[str]) -> None:
    """Walk down to a random message inside, then set, clear, double or move one of its fields; maps are left alone.

    Args:
        message: A parsed message; it is changed.
        random: Chooses.
        texts: What texts become.
    """
    for _ in range(random.randrange(8)):
        inner = [v for f, v in message.ListFields() if f.message_type is not None and not _is_map(f)]
        if not inner:
            break
        chosen = random.choice(inner)
        message = random.choice(list(chosen)) if hasattr(chosen, "add") else chosen
    field = random.choice([f for f in message.DESCRIPTOR.fields if not _is_map(f)])
    value = getattr(message, field.name)
    if hasattr(value, "add") or hasattr(value, "append"):
        kind = random.randrange(4)
        if kind == 0 and value:
            del value[random.randrange(len(value))]
        elif kind == 1 and value:
            value.extend([value[random.randrange(len(value))]] * random.choice((1, 3, 66)))
        elif field.message_type is not None:
            value.add()
        else:
            value.append(_scalar(field, random, texts))
    elif field.message_type is not None:
        message.ClearField(field.name) if random.random() < 0.5 else value.SetInParent()
    elif random.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(field, random, texts))


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _scalar(field: Any, random: Random, texts: Sequence[str]) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        return random.choice(_BYTES if field.type == field.TYPE_BYTES else texts)
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return random.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    if field.cpp_type == field.CPPTYPE_ENUM:
        return random.choice(list(field.enum_type.values_by_number))
    return random.choice((*_NUMBERS, *_LARGE))
