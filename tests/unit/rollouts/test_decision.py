"""What follows from what devices tell (rules of flows/rollouts/decision.py), how it begins, and what is signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.policy import RolloutPolicy
from data.rollouts.acts import ACTS, possible
from data.rollouts.records import DEFECT, Record, Sums
from data.rollouts.values import OPEN, Rollout, RolloutError, State
from edge_client.contract.releases import Channel
from edge_client.contract.staging import is_staged
from flows.rollouts.begin import additions, begin, is_reached
from flows.rollouts.decision import Evidence, bad_because, decide, weigh
from flows.rollouts.document import base_of, document_of
from tests.unit.rollouts.made import AT, BASE, NEW, control, facts, named, rollout, staged

POLICY = RolloutPolicy(min_frames=500)
LATER = AT + timedelta(hours=1)


def judged(now: Rollout, records: dict[str, Record], *, minutes: float = 0, **policy: Any) -> Rollout:
    rules = replace(POLICY, **policy)
    at = AT + timedelta(minutes=minutes)
    return decide(now, weigh(records, rules), rules, at, adds=dict.fromkeys(range(10), 1))


GOOD = {"d1": staged(), "d2": staged(), "c1": control(), "c2": control()}


def test_a_stage_that_ran_well_for_its_soak_time_is_followed_by_the_next_one() -> None:
    ready = judged(rollout(), GOOD)
    assert (ready.stage, ready.ready_at, ready.revision) == (0, AT, 1)
    assert "soaks until 2026-11-01 00:30" in ready.reason
    assert judged(ready, GOOD, minutes=29).stage == 0
    gone = judged(ready, GOOD, minutes=30)
    assert (gone.stage, gone.ready_at, gone.revision, gone.state) == (1, None, 2, State.RUNNING)
    assert judged(replace(ready, stage=2), GOOD, minutes=30).state is State.DONE


def test_a_stage_has_its_own_soak_time_or_waits_for_a_person() -> None:
    long = judged(rollout("10% soak=2h, 50%, 100%"), GOOD)
    assert judged(long, GOOD, minutes=119).stage == 0
    assert judged(long, GOOD, minutes=120).stage == 1
    asks = judged(rollout("10% soak=0s, approve 50%, 100%"), GOOD)
    assert (asks.state, asks.stage) == (State.HELD, 0)
    assert "andon rollout cells advance" in asks.reason
    assert judged(asks, GOOD, minutes=600) == replace(asks, evidence=weigh(GOOD, POLICY).to_dict())
    assert ACTS["advance"](asks, "ann", "", LATER).stage == 1


def test_a_stage_that_reaches_nobody_is_passed_by() -> None:
    ready = replace(rollout("10% soak=0s, 11%, 12%, 100%"), ready_at=AT)
    evidence = weigh(GOOD, POLICY)
    assert decide(ready, evidence, POLICY, AT, adds={1: 0, 2: 3, 3: 9}).stage == 2
    assert decide(ready, evidence, POLICY, AT, adds={}).stage == 3


def test_silent_devices_are_waited_for_if_they_were_heard_of_and_not_else() -> None:
    fell_silent = {**GOOD, "d3": staged(outcome="waiting")}
    assert "3 needed" in judged(rollout(), fell_silent).reason
    switched_off = {**GOOD, "d3": staged(outcome="waiting", present=False)}
    assert judged(rollout(), switched_off).ready_at == AT
    assert "1 not waited for" in judged(rollout(), switched_off).reason
    nobody = judged(rollout(), {"d1": Record(joined=0)})
    assert (nobody.stage, nobody.ready_at) == (0, None)
    assert "no device of the stage was heard of" in nobody.reason


@pytest.mark.parametrize(("on_bad", "state"), [("revert", State.REVERTED), ("halt", State.HALTED)])
def test_a_quarantine_at_the_canary_stops_the_rollout_as_the_policy_says(on_bad: str, state: State) -> None:
    records = {"d1": staged(outcome="quarantined", reason="NaN on dark frames"), "c1": control()}
    stopped = judged(rollout(), records, on_bad=on_bad)
    assert stopped.state is state
    assert "d1: NaN on dark frames" in stopped.reason
    held = replace(rollout(), state=State.HELD)
    assert judged(held, records, on_bad=on_bad).state is state
    halted = replace(rollout(), state=State.HALTED)
    assert judged(halted, records).state is State.HALTED


def test_of_many_devices_some_may_fail() -> None:
    assert bad_because(Evidence(confirmed=99, quarantined={"d1": "disk"}), POLICY) == ""
    assert bad_because(Evidence(confirmed=48, quarantined={"d1": "disk"}), POLICY)
    assert "3 of 100 devices" in bad_because(Evidence(confirmed=97, quarantined=dict.fromkeys("abc", "x")), POLICY)


@pytest.mark.parametrize(
    "harm",
    [
        {"after": staged(0.5).after},
        {"p99_after": (40.0,) * 5},
    ],
)
def test_harm_against_the_controls_stops_it(harm: dict[str, Any]) -> None:
    records = {"d1": staged(**harm), "c1": control(), "c2": control()}
    assert judged(rollout(), records).state is State.REVERTED


def test_what_is_unclear_prolongs_the_soak_time() -> None:
    near = staged(after=Sums().plus(600, {DEFECT: 150.0}), earlier=Sums().plus(600, {DEFECT: 60.0}))
    waits = judged(replace(rollout(), ready_at=AT), {"d1": near}, minutes=600)
    assert (waits.stage, waits.state) == (0, State.RUNNING)
    assert waits.reason.startswith("more evidence is needed: share of defects")


def test_small_fleets_first_versions_and_rollbacks_are_served_at_once() -> None:
    def begun(n: int, **changes: Any) -> Rollout:
        names = [f"d{i}" for i in range(n)]
        values: dict[str, Any] = {
            "inspection": "cells",
            "channel": "stable",
            "version": "2",
            "engines": (named("e2", NEW),),
            "base_version": "1",
            "base": (named("e1", BASE),),
            "devices": facts(*names),
            "present": set(names),
            "served_before": {"1"},
            "policy": POLICY,
            "who": "ann",
            "now": AT,
        }
        return begin(**{**values, **changes})

    assert (begun(4).state, begun(4).reason) == (
        State.DONE,
        "all at once: 4 devices follow the channel, stages begin at 5",
    )
    staged_one = begun(5)
    assert (staged_one.state, staged_one.stage) == (State.RUNNING, 0)
    assert sum(is_reached(staged_one, 0, each) for each in facts(*(f"d{i}" for i in range(5)))) == 1
    assert begun(50, base=(), base_version="").done
    assert begun(50, policy=replace(POLICY, stages="100%")).reason == "all at once, by policy"
    assert begun(50, engines=(named("e1", BASE),)).done
    assert begun(50, version="1", base_version="2", served_before={"1", "2"}).reason == "a rollback from version 2"
    assert not begun(50, version="1", base_version="2", served_before={"2"}).done
    assert begun(50, present=()).state is State.RUNNING
    nobody_there = begun(50, policy=replace(POLICY, stages="site=moon, 10%, 100%"))
    assert nobody_there.stage == 1


def test_what_is_signed_follows_from_the_rollout_alone() -> None:
    now = rollout("10%, 50%, 100%", stage=1)
    document = document_of(now, AT)
    assert Channel.from_json(document.to_json()) == document
    assert document.staged is not None
    assert [c.percent for c in document.staged.cohorts] == [50.0]
    assert (document.version, document.staged.version) == ("1", "2")
    for state, version in ((State.REVERTED, "1"), (State.SUPERSEDED, "1"), (State.DONE, "2")):
        ended = document_of(replace(now, state=state), AT)
        assert (ended.version, ended.staged) == (version, None)
    assert [e.engine_id for e in document_of(replace(now, state=State.DONE), AT).engines()] == ["e2", "e2-fp32"]
    assert base_of(replace(now, base=(), base_version="")) == ("2", now.engines)


@settings(max_examples=60)
@given(
    acts=st.lists(st.sampled_from([*ACTS, "look good", "look bad"]), max_size=12),
    n=st.integers(1, 12),
)
def test_whatever_happens_a_device_that_was_staged_stays_so_until_the_rollout_is_taken_back(
    acts: list[str], n: int
) -> None:
    devices = facts(*(f"d{i}" for i in range(n)))
    now, at = rollout("10% soak=0s, 50% soak=0s, 100% soak=0s"), AT
    for what in acts:
        before = {each.device for each in devices if is_staged(document_of(now, AT), each)}
        at += timedelta(minutes=1)
        if what in ACTS:
            if what not in possible(now):
                with pytest.raises(RolloutError, match="so it cannot"):
                    ACTS[what](now, "ann", "", at)
                continue
            after = ACTS[what](now, "ann", "", at)
        elif now.open:
            records = GOOD if what == "look good" else {"d1": staged(outcome="quarantined")}
            after = decide(now, weigh(records, POLICY), POLICY, at, adds=additions(now, devices))
        else:
            continue
        reached = {each.device for each in devices if is_staged(document_of(after, AT), each)}
        if after.open and now.open:
            assert before <= reached
            assert after.revision >= now.revision
        if after.state not in OPEN:
            assert not reached
        now = after
