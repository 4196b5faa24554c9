"""Pages that are made say all that the program knows."""

from __future__ import annotations

import argparse
import doctest
from dataclasses import fields

import pytest

import infra.docs_site.commands
import infra.docs_site.device_file
import infra.docs_site.doctests
import tests.docs.blocks
import tests.docs.script
from edge_client.config import TABLES
from infra.docs_site import hooks
from infra.docs_site.commands import children, reference
from tests.docs.blocks import ROOT


@pytest.mark.parametrize(
    "module",
    [
        infra.docs_site.commands,
        infra.docs_site.device_file,
        infra.docs_site.doctests,
        tests.docs.blocks,
        tests.docs.script,
    ],
)
def test_examples_of_the_docstrings(module) -> None:
    tried = doctest.testmod(module)
    assert tried.attempted
    assert not tried.failed


def test_a_command_of_commands_is_followed_and_what_is_hidden_stays_hidden() -> None:
    parser = argparse.ArgumentParser(prog="andon keys", description="Of 60 % <all>.".replace("%", "%%"))
    actions = parser.add_subparsers()
    show = actions.add_parser("show", description="Shows %(prog)s.")
    show.add_argument("--from", choices=["a", "b"], default="a", help="where from (default: %(default)s)")
    show.add_argument("--secret", help=argparse.SUPPRESS)
    page = reference("keys", "", [parser])
    assert "## andon keys" in page
    assert "### andon keys show\n\nShows andon keys show." in page
    assert r"| `--from {a,b}` | where from (default: a) |" in page
    assert "--secret" not in page
    assert list(children(parser)) == ["show"]


def test_every_command_of_the_device_is_in_its_page() -> None:
    page = hooks.andon_edge()
    for command in ("run", "serve", "launch", "status", "doctor", "tune", "update", "export", "enroll"):
        assert f"\n## andon-edge {command}\n" in page
    assert "`--fps N`" in page


def test_every_key_of_the_devices_file_is_in_its_page_and_says_what_it_is() -> None:
    page = hooks.device_file()
    for table, kind in TABLES.items():
        assert f"## \\[{table}\\]" in page
        for each in fields(kind):
            assert f"| `{each.name}` |" in page
    assert [line for line in page.splitlines() if line.endswith("|  |")] == []


def test_every_decision_is_listed_and_in_the_navigation() -> None:
    names = [page.name for page in hooks.decisions(ROOT / "docs")]
    assert len(names) > 30
    listed = hooks.list_of_decisions(ROOT / "docs")
    assert all(f"]({name})" in listed for name in names)
