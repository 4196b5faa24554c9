from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.inspections import create_inspection, get_inspection
from infra.cli.main import main
from tests.unit.infra.cli.homes import home_at


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a catalog, and a bucket that is never asked."""
    (tmp_path / "policy.toml").write_text("[learning]\nescape_cost = 50\n")
    catalog = Catalog.open(home_at(tmp_path))
    create_inspection(catalog, "plates", [("ok", "ok"), ("crack", "defect")])
    catalog.close()
    return tmp_path


def row(shown: str, name: str) -> list[str]:
    return next(line.split() for line in shown.splitlines() if f" {name} " in f"{line} ")


def test_settings_are_shown_stated_and_taken_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--home", str(home)]
    assert main(["settings", *at]) == 0
    shown = capsys.readouterr().out
    assert row(shown, "learning.escape_cost")[:3] == ["learning.escape_cost", "50", "50"]
    assert row(shown, "learning.recall_of.crack")[:3] == ["learning.recall_of.crack", "-", "-"]
    assert row(shown, "auto_retrain")[:3] == ["auto_retrain", "true", "true"]

    assert main(["settings", "learning.recall=0.98", "learning.recall_of.crack=0.995", *at]) == 0
    said = capsys.readouterr().out
    assert "plates: learning.recall_of.crack = 0.995, before -" in said
    assert "plates: learning.escape_cost = - (not stated by the inspection), before 50" in said
    assert main(["settings", "plates", *at]) == 0
    assert row(capsys.readouterr().out, "learning.recall")[:4] == ["*", "learning.recall", "0.98", "-"]

    assert main(["settings", "plates", "--unset", "learning.recall_of", "--unset", "learning.recall", *at]) == 0
    assert "learning.escape_cost = 50 (not stated by the inspection), before -" in capsys.readouterr().out
    catalog = Catalog.open(f"sqlite:///{home / 'catalog.db'}")
    assert get_inspection(catalog, "plates").settings == {}
    catalog.close()


def test_the_same_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "plates", "auto_promote=true", "--json", "--home", str(home)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["inspection"], told["changed"]) == ("plates", ["auto_promote"])
    (found,) = [each for each in told["settings"] if each["name"] == "auto_promote"]
    assert (found["value"], found["default"], found["stated"]) == (True, False, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plates", "auto_promote"], "'auto_promote': expected KEY=VALUE"),
        (["plates", "auto_promote="], "expected KEY=VALUE"),
        (["variant=int8", "variant=fp32"], "variant comes twice"),
        (["variant=int8", "--unset", "variant"], "variant is to be stated and to be unset"),
        (["variant=int4"], "its setting variant is 'int4'; expected int8 or fp32"),
        (["bolts", "variant=int8"], "inspection 'bolts' is unknown; known are ['plates']"),
    ],
)
def test_what_cannot_be_done_says_what_was_expected(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["settings", *words, "--home", str(home)]) == 1
    assert message in capsys.readouterr().err
