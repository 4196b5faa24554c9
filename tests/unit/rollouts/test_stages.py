"""Stages as a plant writes them (rules of data/rollouts/stages.py)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.policy import Policy, RolloutPolicy
from data.rollouts.stages import parse_stages, reached, resolve
from edge_client.contract.errors import ConfigError
from edge_client.contract.releases import Cohort
from edge_client.contract.staging import DeviceFacts, takes
from tests.unit.rollouts.made import facts

WORDS = st.sampled_from(["5%", "30%", "2 devices", "site=a", "site=b 40%", "hardware=arm|x86 soak=2h", "device=d1"])


def test_a_line_of_stages_is_read_word_by_word() -> None:
    first, second, third = parse_stages("2 devices site=pilot|north, 12.5% soak=90m, approve 100%")
    assert (first.devices, first.cohort.sites) == (2, ("pilot", "north"))
    assert (second.cohort, second.soak_seconds) == (Cohort(percent=12.5), 5400.0)
    assert (third.approve, third.cohort) == (True, Cohort())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 to 32 stages"),
        ("10%", "last stage"),
        ("10%, 100% site=a", "last stage"),
        ("0%, 100%", "'0%'"),
        ("101%, 100%", "'101%'"),
        ("10% 20%, 100%", "'20%'"),
        ("soak=1h, 100%", "does not say who"),
        ("approve 10%, 100%", "first stage is to wait"),
        ("10% 3 devices, 100%", "a percentage and a number"),
        ("site=../x, 100%", "site name"),
        ("line=1, 100%", "'line=1'"),
        ("10%,, 100%", "does not say who"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_stages(text)


def test_the_policy_refuses_stages_and_words_that_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="last stage"):
        Policy.from_mapping({"rollout": {"stages": "10%"}})
    with pytest.raises(ConfigError, match="on_bad = 'panic'"):
        Policy.from_mapping({"rollout": {"on_bad": "panic"}})
    with pytest.raises(ConfigError, match="unknown key 'stage'"):
        Policy.from_mapping({"rollout": {"stage": "10%"}})
    assert Policy.from_mapping({"rollout": {"soak_minutes": 5}}).rollout.soak_minutes == 5.0
    assert parse_stages(RolloutPolicy().stages)[-1].cohort == Cohort()


@settings(max_examples=40)
@given(n=st.integers(1, 30), wanted=st.integers(1, 30), salt=st.text(max_size=5))
def test_a_stage_that_counts_devices_reaches_exactly_so_many_of_those_present(n: int, wanted: int, salt: str) -> None:
    present = facts(*(f"line-{i}" for i in range(n)))
    (stage, _) = resolve(parse_stages(f"{wanted} devices, 100%"), salt, present)
    assert sum(takes(stage.cohort, salt, each) for each in present) == min(n, wanted)


def test_a_stage_that_counts_devices_of_a_site_counts_no_others() -> None:
    present = facts("a1", "a2", "a3", site="a") + facts("b1", "b2", site="b")
    (stage, _) = resolve(parse_stages("1 device site=b, 100%"), "salt", present)
    taken = [each for each in present if takes(stage.cohort, "salt", each)]
    assert [each.site for each in taken] == ["b"]


@settings(max_examples=40)
@given(st.lists(WORDS, min_size=1, max_size=5), st.integers(0, 40))
def test_whoever_was_reached_stays_reached(words: list[str], i: int) -> None:
    stages = resolve(parse_stages(", ".join([*words, "100%"])), "salt", facts("d1", "d2", site="a"))
    device = DeviceFacts(device=f"d{i}", site="ab"[i % 2], hardware=["arm", "x86", "z"][i % 3])
    course = [any(takes(cohort, "salt", device) for cohort in reached(stages, stage)) for stage in range(len(stages))]
    assert course == sorted(course)
    assert course[-1]


def test_cohorts_that_a_wider_one_covers_are_not_signed_and_others_are() -> None:
    stages = parse_stages("site=a, 5%, hardware=arm 3%, 50%, 100%")
    assert reached(stages, 0) == (Cohort(sites=("a",)),)
    assert reached(stages, 2) == (Cohort(percent=5.0), Cohort(sites=("a",)))
    assert reached(stages, 3) == (Cohort(percent=50.0), Cohort(sites=("a",)))
    assert reached(stages, 4) == (Cohort(),)
