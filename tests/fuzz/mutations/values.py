"""Changes to parsed documents: trees of objects, lists and values, as JSON and TOML have them."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

from tests.fuzz.mutations.plain import mutate_bytes

_DEEP = "\x01deep"  # stands for brackets that no writer would nest so far
_TEXTS = (
    "",
    "\0",
    "a",
    "..",
    "../a",
    "\ud800",
    "ü",
    "𝕏",
    "\u202e",
    "A" * 63,
    "a" * 64,
    "x" * 600,
    "y" * 5000,
    "f" * 32,
    "0" * 64,
    "nan",
    "1e999",
    "2026-01-02T03:04:05+00:00",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-W01-1",
    "20260102T030405Z",
    "age1",
    "image/png",
)
_NUMBERS = (
    0, 1, -1, 2, 3, 255, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400, -(10**400),
    0.0, -0.0, 0.5, 1.0001, 5e-324, 1e-300, 1e308, -1e308, 3.5e38, 70_000.0, math.inf, -math.inf, math.nan,
)  # fmt: skip


def mutate_tree(tree: Any, random: Random) -> Any:
    """Return a tree after one to three changes. The tree itself is changed too."""
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            return _value(random)
        holder, key = random.choice(places)
        kind = random.randrange(10)
        if kind < 4:
            holder[key] = _value(random)
        elif kind == 4:
            holder[key] = _near(holder[key], random)
        elif kind == 5:
            del holder[key]
        elif kind == 6:
            other, place = random.choice(places)
            if place in other if isinstance(other, dict) else place < len(other):
                holder[key] = _copy(other[place])
        elif kind == 7 and isinstance(holder, list):
            holder[key:key] = [_copy(holder[key]) for _ in range(random.choice((1, 2, 70)))]
        elif kind == 7:
            holder[random.choice(_TEXTS)] = holder.pop(key) if random.random() < 0.5 else _copy(holder[key])
        elif kind == 8:
            holder[key] = [holder[key]] if random.random() < 0.5 else {"a": holder[key]}
        elif isinstance(holder[key], dict):
            holder[key][random.choice(_TEXTS)] = _value(random)
        elif isinstance(holder[key], list):
            holder[key].append(_value(random))
    return tree


def mutate_json(data: bytes, random: Random) -> bytes:
    """Return a JSON document after changes to its values, or to its bytes."""
    if random.random() < 0.1:
        return mutate_bytes(data, random, JSON_TOKENS)
    try:
        return write_json(mutate_tree(json.loads(data), random), random)
    except (ValueError, RecursionError):  # an earlier mutation of its bytes, or brackets nested too deep for us
        return mutate_bytes(data, random, JSON_TOKENS)


def write_json(tree: Any, random: Random) -> bytes:
    """Serialise what `mutate_tree` made, with brackets nested as deep as it asks for."""
    text = json.dumps(tree, ensure_ascii=random.random() < 0.8)
    if "\\u0001deep" in text:
        depth = random.choice((40, 300, 900, 980, 1000, 5000))
        opened, closed = random.choice((("[", "]"), ('{"a":', "}")))
        text = text.replace('"\\u0001deep"', opened * depth + "0" + closed * depth, 1)
    return text.encode("utf-8", random.choice(("surrogatepass", "replace")))


JSON_TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\ud800", b"\\u0000", b"null", b"true", b"NaN", b"-Infinity", b"1e999",
    b"1E400", b"0.0", b"\xef\xbb\xbf", b"\xff\xfe", b"1" * 400, b"9" * 5000, b"[" * 1200,
)  # fmt: skip


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


def _value(random: Random) -> Any:
    kind = random.randrange(8)
    if kind < 3:
        return random.choice(_NUMBERS)
    if kind < 6:
        return random.choice(_TEXTS)
    return random.choice((None, True, False, [], {}, [[]], [0, 0], {"a": 0}, _DEEP))


def _near(value: Any, random: Random) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return random.choice((value - 1, value + 1, -value, value * 2**32, float(max(-(10**300), min(value, 10**300)))))
    if isinstance(value, float):
        return random.choice((-value, value * 1e300, value / 1e300, value + 1))
    if isinstance(value, str):
        at = random.randrange(len(value) + 1)
        return value[:at] + random.choice(_TEXTS) + value[at + random.choice((0, 1)) :]
    return value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
