from __future__ import annotations

import tomllib

import pytest

from edge_client.contract.errors import ConfigError
from training.gate_policy import GatePolicy


def test_an_unknown_key_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ConfigError, match=r"golden_margine: unknown key; known are .*golden_margin"):
        GatePolicy.from_dict({"golden_margine": 0.1})


@pytest.mark.parametrize(
    "values", [{"golden_margin": 2.0}, {"golden_margin": "small"}, {"require_better": 1}, {"resamples": 300.5}]
)
def test_a_value_of_the_wrong_type_or_range_is_refused_with_its_meaning(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"\[gate\] .*: expected"):
        GatePolicy.from_dict(values)


def test_the_described_section_is_the_default_when_its_comments_are_opened() -> None:
    text = GatePolicy.describe().replace("\n# ", "\n")
    assert GatePolicy.from_dict(tomllib.loads(text)["gate"]) == GatePolicy()
