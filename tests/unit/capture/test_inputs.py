"""What the application gives beside a frame: taken when it can be stored, refused by name when it cannot."""

import math
from typing import Any

import pytest

from edge_client.contract.errors import BadImage
from edge_client.inputs import check_context, check_parts


def test_part_ids_are_one_for_each_frame() -> None:
    assert check_parts(None, 2) == [None, None]
    assert check_parts("A-1", 2) == ["A-1", "A-1"]
    assert check_parts(("A-1", None), 2) == ["A-1", None]


@pytest.mark.parametrize("part", [5, 0.5, ["A", 5], "x" * 257, "\udcff", ["A"], {}])
def test_a_part_id_that_could_not_be_stored_is_refused(part: Any) -> None:
    with pytest.raises(BadImage, match="part id"):
        check_parts(part, 2)


def test_large_whole_numbers_are_process_values() -> None:
    told = {"serial": 10**25, "humidity": 0.4, "recipe": "B"}
    assert check_context(told) == told


@pytest.mark.parametrize(
    "value", [pytest.param(10**400, id="400 digits"), math.nan, math.inf, True, None, [], "x" * 1025, "\ud800"]
)
def test_a_process_value_that_could_not_be_stored_is_refused(value: Any) -> None:
    with pytest.raises(BadImage, match="context"):
        check_context({"a": value})


@pytest.mark.parametrize("name", [5, "x" * 129, "\udcff"])
def test_a_name_of_a_process_value_that_could_not_be_stored_is_refused(name: Any) -> None:
    with pytest.raises(BadImage, match="context"):
        check_context({name: 1.0})
