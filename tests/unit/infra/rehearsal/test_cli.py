"""What is wrong with a request shows before anything is started."""

from pathlib import Path

import pytest

from edge_client.contract.errors import ConfigError
from infra.cli.main import main
from infra.rehearsal.archive import read_archive
from infra.rehearsal.session import Options, plan_of
from tests.acceptance.archive import write_archive


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ok-class", "nonsense"], "no frame has the class 'nonsense'"),
        (["--rounds", "0"], "0 rounds"),
        (["--rounds", "2", "--fault", "device@3"], "round 1 to 2"),
    ],
)
def test_a_request_that_cannot_be_met_starts_nothing(
    tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    index = write_archive(tmp_path / "plates", factory=40, stream=40, holdout=20)
    assert main(["rehearse", str(index), "--home", str(tmp_path / "home"), *options]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    frames = read_archive(write_archive(tmp_path / "plates", factory=40, stream=40, holdout=20), {})
    options = Options(name="plates", inspection="plates", devices=2)
    assert len(plan_of(tmp_path, frames, options).holdout) == 20
    (tmp_path / "rehearsals" / "plates" / "devices").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds a rehearsal already"):
        plan_of(tmp_path, frames, options)
