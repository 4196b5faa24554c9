"""What a model looks at, as a value: read, written, refused."""

import doctest
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import training.input_choice
from edge_client.contract.errors import ConfigError
from training.input_choice import DEFAULT_CHOICE, InputChoice
from training.trunk import choice_facts, file_name

edges = st.integers(0, 1000).map(lambda mille: mille / 1000)
sides = st.tuples(edges, edges).map(sorted).filter(lambda pair: pair[1] - pair[0] >= 0.02)


@st.composite
def choices(draw: st.DrawFn) -> InputChoice:
    (left, right), (top, bottom) = draw(sides), draw(sides)
    tiles = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return InputChoice(
        backbone=draw(st.sampled_from(["efficientnet-lite0", "efficientnet-lite2", "plant.nets:Small"])),
        side=draw(st.integers(32, 1024)),
        region=(left, top, right, bottom),
        tiles=tiles,
        overlap=draw(st.sampled_from([0.0, 0.1, 0.25, 0.5])) if tiles != (1, 1) else 0.0,
        views=draw(st.sampled_from([1, 2])),
    )


@settings(max_examples=50)
@given(choice=choices())
def test_a_choice_is_read_as_it_was_written(choice: InputChoice) -> None:
    assert InputChoice.parse(str(choice)) == choice
    assert InputChoice.from_dict(choice.to_dict()) == choice


@settings(max_examples=50)
@given(one=choices(), other=choices())
def test_two_choices_never_share_a_file(one: InputChoice, other: InputChoice) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
    assert "/" not in file_name(one)


def test_the_default_is_kept_under_its_old_name_and_adds_nothing_to_the_file() -> None:
    assert file_name(DEFAULT_CHOICE) == "efficientnet-lite0-224-r2.onnx"
    assert choice_facts(DEFAULT_CHOICE) == {}
    assert choice_facts(InputChoice(side=320)) == {}  # `input_size` says it already
    assert choice_facts(InputChoice(tiles=(2, 2))) == {"tiles": (2, 2)}


def test_a_policy_may_write_lists_as_text() -> None:
    read = InputChoice.from_dict({"tiles": "2x3", "region": "0.1,0,0.9,1", "overlap": 0.25})
    assert (read.tiles, read.region) == ((2, 3), (0.1, 0.0, 0.9, 1.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sides": 224}, "unknown key 'sides'; known are"),
        ({"side": 16}, "side = 16: expected pixels from 32 to 1024"),
        ({"side": True}, "side = True"),
        ({"side": 224.0}, "side = 224.0"),
        ({"backbone": ""}, "backbone = ''"),
        ({"backbone": "../nets"}, "expected a name such as"),
        ({"region": [0.5, 0, 0.4, 1]}, "it is -0.1 wide and 1 high"),
        ({"region": [0, 0, 1]}, "expected left, top, right, bottom"),
        ({"region": [0, 0, 1, float("nan")]}, "region = "),
        ({"region": "a,b,c,d"}, "region = 'a': expected a number"),
        ({"region": 7}, "region = 7: expected numbers"),
        ({"tiles": [0, 2]}, "expected rows and columns"),
        ({"tiles": "2x1.5"}, "expected rows and columns"),
        ({"tiles": [5, 5]}, "25 tiles a frame; expected at most 16"),
        ({"tiles": [2, 2], "overlap": 0.6}, "overlap = 0.6"),
        ({"overlap": 0.2}, "with one tile"),
        ({"views": 0}, "views = 0: expected 1 (the frame as it is) or 2 (also turned by half)"),
        ({"views": 4}, "views = 4"),
        ({"views": True}, "views = True"),
    ],
)
def test_what_is_no_choice_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        InputChoice.from_dict(values, where="policy [input]")
    assert message in str(refused.value)
    assert str(refused.value).startswith("policy [input]")


@pytest.mark.parametrize(
    "text",
    ["", "lite", "lite@", "lite@224/2", "lite@224/2x2x2", "lite@224/region=1", "a@224/overlap=x", "a@224/views=x"],
)
def test_a_text_that_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="input"):
        InputChoice.parse(text)


def test_the_examples_in_the_docstrings_hold() -> None:
    tried = doctest.testmod(training.input_choice)
    assert (tried.attempted > 0, tried.failed) == (True, 0)
