"""Where an enrolled device is: as the command says, as the device it replaces, else the defaults."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.catalog import Catalog
from data.devices import DeviceError, register_device
from data.inspections import create_inspection
from edge_client.contract.errors import ConfigError
from infra.cli.arguments import open_workspace
from infra.cli.devices import Place, add_parser, place_of
from tests.unit.infra.cli.homes import home_at

_KEY = "ab" * 32


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two inspections; aoi-3 runs the second at its own place, on a channel of its own."""
    catalog = Catalog.open(home_at(tmp_path))
    for name in ("plates", "solar-cells"):
        create_inspection(catalog, name, [("ok", "ok"), ("crack", "defect")], {})
    register_device(
        catalog, "aoi-3", "north", "oven", ["solar-cells"], _KEY, at=datetime(2031, 3, 3, tzinfo=UTC), channel="canary"
    )
    catalog.close()
    return tmp_path


def _place(home: Path, *arguments: str) -> Place:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["enroll", *arguments, "--home", str(home)])
    return place_of(args, open_workspace(args))


def test_a_device_that_replaces_another_takes_its_place(home: Path) -> None:
    there = Place(inspection="solar-cells", site="north", station="oven", channel="canary")
    assert _place(home, "aoi-3", "--replace", "--as", "file") == there


def test_what_the_command_says_goes_before_the_old_place(home: Path) -> None:
    moved = _place(home, "aoi-3", "--replace", "--as", "file", "--station", "press", "--inspection", "plates")
    assert moved == Place(inspection="plates", site="north", station="press", channel="stable")


def test_a_new_device_has_the_defaults_and_must_say_which_inspection(home: Path) -> None:
    new = _place(home, "aoi-4", "--inspection", "plates")
    assert new == Place(inspection="plates", site="plant", station="aoi-4", channel="stable")
    with pytest.raises(ConfigError, match="plates, solar-cells: name one"):
        _place(home, "aoi-4")


def test_only_a_device_that_is_known_can_be_replaced(home: Path) -> None:
    with pytest.raises(DeviceError, match="aoi-33"):
        _place(home, "aoi-33", "--replace", "--as", "file")
