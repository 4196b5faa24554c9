"""What the pages say, in English and German: one table, kept as ``texts/PAGE.toml``.

    headline = { en = "Fleet", de = "Flotte" }                       {{ t("PAGE.headline") }}
    silent = { en = "{n} device is|{n} devices are", de = "…|…" }      {{ t("PAGE.silent", n=3) }}

1. A key is ``page.key`` and has a text in every language; `load_texts` refuses a table that lacks one.
2. ``{name}`` is put in, whole numbers with the language's separators. ``|`` parts singular and plural, by ``n``.
3. The language is the person's choice, else the browser's, else English.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.languages import LANGUAGES, PLACE, Texts, read_texts, written

FOLDER = Path(__file__).parent / "texts"


@lru_cache(maxsize=4)
def load_texts(folder: Path = FOLDER) -> Texts:
    """Read the table: key to language to text.

    Raises:
        ValueError: A key lacks a language, or is no text.
    """
    return {
        f"{path.stem}.{key}": texts for path in sorted(folder.glob("*.toml")) for key, texts in read_texts(path).items()
    }


class Translator:
    """``t(key, n=3)`` in one language.

    Args:
        language: One of `LANGUAGES`.
        texts: The table.
    """

    def __init__(self, language: str, texts: Texts) -> None:
        self.language, self._texts = language, texts

    def __call__(self, key: str, /, **values: Any) -> str:
        """The text of a key.

        Raises:
            KeyError: There is none.
        """
        text = self._texts[key][self.language]
        if "|" in text and "n" in values:
            one, _, many = text.partition("|")
            text = one if values["n"] == 1 else many
        return PLACE.sub(lambda match: self._shown(values.get(match[1], match[0])), text)

    def number(self, value: int) -> str:
        """A whole number with the language's separators."""
        return written(f"{value:,}", self.language)

    def decimal(self, value: float, digits: int = 1) -> str:
        """A number with so many digits behind the language's point."""
        return written(f"{value:.{digits}f}", self.language)

    def _shown(self, value: Any) -> str:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return self.number(value) if whole else str(value)


@lru_cache(maxsize=8)
def translator(language: str) -> Translator:
    """The translator of a language of the console's own table."""
    return Translator(language, load_texts())


def language_of(choice: str | None, accepted: str) -> str:
    """Choose a language (rule 3).

    >>> language_of(None, "de-AT,de;q=0.9,en;q=0.8"), language_of("en", "de"), language_of(None, "fr")
    ('de', 'en', 'en')
    """
    if choice in LANGUAGES:
        return choice
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:200].split(",")):
        name, _, quality = part.partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            weight = 0.0
        wanted.append((-weight, place, name.strip().lower().split("-")[0]))
    return next((name for weight, _, name in sorted(wanted) if name in LANGUAGES and weight < 0), LANGUAGES[0])


def script(language: str) -> str:
    """``/static/texts.js``: the table in one language, for the pages' modules."""
    texts = {key: by_language[language] for key, by_language in load_texts().items()}
    table = json.dumps(texts, ensure_ascii=False, indent=0)
    return (
        f'import {{ translator }} from "./translate.js";\n'
        f"export const language = {json.dumps(language)};\nexport const t = translator({table}, language);\n"
    )
