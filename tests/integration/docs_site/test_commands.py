"""Each `andon` and `andon-edge` command in the documentation is one that the program takes."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import SHELL, andon_commands, blocks, pages, tokens_of
from tests.docs.parsers import refusal, unknown_options

HELD = [page for page in pages() if "/adr/" not in page]  # decisions tell of their own time


def test_every_command_of_a_block_is_taken_by_its_parser() -> None:
    commands = [
        (block.where, words)
        for block in blocks()
        if block.language in SHELL
        for line in block.lines
        for words in andon_commands(line)
    ]
    assert len(commands) > 100
    refused = [f"{where}: {' '.join(words)}: {why}" for where, words in commands if (why := refusal(words))]
    assert not refused, "\n".join(refused)


@pytest.mark.parametrize("page", HELD)
def test_every_command_within_a_line_has_a_name_and_options_that_exist(page: str) -> None:
    for kind, line, _, text in tokens_of(page):
        if kind == "inline" and re.match(r"andon(-edge)? [a-z]", text):
            assert not unknown_options(text), f"{page}:{line}: {text}"


def test_a_stale_command_would_be_found() -> None:
    assert "unrecognized arguments: --fast" in refusal(["andon", "retrain", "cells", "--fast"])
    assert "no command" in refusal(["andon", "polish"])
    assert unknown_options("andon enroll NAME --as file --twice") == ["--twice"]
