"""Changes to TOML: to its values, written again by a small writer, and to its text."""

from __future__ import annotations

import json
import tomllib
from random import Random
from typing import Any

from tests.fuzz.mutations.plain import mutate_bytes
from tests.fuzz.mutations.values import mutate_tree

_TOKENS = (
    b"[", b"[[", b"]", b"=", b'"""', b"'''", b"'", b"#", b"\n", b"\r", b"\\u0000", b"\\U0010ffff", b"inf", b"nan",
    b"0x7fffffffffffffff",
    b"1979-05-27T07:32:00Z", b"9999-99-99", b"07:32:00", b"1e400", b"1_000", b"[capture]\n", b"[bucket]\n",
    b'"~nobody-here/x"',
    b'"\\u0000"', b"22:00-05:00", b"mon-sun 00:00-24:00",
    b"sun-mon,tue 24:00-00:00", b"a.b.c.d", b"9" * 5000, b"[" * 1200, b"{a=" * 1200, b"a." * 1200,
)  # fmt: skip


def mutate_toml(data: bytes, random: Random) -> bytes:
    """Return a TOML document after a change."""
    if random.random() < 0.4:
        return mutate_bytes(data, random, _TOKENS)
    try:
        return _document(mutate_tree(tomllib.loads(data.decode()), random)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError, AttributeError):
        return mutate_bytes(data, random, _TOKENS)


def _document(tree: dict[str, Any]) -> str:
    lines = [f"{_text(key)} = {_value(item)}" for key, item in tree.items() if not isinstance(item, dict)]
    for key, item in tree.items():
        if isinstance(item, dict):
            lines.append(f"[{_text(key)}]")
            lines += [f"{_text(k)} = {_value(v)}" for k, v in item.items()]
    return "\n".join(lines) + "\n"


def _value(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, list):
        return "[" + ", ".join(map(_value, item)) + "]"
    if isinstance(item, dict):
        return "{" + ", ".join(f"{_text(k)} = {_value(v)}" for k, v in item.items()) + "}"
    return '""' if item is None else repr(item)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
