import json

import pytest

from infra.cli.main import main

SMALL = ["--trials", "20", "--labels", "60", "--gains", "0.0", "0.2", "--defect-share", "0.3"]


def test_the_table_says_what_the_gate_decides_and_how_sure_that_is(tmp_path, capsys):
    assert main(["simulate", "gate", "--home", str(tmp_path), *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "promoted / refused" in shown
    assert "+0.20" in shown
    assert "95 % interval" in shown
    assert [line.split()[0] for line in shown.splitlines() if line.strip().startswith("60")] == ["60"]


def test_a_policy_that_asks_for_less_promotes_more(tmp_path, capsys):
    def promoted() -> float:
        assert main(["simulate", "gate", "--home", str(tmp_path), "--json", *SMALL]) == 0
        return next(c["promote"]["value"] for c in json.loads(capsys.readouterr().out) if c["gain"] == 0.2)

    strict = promoted()
    (tmp_path / "policy.toml").write_text("[gate]\nbetter_series = 0.9\nharm_series = 0.9\nfield_margin = 0.5\n")
    assert promoted() > strict


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--defect-share", "1.5"], "expected a share between 0 and 1"),
        (["--champion", "0.1"], "expected an average precision above 0.2"),
        (["--gains", "0.9"], "average precision of 1.60"),
        (["--trials", "2"], "--trials of at least 20"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_the_reason(words, said, tmp_path, capsys):
    assert main(["simulate", "gate", "--home", str(tmp_path), *words]) == 1
    assert said in capsys.readouterr().err
