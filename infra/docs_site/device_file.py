"""The page about ``andon.toml``, from the dataclasses that read it: every table, every key, its default and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import griffe

from infra.docs_site.commands import plain

_ABOUT = """\
# andon.toml

`andon enroll` writes this file; what it leaves out has the default below. A key that is not known is an error.
Relative paths are relative to the file's own folder.
"""


def page(tables: Mapping[str, type[Any]]) -> str:
    """Return the page.

    Args:
        tables: Name of a table -> the dataclass that reads it.
    """
    return "\n".join([_ABOUT, *(_section(name, kind) for name, kind in tables.items())])


def meanings(kind: type[Any]) -> tuple[str, dict[str, str]]:
    """What the docstring says of the table, and of each key."""
    about, keys = "", {}
    parsed = griffe.Docstring(kind.__doc__ or "", lineno=1).parse("google", warnings=False)
    for section in parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            about = f"{about} {section.value}".strip()
        if section.kind is griffe.DocstringSectionKind.attributes:
            keys = {each.name: " ".join(each.description.split()) for each in section.value}
    return " ".join(about.split()), keys


def _section(name: str, kind: type[Any]) -> str:
    about, keys = meanings(kind)
    rows = [f"| `{each.name}` | {_default(each)} | {_cell(keys.get(each.name, ''))} |" for each in fields(kind)]
    head = "| key | default | what |\n|---|---|---|"
    return f"## \\[{name}\\]\n\n{plain(about)}\n\n{head}\n" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return plain(text.replace("``", "`"))


def _default(each: Field[Any]) -> str:
    """As one writes it in the file.

    >>> from dataclasses import make_dataclass, field
    >>> made = fields(make_dataclass("T", [("a", int), ("b", tuple, ("x",)), ("c", bool, True), ("d", str, "")]))
    >>> [_default(each) for each in made]
    ['must be given', '`["x"]`', '`true`', '`""`']
    """
    value = each.default
    if value is MISSING:
        return "must be given"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str | Path):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return f"`[{', '.join(_default_text(item) for item in value)}]`"
    return f"`{value:_}`" if isinstance(value, int) and value >= 10_000 else f"`{value}`"


def _default_text(value: object) -> str:
    return f'"{value}"'
