from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.devices import register_device
from infra.cli.main import main
from tests.unit.fleet.plant import INSPECTION, START, Plant
from tests.unit.infra.cli.homes import home_at


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three devices: one says that its disk is full, one was never heard of."""
    catalog = Catalog.open(home_at(tmp_path))
    plant = Plant(catalog, tmp_path)
    plant.enrol("line-1", "line-2", site="north")
    plant.enrol("press-1", site="south", station="press")
    plant.beat("line-1", spool_bytes=50, spool_limit=100)
    plant.beat("press-1", health="degraded", problems=("the disk is full",))
    plant.read()
    catalog.close()
    return tmp_path


def test_the_fleet_is_counted_and_listed_with_the_worst_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "--home", str(home)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 devices: 1 degraded, 1 unheard, 1 ok"
    assert "  engine   2 e1, 1 not said yet" in lines
    assert "  site     south: 1 degraded" in lines
    table = [line.split()[0] for line in lines[lines.index("") + 1 :]]
    assert table == ["device", "press-1", "line-2", "line-1"]
    assert any("the disk is full" in line for line in lines)
    assert any("50%" in line for line in lines)


def test_check_fails_only_where_something_that_is_meant_is_wrong(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "--home", str(home), "--check"]) == 1
    assert main(["fleet", "--home", str(home), "--check", "--site", "north"]) == 0
    assert main(["fleet", "--home", str(home), "--check", "--state", "ok"]) == 0
    capsys.readouterr()
    assert main(["fleet", "--home", str(home), "--check", "--json", "--search", "PRESS"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["total"], told["wrong"], told["devices"][0]["problem"]) == (1, 1, "the disk is full")
    assert told["summary"]["states"]["degraded"] == 1


def test_pages_say_what_is_left_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fleet", "--home", str(home), "--limit", "1"])
    assert "and 2 more of 3: --offset 1" in capsys.readouterr().out
    main(["fleet", "--home", str(home), "--summary"])
    assert "press-1" not in capsys.readouterr().out


def test_a_device_that_was_enrolled_just_now_is_there_already(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = Catalog.open(f"sqlite:///{home / 'catalog.db'}")
    register_device(catalog, "line-9", "north", "x", [INSPECTION], "ab" * 32, at=START)
    catalog.close()
    main(["fleet", "--home", str(home), "--search", "line-9", "--json"])
    assert json.loads(capsys.readouterr().out)["devices"][0]["state"] == "unheard"
