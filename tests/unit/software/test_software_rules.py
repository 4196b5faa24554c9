"""The rules of client software, fed with any order of events; the numbers are those in `rules.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.software import rules
from edge_client.software.rules import Environment, Limits, Phase, Place, SoftwareState, broken_rules

LIMITS = Limits()
RELEASES = [Environment(version=f"0.{i}", digest=f"{i}" * 8) for i in range(1, 5)]
EVENTS = ["offer", "start", "crash", "killed", "healthy", "confirm", "damage", "by hand", "forgive", "restart"]


def offered(state: SoftwareState, release: Environment, *, passes: bool = True, certain: bool = True) -> SoftwareState:
    """What the upgrader does about a release, as far as rules allow."""
    if state.phase is Phase.PROBATION or state.quarantined(release.digest) is not None:
        return state
    place = rules.held_at(state, release.digest)
    if place is not None:
        held = state.at(place)
        return rules.back_to(state, place) if held is not None and held.confirmed else state
    state, place = rules.build_begins(state)
    state = rules.check_begins(state, release.digest)
    if not passes:
        return rules.check_failed(state, release, "found wanting", certain=certain, limits=LIMITS)
    return rules.staged(state, place, release)


def launched(state: SoftwareState) -> SoftwareState:
    """What the launcher does at its start."""
    return rules.starting(rules.switched(state) if state.phase is Phase.STAGED else state, LIMITS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 3), st.booleans()), max_size=40))
def test_whatever_happens_there_is_a_client_to_start_and_no_rule_is_broken(
    events: list[tuple[str, int, bool]],
) -> None:
    state = SoftwareState()
    for event, which, flag in events:
        before = state
        if event == "offer":
            state = offered(state, RELEASES[which], passes=flag, certain=which % 2 == 0)
        elif event in ("start", "restart"):
            state = launched(state)
        elif event == "crash":
            state = rules.failed(state, "it crashed", certain=True)
        elif event == "killed":
            state = rules.failed(state, "it was killed", certain=False)
        elif event == "healthy":
            state = rules.healthy(state)
        elif event == "confirm":
            state = rules.confirmed(state)
        elif event == "damage":
            state = rules.place_damaged(state, list(Place)[which % 3], "its files are gone")
        elif event == "by hand":
            state = rules.left_by_hand(state)
        else:
            state = rules.forgiven(state, RELEASES[which].version)
        assert broken_rules(state) == [], (event, before, state)
        for digest, _, _ in before.quarantine:  # rule 5: only a person lets one out
            assert event == "forgive" or state.quarantined(digest) is not None


def test_a_good_release_is_confirmed_and_the_one_before_it_stays_to_go_back_to() -> None:
    state = rules.confirmed(launched(offered(SoftwareState(), RELEASES[0])))
    assert (state.phase, state.active, state.good) == (Phase.STEADY, Place.A, Place.A) or state.active is Place.B
    first = state.active
    state = launched(offered(state, RELEASES[1]))
    assert (state.phase, state.good) == (Phase.PROBATION, first)
    state = rules.confirmed(state)
    assert state.active is not first
    state = rules.left_by_hand(state)
    assert state.active is first
    assert state.quarantined(RELEASES[1].digest) is not None


def test_rule_5_the_first_fault_on_probation_ends_it() -> None:
    state = launched(offered(SoftwareState(), RELEASES[0]))
    state = rules.failed(state, "ended with code 3", certain=True)
    assert (state.active, state.phase) == (Place.BASE, Phase.STEADY)
    assert state.quarantined(RELEASES[0].digest) == "ended with code 3"
    assert offered(state, RELEASES[0]) == state


def test_rule_6_a_power_cut_on_probation_counts_the_third_time() -> None:
    state = launched(offered(SoftwareState(), RELEASES[0]))
    for _ in range(LIMITS.probation_starts - 1):
        state = launched(state)
        assert state.phase is Phase.PROBATION
    state = launched(state)
    assert state.active is Place.BASE
    assert "3 starts in a row ended early" in str(state.quarantined(RELEASES[0].digest))


def test_rule_6_a_self_check_without_a_verdict_is_made_again_and_counts_the_third_time() -> None:
    state = SoftwareState()
    for attempt in range(1, LIMITS.attempts + 1):
        state = offered(state, RELEASES[0], passes=False, certain=False)
        assert (state.quarantined(RELEASES[0].digest) is not None) == (attempt == LIMITS.attempts)


def test_rule_7_a_confirmed_release_that_never_gets_going_is_left_for_the_base() -> None:
    state = rules.confirmed(launched(offered(SoftwareState(), RELEASES[0])))
    for _ in range(LIMITS.service_starts):
        state = rules.failed(launched(state), "ended with code 1", certain=True)
        assert state.active is not Place.BASE
    assert launched(state).active is Place.BASE


def test_the_base_is_never_left() -> None:
    state = SoftwareState()
    for _ in range(20):
        state = rules.failed(launched(state), "ended with code 1", certain=True)
    assert state.active is Place.BASE
    assert state.quarantine == ()


def test_rule_3_nothing_is_built_while_a_release_is_on_probation() -> None:
    state = launched(offered(SoftwareState(), RELEASES[0]))
    with pytest.raises(AssertionError, match="rule 3"):
        rules.build_begins(state)


def test_an_environment_whose_files_are_gone_is_left_without_blame() -> None:
    state = rules.confirmed(launched(offered(SoftwareState(), RELEASES[0])))
    state = rules.place_damaged(state, state.active, "gone")
    assert (state.active, state.quarantine) == (Place.BASE, ())


def test_rule_4_what_is_not_staged_is_not_switched_to() -> None:
    with pytest.raises(AssertionError, match="rule 4"):
        rules.switched(replace(SoftwareState(), a=RELEASES[0]))
