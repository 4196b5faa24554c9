"""Every text is there in both languages, every key that is used is there, and every one there is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import console
from console.language import Translator, load_texts, script
from data.languages import LANGUAGES

HERE = Path(console.__file__).parent
FILES = [*HERE.glob("templates/*.html"), *HERE.glob("static/*.js"), *HERE.glob("*.py")]
_USED = re.compile(r"""\bt\(\s*["'`]([a-z_]+\.[a-zA-Z0-9_]*)(?:["'`]\s*(\+)?|(\$\{))""")
_GIVEN = re.compile(r"""\bt\("([a-z_]+\.[a-zA-Z0-9_]+)"(?:\)|, \{ ([^{}]*) \}\))""")
_SPOKEN = re.compile(r"""(?:"aria-label"|\b(?:title|placeholder|alt)): (?:"([^"]*)"|`((?:[^`$]|\$\{[^}]*\})*)`)""")
_PLACES = re.compile(r"\{(\w+)\}")


def used() -> dict[str, str]:
    """Key, or with a trailing * its beginning, to the file that uses it."""
    found = {}
    for path in FILES:
        for match in _USED.finditer(path.read_text(encoding="utf-8")):
            found[match[1] + ("*" if match[2] or match[3] else "")] = path.name
    return found


def test_every_key_that_is_used_is_there() -> None:
    table = load_texts()
    missing = {
        key: where
        for key, where in used().items()
        if not (any(name.startswith(key[:-1]) for name in table) if key.endswith("*") else key in table)
    }
    assert missing == {}


def test_every_text_is_used() -> None:
    keys = used()
    begun = tuple(key[:-1] for key in keys if key.endswith("*"))
    assert [key for key in load_texts() if key not in keys and not key.startswith(begun)] == []


def test_both_languages_name_the_same_values_and_have_the_same_plural() -> None:
    for key, texts in load_texts().items():
        places = {language: set(_PLACES.findall(texts[language])) for language in LANGUAGES}
        assert len({frozenset(found) for found in places.values()}) == 1, (key, places)
        assert len({texts[language].count("|") for language in LANGUAGES}) == 1, key
        assert all(texts[language].strip() for language in LANGUAGES), key


def test_a_script_gives_a_text_the_values_it_names() -> None:
    table, seen, wrong = load_texts(), 0, []
    for path in HERE.glob("static/*.js"):
        for key, given in _GIVEN.findall(path.read_text(encoding="utf-8")):
            seen += 1
            names = {part.split(":")[0].strip() for part in re.split(r",(?![^(]*\))", given) if part.strip()}
            if not set(_PLACES.findall(table[key]["en"])) <= names or ("|" in table[key]["en"]) > ("n" in names):
                wrong.append((path.name, key, names))
    assert seen > 200
    assert wrong == []


def test_no_script_names_a_thing_in_words_of_its_own() -> None:
    """What is spoken or shown on hovering is in the table; between values there may be signs alone."""
    spoken = [
        (path.name, match[0], re.sub(r"\$\{[^}]*\}", "", match[1] or match[2] or ""))
        for path in HERE.glob("static/*.js")
        for match in _SPOKEN.finditer(path.read_text(encoding="utf-8"))
    ]
    wrong = [(name, said) for name, said, words in spoken if re.search(r"[A-Za-z]", words)]
    assert spoken
    assert wrong == []


@pytest.mark.parametrize(
    "line", ['a = { en = "x" }', 'a = "x"', 'a = { en = "x", de = "y", fr = "z" }', 'a = { en = "x", de = 1 }']
)
def test_a_table_that_lacks_a_language_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "page.toml").write_text(line)
    with pytest.raises(ValueError, match=r"page\.toml, a: expected a text for each of en, de"):
        load_texts(tmp_path)


def test_values_numbers_and_plurals_are_put_in() -> None:
    texts = {
        "a.b": {"en": "{n} device of {site}|{n} devices of {site}", "de": "{n} Gerät von {site}|{n} Geräte von {site}"}
    }
    assert Translator("en", texts)("a.b", n=1, site="<x>") == "1 device of <x>"
    assert Translator("de", texts)("a.b", n=12345, site="Werk") == "12.345 Geräte von Werk"


def test_the_script_of_texts_cannot_be_left_by_a_text() -> None:
    assert "</script" not in script("de")
    assert script("en") != script("de")
