"""What an inspection states for itself: shown, changed, refused (flows/change_settings.py, flows/known_settings.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.catalog import Catalog
from data.inspections import change_settings, create_inspection, get_inspection
from data.policy import Policy
from edge_client.contract.errors import ConfigError
from flows.change_settings import ShownSetting, change, settings_of
from flows.known_settings import SETTINGS
from flows.retrain_settings import gate_of, goal_of, may_start_by_itself, promotes_by_itself
from flows.setting import VARIANT, number
from tests.unit.data.captured_line import sqlite_url
from training.gate_policy import GatePolicy
from training.goal import MEANINGS, Goal

POLICY = Policy.from_mapping(
    {"learning": {"escape_cost": 50, "measure": "balanced_accuracy"}, "retrain": {"auto_promote": True}}
)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(sqlite_url(tmp_path))
    create_inspection(opened, "plates", [("ok", "ok"), ("crack", "defect"), ("dent v1.5", "defect")])
    yield opened
    opened.close()


def stated(catalog: Catalog) -> Any:
    return dict(get_inspection(catalog, "plates").settings)


def by_name(shown: list[ShownSetting]) -> dict[str, ShownSetting]:
    return {each.name: each for each in shown}


def test_nested_values_are_stated_beside_one_another_and_read_where_they_are_used(catalog: Catalog) -> None:
    change(catalog, "plates", Policy(), values={"learning.recall": 0.9, "auto_retrain": False})
    before, after = change(
        catalog, "plates", Policy(), values={"learning.recall_of.dent v1.5": 0.995, "gate.worthwhile": 0.2}
    )
    assert stated(catalog) == {
        "auto_retrain": False,
        "learning": {"recall": 0.9, "recall_of": {"dent v1.5": 0.995}},
        "gate": {"worthwhile": 0.2},
    }
    name = "learning.recall_of.dent v1.5"
    assert (by_name(before)[name].value, by_name(after)[name].value) == (None, 0.995)
    inspection = get_inspection(catalog, "plates")
    recall = goal_of(inspection, Policy()).recall
    assert recall is not None
    assert [recall.of(info) for info in inspection.classes[1:]] == [0.9, 0.995]
    assert GatePolicy.from_dict(gate_of(inspection, Policy())).worthwhile == 0.2
    assert not may_start_by_itself(inspection)


def test_what_is_unset_is_the_policys_again_and_leaves_no_empty_section(catalog: Catalog) -> None:
    change(catalog, "plates", POLICY, values={"learning.recall": 0.9, "learning.recall_of.crack": 0.99})
    shown = by_name(settings_of(get_inspection(catalog, "plates"), POLICY))
    assert (shown["learning.escape_cost"].value, shown["learning.measure"].value) == (None, "balanced_accuracy")
    change(catalog, "plates", POLICY, values={}, unset=["learning.recall_of.crack"])
    assert stated(catalog) == {"learning": {"recall": 0.9}}
    _, after = change(catalog, "plates", POLICY, values={"auto_promote": False}, unset=["learning"])
    assert stated(catalog) == {"auto_promote": False}
    held = by_name(after)
    assert (held["learning.escape_cost"].value, held["learning.escape_cost"].stated) == (50, False)
    assert (held["auto_promote"].value, held["auto_promote"].default) == (False, True)
    assert not promotes_by_itself(get_inspection(catalog, "plates"), POLICY)


@pytest.mark.parametrize(
    ("values", "unset", "message"),
    [
        ({"auto_promote": "yes"}, (), "plates: its setting auto_promote is 'yes'; expected true or false"),
        ({"variant": "int4"}, (), "plates: its setting variant is 'int4'; expected int8 or fp32"),
        ({"learning.recall": 2}, (), "plates: its setting learning recall = 2: expected a number from"),
        ({"learning.recall_of.crack": 0.9}, (), "states recall_of without recall"),
        ({"learning.escape_cost": 9, "learning.recall": 0.9}, (), "states costs and a recall"),
        ({"gate.field_margin": 3}, (), r"plates: \[gate\] field_margin = 3: expected a number from 0.001 to 0.5"),
        ({"learning.mesure": "f1"}, (), "no setting 'learning.mesure'; do you mean learning.measure?"),
        ({"worthwhile": 0.2}, (), "no setting 'worthwhile'; do you mean gate.worthwhile?"),
        ({"colour": 1}, (), "no setting 'colour'. `andon settings plates` lists all"),
        ({"learning": {"recall": 0.9}}, (), "no setting 'learning'"),
        ({"learning.recall_of.scratch": 0.9}, (), r"names 'scratch'; expected .* \['crack', 'dent v1.5'\]"),
        ({}, ["learning.recall"], "does not state 'learning.recall'.*: it states auto_retrain"),
    ],
)
def test_what_is_not_acceptable_is_refused_and_nothing_is_changed(
    catalog: Catalog, values: dict[str, Any], unset: list[str], message: str
) -> None:
    change_settings(catalog, "plates", {"auto_retrain": False})
    with pytest.raises(ConfigError, match=message):
        change(catalog, "plates", Policy(), values={"auto_promote": True, **values}, unset=unset)
    assert stated(catalog) == {"auto_retrain": False}


def test_what_somebody_else_keeps_there_is_shown_left_alone_and_can_be_taken_away(catalog: Catalog) -> None:
    change_settings(catalog, "plates", {"erp": {"plant": 7}})
    _, after = change(catalog, "plates", Policy(), values={"auto_promote": True})
    foreign = by_name(after)["erp.plant"]
    assert (foreign.value, foreign.meaning) == (7, "no setting of Andon's: kept for somebody else")
    change(catalog, "plates", Policy(), values={}, unset=["erp.plant"])
    assert stated(catalog) == {"auto_promote": True}


def test_the_table_has_every_key_of_the_gate_and_of_learning_with_the_default_that_holds(catalog: Catalog) -> None:
    shown = by_name(settings_of(get_inspection(catalog, "plates"), Policy()))
    assert {f"gate.{name}" for name in GatePolicy.__slots__} <= set(shown)
    keys = {key for key in MEANINGS if not key.endswith("_of")}
    assert {f"learning.{key}" for key in keys} <= set(shown)
    assert {"learning.recall_of.crack", "learning.escape_cost_of.dent v1.5"} <= set(shown)
    assert all(each.meaning and "\n" not in each.meaning for each in shown.values())
    defaults = {key: shown[f"learning.{key}"].default for key in keys}
    assert Goal.from_dict({k: v for k, v in defaults.items() if v is not None}, ()) == Goal()
    assert GatePolicy(**{name: shown[f"gate.{name}"].default for name in GatePolicy.__slots__}) == GatePolicy()
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


def test_a_number_has_bounds_and_a_default(catalog: Catalog) -> None:
    side = number("side", "pixels", 64, 1024, whole=True, default=lambda _: 224)
    inspection = get_inspection(catalog, "plates")
    assert side.of(inspection, Policy()) == 224
    for bad in (63, 320.5, True, "320"):
        found = change_settings(catalog, "plates", {"side": bad})
        with pytest.raises(ConfigError, match=r"its setting side is .*; expected a whole number from 64 to 1024"):
            side.of(found, Policy())
    assert side.of(change_settings(catalog, "plates", {"side": 320}), Policy()) == 320
    assert VARIANT.of(inspection, Policy()) is None
