"""The code blocks of the documentation, as a Markdown reader finds them.

1. Every block of README.md and of each page under docs/ is found, indented ones too.
2. Pages that are made (benchmarks-*.md) have none, and decisions (adr/) tell of the past: they are held to it as well.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
SHELL = {"sh", "bash"}
_OPERATORS = set("|&;()<>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block; `line` is where it begins in the page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """As an editor takes it."""
        return f"{self.page}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """The commands of a shell block: what is continued is one, comments are none."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def pages() -> list[str]:
    """README.md and every page under docs/, relative to the root."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return ["README.md", *(str(page.relative_to(ROOT)) for page in found)]


def tokens_of(page: str) -> list[tuple[str, int, str, str]]:
    """(kind, line, language, text) of the blocks and of the code within lines."""
    found: list[tuple[str, int, str, str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type in ("fence", "code_block"):
            found.append(("block", line, token.info.strip().split(" ")[0], token.content))
        found += [("inline", line, "", child.content) for child in token.children or () if child.type == "code_inline"]
    return found


@cache
def blocks() -> list[Block]:
    """Every block there is."""
    return [
        Block(page=page, line=line, language=language, text=text)
        for page in pages()
        for kind, line, language, text in tokens_of(page)
        if kind == "block"
    ]


def andon_commands(line: str) -> Iterator[list[str]]:
    """The words of each `andon` or `andon-edge` command of a line of shell.

    >>> list(andon_commands("cat a.png | andon-edge run --source - # pictures"))
    [['andon-edge', 'run', '--source', '-']]
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    command: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= _OPERATORS:
            command.append(word)
            continue
        if command and command[0] in ("andon", "andon-edge"):
            yield command
        command = []
