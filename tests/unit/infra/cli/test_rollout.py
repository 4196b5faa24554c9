"""``andon rollout``: words, lines, JSON and exit codes. MLflow is away here: an act is noted, and signed later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.rollouts.stored import begin_rollout, newest_rollout
from infra.cli.main import main
from tests.unit.data.captured_line import INSPECTION, new_catalog
from tests.unit.infra.cli.homes import home_at
from tests.unit.rollouts.made import rollout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    new_catalog(home_at(tmp_path)).close()
    return tmp_path


def begun(home: Path) -> None:
    catalog = Catalog.open(f"sqlite:///{home}/catalog.db")
    begin_rollout(catalog, rollout("1 device, approve 100%", inspection=INSPECTION, reason="it has just begun"))
    catalog.close()


def test_a_channel_without_a_rollout_says_how_one_begins(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "--home", str(home)]) == 0
    assert "moving the alias champion in MLflow begins one" in capsys.readouterr().out
    assert main(["rollout", "hold", "--home", str(home)]) == 1
    assert "never had a rollout" in capsys.readouterr().err


def test_a_rollout_is_shown_held_and_taken_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun(home)
    assert main(["rollout", INSPECTION, "--home", str(home)]) == 0
    shown = capsys.readouterr().out
    for part in ("version 2 to stable over version 1: RUNNING", "[>] 1 device   [ ] approve 100%", "hold"):
        assert part in shown
    held = ["rollout", INSPECTION, "hold", "--why", "lunch", "--who", "ann", "--home", str(home), "--json"]
    assert main(held) == 1  # MLflow is away
    told = json.loads(capsys.readouterr().out)
    assert (told["rollout"]["state"], told["rollout"]["reason"]) == ("held", "lunch")
    assert "MLflow" in told["problem"]
    assert main(["rollout", "revert", "--home", str(home)]) == 1
    assert "not signed yet" in capsys.readouterr().out
    assert main(["rollout", "--home", str(home)]) == 1
    assert "REVERTED" in capsys.readouterr().out
    catalog = Catalog.open(f"sqlite:///{home}/catalog.db")
    newest = newest_rollout(catalog, INSPECTION, "stable")
    assert newest is not None
    assert [event.what for event in newest.events] == ["hold", "revert"]


@pytest.mark.parametrize("words", [["a", "b"], ["a", "hold", "c"], ["hold", "a"]])
def test_other_words_are_refused(home: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", *words, "--home", str(home)]) == 1
    assert "expected [INSPECTION] [ACTION]" in capsys.readouterr().err
