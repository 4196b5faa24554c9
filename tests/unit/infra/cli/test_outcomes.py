from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.inspections import create_inspection
from infra.cli.main import main
from tests.unit.infra.cli.homes import home_at


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a catalog, and a bucket that is never asked."""
    catalog = Catalog.open(home_at(tmp_path))
    create_inspection(catalog, "plates", [("ok", "ok"), ("crack", "defect")])
    catalog.close()
    (tmp_path / "eol.csv").write_text("serial,outcome,at\nA-1,failed,2030-01-02T03:04:05\nA-2,parked,2030-01-02\n")
    return tmp_path


def test_a_file_is_taken_over_once_and_says_what_it_was_good_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["outcomes", str(home / "eol.csv"), "--column", "part_id=serial", "--home", str(home)]
    assert main([*words, "--stage", "end-of-line", "--timezone", "Europe/Berlin"]) == 0
    said = capsys.readouterr().out
    assert "plates: 2 new outcomes of 2; 0 are of parts with a captured frame" in said
    assert "'parked' (1); see [outcomes] in policy.toml" in said
    assert "are part ids the same" in said
    assert main([*words, "--stage", "end-of-line", "--timezone", "Europe/Berlin", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "inspection": "plates", "rows": 2, "new": 0, "of_captured_parts": 0, "unread": {"parked": 1},
        "contradicted_labels": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "column part_id is missing, found serial, outcome, at"),
        (["--column", "part=serial"], "expected NAME=COLUMN, with NAME one of part_id, outcome, stage, at"),
        (["--column", "part_id=serial", "--timezone", "Mars/North"], "'Mars/North' is no time zone"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["outcomes", str(home / "eol.csv"), *words, "--home", str(home)]) == 1
    assert message in capsys.readouterr().err
