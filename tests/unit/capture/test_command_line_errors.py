"""What ``andon-edge`` says to a mistake, and that its help teaches."""

import json
from pathlib import Path

import pytest

from edge_client.cli.main import main
from tests.unit.capture.device import Bundle


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["run", "--source", "nowhere"], "nowhere is not a folder"),
        (["export", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_a_mistake_gets_a_clear_error_and_code_2(tmp_path: Path, capsys, words: list[str], error: str):
    bundle = Bundle(tmp_path)
    assert main([words[0], "--config", str(bundle.config), *words[1:]]) == 2
    assert error in capsys.readouterr().err


def test_a_missing_configuration_is_named_in_json_too(tmp_path: Path, capsys):
    assert main(["status", "--config", str(tmp_path / "none.toml"), "--json"]) == 2
    assert "none.toml does not exist" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("name", ["", "run", "status", "ledger", "doctor", "tune", "update", "mirror", "export"])
def test_help_teaches(name: str, capsys):
    with pytest.raises(SystemExit) as done:
        main([*([name] if name else []), "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert "usage: andon-edge" in text
    assert len(text.splitlines()) > 8
