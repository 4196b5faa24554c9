"""A page of reference about a command line, written from its own parser.

1. Every command, option and argument that the parser knows is there, in the parser's order and words.
2. Text of the parser is text: only what stands between backticks is code.
3. The page is the same whatever terminal it is made in.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_SPECIAL = re.compile(r"([\\*_\[\]<>#|])")


def reference(title: str, about: str, parsers: Sequence[argparse.ArgumentParser]) -> str:
    """Return the page, one section a parser.

    >>> parser = argparse.ArgumentParser(prog="andon up", description="Starts `all`.")
    >>> _ = parser.add_argument("--port", type=int, metavar="N", help="where it listens")
    >>> print(reference("andon", "Words.", [parser]))
    # andon
    <BLANKLINE>
    Words.
    <BLANKLINE>
    ## andon up
    <BLANKLINE>
    Starts `all`.
    <BLANKLINE>
    ```text
    usage: andon up [-h] [--port N]
    ```
    <BLANKLINE>
    | option | what |
    |---|---|
    | `--port N` | where it listens |
    <BLANKLINE>
    """
    with _plain_terminal():
        sections = [section for parser in parsers for section in _sections(parser, 2)]
    return "\n\n".join([f"# {title}", plain(about), *sections]) + "\n"


def children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's commands, by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # argparse has no other way to them
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def plain(text: str) -> str:
    r"""Return a parser's text as Markdown that says the same.

    >>> print(plain("KEY=VALUE, such as `a_b=1`; *all* of <them>"))
    KEY=VALUE, such as `a_b=1`; \*all\* of \<them\>
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backtick begins nothing
        return _SPECIAL.sub(r"\\\1", text).replace("`", r"\`")
    return "`".join(part if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def _sections(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    formatter = parser.formatter_class(prog=parser.prog)
    parts = [f"{'#' * level} {parser.prog}"]
    if parser.description:
        parts.append(_paragraphs(parser.description, parser.prog))
    parts.append(f"```text\n{parser.format_usage().strip()}\n```")
    rows = [
        (_invocation(formatter, action), _help(formatter, action))
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
        and action.help is not argparse.SUPPRESS
    ]
    if rows:
        lines = ["| option | what |", "|---|---|", *(f"| `{name}` | {meaning} |" for name, meaning in rows)]
        parts.append("\n".join(lines))
    if parser.epilog:
        parts.append(_paragraphs(parser.epilog, parser.prog))
    yield "\n\n".join(parts)
    for child in children(parser).values():
        yield from _sections(child, min(level + 1, 4))


def _paragraphs(text: str, program: str) -> str:
    return plain((text % {"prog": program}) if "%(" in text else text)


def _invocation(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """As the help shows it: ``--out FILE``, ``name``."""
    return formatter._format_action_invocation(action).replace("|", "\\|")


def _help(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    return plain(formatter._expand_help(action)) if action.help else ""


@contextmanager
def _plain_terminal() -> Iterator[None]:
    """Argparse asks the terminal how wide it is."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
