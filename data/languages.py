"""The languages that people read Andon in: tables of texts, and how a language writes numbers.

1. A key of a table has a text in every language; a table that lacks one is refused.
2. ``{name}`` in a text is a place for a value.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

LANGUAGES = ("en", "de")
PLACE = re.compile(r"\{(\w+)\}")

#: Key to language to text.
Texts = Mapping[str, Mapping[str, str]]

_SWAPPED = str.maketrans(",.", ".,")


def read_texts(path: Path) -> Texts:
    """Read a table, ``key = { en = "…", de = "…" }`` in TOML.

    Raises:
        ValueError: A key lacks a language, or is no text.
    """
    table: Texts = tomllib.loads(path.read_text(encoding="utf-8"))
    for key, texts in table.items():
        wrong = [name for name in LANGUAGES if not isinstance(texts, dict) or not isinstance(texts.get(name), str)]
        if wrong or set(texts) != set(LANGUAGES):
            raise ValueError(f"{path.name}, {key}: expected a text for each of {', '.join(LANGUAGES)}")
    return table


def written(number: str, language: str) -> str:
    """Return a number in English signs with the signs of a language.

    >>> written("1,234.5", "de"), written("1,234.5", "en")
    ('1.234,5', '1,234.5')
    """
    return number.translate(_SWAPPED) if language == "de" else number
