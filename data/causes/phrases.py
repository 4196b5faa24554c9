"""Phrases of an analysis, in the languages that people read it in: one table, `phrases.toml` beside this file.

1. Every phrase has a text in every language, with the same values in it; the table is refused if one lacks.
2. What an analysis keeps (a group of parts, why a variable cannot be tested) is a key with its values: put into words
   only where the reader is known.
3. Whole numbers get the language's separators, other numbers three digits and the language's decimal sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from data.languages import LANGUAGES, PLACE, Texts, read_texts, written
from edge_client.contract.errors import ConfigError

_FILE = Path(__file__).with_name("phrases.toml")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase that is not yet in words (rule 2); `str` gives the English ones."""

    key: str
    values: Mapping[str, str | int | float] = field(default_factory=dict)

    def __str__(self) -> str:
        return Speech("en").say(self)


class Speech:
    """Says phrases in one language.

    Args:
        language: One of `LANGUAGES`.

    Raises:
        ConfigError: It is none of them.
    """

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise ConfigError(f"language {language!r}: expected one of {', '.join(LANGUAGES)}")
        self.language = language

    def __call__(self, key: str, /, **values: str | int | float) -> str:
        """Put values into the phrase of a key."""
        text = phrases()[key][self.language]
        return PLACE.sub(lambda match: self._shown(values[match[1]]), text)

    def say(self, phrase: Phrase) -> str:
        """Put a phrase into words."""
        return self(phrase.key, **phrase.values)

    def figure(self, number: float, form: str) -> str:
        """Write a number in a format such as ``.2g``, with the language's signs.

        >>> Speech("de").figure(1234.5, ",.1f"), Speech("en").figure(1234.5, ",.1f")
        ('1.234,5', '1,234.5')
        """
        return written(f"{number:{form}}", self.language)

    def _shown(self, value: str | int | float) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, int):
            return self.figure(value, ",")
        return self.figure(value, ".3g" if abs(value) < 1000 else ".6g")


@lru_cache(maxsize=1)
def phrases() -> Texts:
    """Read the table: key to language to text.

    Raises:
        ValueError: A phrase lacks a language, or its texts have different places.
    """
    table = read_texts(_FILE)
    for key, texts in table.items():
        if len({frozenset(PLACE.findall(text)) for text in texts.values()}) > 1:
            raise ValueError(f"{_FILE.name}, {key}: the languages name different values")
    return table
