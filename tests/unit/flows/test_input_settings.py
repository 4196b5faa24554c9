"""What an inspection's model looks at: its own setting before the policy's."""

from typing import Any

import pytest

from data.inspections import Inspection
from data.policy import Policy
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import ConfigError
from flows.idempotency import challenger_key
from flows.input_settings import input_of
from training.input_choice import DEFAULT_CHOICE, InputChoice

CLASSES = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))


def plates(**settings: Any) -> Inspection:
    return Inspection(name="plates", classes=CLASSES, settings=settings)


def test_an_inspections_own_values_replace_the_policys() -> None:
    policy = Policy.from_mapping({"input": {"side": 320, "tiles": "1x2"}})
    assert input_of(plates(), Policy()) == DEFAULT_CHOICE
    assert input_of(plates(), policy) == InputChoice(side=320, tiles=(1, 2))
    assert input_of(plates(input={"side": 160}), policy) == InputChoice(side=160, tiles=(1, 2))


def test_mistakes_are_told_with_the_place_where_they_are() -> None:
    with pytest.raises(ConfigError, match="inspection plates: its setting input: side = 7"):
        input_of(plates(input={"side": 7}), Policy())
    with pytest.raises(ConfigError, match="inspection plates: its setting input is 320; expected names with values"):
        input_of(plates(input=320), Policy())
    with pytest.raises(ConfigError, match=r"policy \[input\]: unknown key 'size'"):
        input_of(plates(), Policy(input={"size": 320}))


def test_a_retrain_by_another_choice_is_another_challenger_and_by_the_default_the_one_that_was() -> None:
    same: dict[str, Any] = {
        "inspection": "plates", "snapshot_id": "s", "seed": 0, "code": "c", "goal": "g", "sabotaged": False,
    }  # fmt: skip
    assert challenger_key(**same) == challenger_key(**same, looks_at="")
    assert challenger_key(**same) != challenger_key(**same, looks_at="efficientnet-lite0@320")
