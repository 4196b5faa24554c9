"""The update rules, by their numbers in `rules.py`, and as a machine that no order of events brings into a forbidden
state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_client.updates import rules
from edge_client.updates.invariants import broken_rules
from edge_client.updates.rules import Installed, Limits, Outcome, Phase, Place, Step, Target, UpdateState

FACTORY = "f" * 64
LIMITS = Limits()


def target(name: str) -> Target:
    return Target(engine_sha256=name * 64 if len(name) == 1 else name, engine_id=f"e{name}", version="1")


def offer(state: UpdateState, name: str, denied: tuple[str, ...] = ()) -> tuple[UpdateState, Step]:
    return rules.offered(state, target(name), factory_sha256=FACTORY, denied=denied)


def staged(state: UpdateState, name: str) -> UpdateState:
    state, step = offer(state, name)
    assert step is Step.DOWNLOAD
    state, place = rules.download_begins(state)
    wanted = target(name)
    return rules.downloaded(state, place, Installed(engine_sha256=wanted.engine_sha256, engine_id=wanted.engine_id))


def on_probation(state: UpdateState, name: str) -> UpdateState:
    return rules.trial_passed(rules.trial_begins(staged(state, name)))


def running(*names: str) -> UpdateState:
    state = UpdateState()
    for name in names:
        state = rules.confirmed(on_probation(state, name))
    return state


def test_a_release_goes_from_download_over_trial_and_probation_to_confirmed() -> None:
    state, step = offer(UpdateState(), "1")
    assert (step, state.target.outcome) == (Step.DOWNLOAD, Outcome.TRIAL)
    state = staged(UpdateState(), "1")
    assert (state.phase, state.active) == (Phase.STAGED, Place.FACTORY)
    assert offer(state, "1")[1] is Step.TRY
    state = rules.trial_passed(rules.trial_begins(state))
    assert (state.phase, state.good, state.active) == (Phase.PROBATION, Place.FACTORY, Place.A)
    assert offer(state, "1")[1] is Step.NOTHING
    state = rules.confirmed(state)
    assert (state.phase, state.active, state.good) == (Phase.STEADY, Place.A, Place.A)
    assert state.target.outcome is Outcome.CONFIRMED
    assert offer(state, "1") == (state, Step.NOTHING)


def test_rule_3_a_download_never_touches_the_engine_in_service_or_the_last_good_one() -> None:
    state = running("1")
    assert rules.download_begins(state)[1] is Place.B
    state = running("1", "2")
    assert (state.active, rules.download_begins(state)[1]) == (Place.B, Place.A)


def test_rule_5_an_engine_that_failed_its_trial_is_not_tried_again() -> None:
    state = rules.trial_failed(rules.trial_begins(staged(running("1"), "2")), "wrong", certain=True, limits=LIMITS)
    assert (state.phase, state.active, state.at(Place.B)) == (Phase.STEADY, Place.A, None)
    assert (state.target.outcome, state.quarantined("2" * 64)) == (Outcome.QUARANTINED, "wrong")
    assert offer(state, "2")[1] is Step.REFUSE


def test_rule_6_a_trial_that_was_killed_counts_as_the_engines_fault_only_the_third_time() -> None:
    state = staged(running("1"), "2")
    for _ in range(LIMITS.trial_attempts - 1):
        state = rules.trial_failed(rules.trial_begins(state), "killed", certain=False, limits=LIMITS)
        assert (state.quarantine, offer(state, "2")[1]) == ((), Step.TRY)
    state = rules.trial_failed(rules.trial_begins(state), "killed", certain=False, limits=LIMITS)
    assert state.quarantined("2" * 64) == "killed"


def test_rule_6_a_failed_download_is_tried_again_and_quarantines_nothing() -> None:
    state = rules.download_failed(rules.download_begins(offer(running("1"), "2")[0])[0], "no network")
    assert (state.quarantine, state.target.outcome, state.target.reason) == ((), Outcome.FAILED, "no network")
    assert offer(state, "2")[1] is Step.DOWNLOAD


def test_rule_7_a_failed_probation_goes_back_to_the_last_good_engine() -> None:
    state = rules.engine_failed(on_probation(running("1"), "2"), "NaN")
    assert (state.phase, state.active, state.good) == (Phase.STEADY, Place.A, Place.A)
    assert (state.target.outcome, state.target.reason) == (Outcome.QUARANTINED, "NaN")


def test_rule_8_an_operators_rollback_to_an_engine_that_is_held_is_taken_at_once() -> None:
    state, step = offer(running("1", "2"), "1")
    assert (step, state.active, state.good, state.target.outcome) == (Step.SWITCH, Place.A, Place.A, Outcome.CONFIRMED)
    state, step = rules.offered(state, replace(target("f"), engine_sha256=FACTORY), factory_sha256=FACTORY)
    assert (step, state.active) == (Step.SWITCH, Place.FACTORY)


def test_rule_9_a_newer_release_replaces_one_on_probation_without_quarantine() -> None:
    state, step = offer(on_probation(running("1"), "2"), "3")
    assert (step, state.active, state.phase, state.quarantine) == (Step.DOWNLOAD, Place.A, Phase.STEADY, ())
    state, step = offer(on_probation(running("1"), "2"), "1")
    assert (step, state.active, state.phase, state.quarantine) == (Step.SWITCH, Place.A, Phase.STEADY, ())


def test_rule_9_a_newer_release_replaces_one_that_waits_for_its_trial() -> None:
    state, step = offer(staged(running("1"), "2"), "3")
    assert (step, state.phase, state.at(Place.B)) == (Step.DOWNLOAD, Phase.STEADY, None)


def test_rule_10_a_denied_engine_is_left_for_the_other_confirmed_one_then_for_the_factory() -> None:
    state = running("1", "2")
    assert rules.active_denied(state, ["2" * 64]).active is Place.A
    assert rules.active_denied(state, ["1" * 64, "2" * 64]).active is Place.FACTORY
    assert rules.active_denied(UpdateState(), [FACTORY]).active is Place.FACTORY
    assert offer(state, "3", denied=("3" * 64,))[1] is Step.REFUSE


def test_rule_11_a_crash_loop_on_probation_goes_back_to_the_last_good_engine() -> None:
    state = on_probation(running("1"), "2")
    for _ in range(LIMITS.probation_starts):
        state = rules.started(state, LIMITS)
        assert state.active is Place.B
    state = rules.started(state, LIMITS)
    assert (state.active, state.phase) == (Place.A, Phase.STEADY)
    assert "crash loop" in (state.quarantined("2" * 64) or "")


def test_rule_11_a_crash_loop_of_a_confirmed_engine_ends_at_the_factory_engine() -> None:
    state = running("1")
    for _ in range(LIMITS.service_starts + 1):
        state = rules.started(state, LIMITS)
    assert (state.active, state.good, state.starts) == (Place.FACTORY, Place.FACTORY, 1)
    for _ in range(20):
        state = rules.started(state, LIMITS)  # nothing to fall back to: it stays
    assert state.active is Place.FACTORY


def test_rule_11_a_start_that_served_is_no_part_of_a_crash_loop() -> None:
    state = running("1")
    for _ in range(50):
        state = rules.healthy(rules.started(state, LIMITS))
    assert state.active is Place.A


def test_rule_12_a_damaged_slot_is_emptied_without_quarantine() -> None:
    state = rules.slot_damaged(running("1", "2"), Place.B)
    assert (state.active, state.b, state.quarantine) == (Place.A, None, ())
    state = rules.slot_damaged(on_probation(running("1"), "2"), Place.A)
    assert (state.active, state.good, state.phase) == (Place.B, Place.FACTORY, Phase.PROBATION)


def test_a_person_can_forgive_a_quarantined_engine() -> None:
    state = rules.engine_failed(on_probation(running("1"), "2"), "power cuts")
    assert offer(rules.forgiven(state, "2" * 64), "2")[1] is Step.DOWNLOAD


def test_rule_13_a_quarantine_ends_by_signed_time_from_the_first_that_is_seen_after_the_failure() -> None:
    noon, days = datetime(2026, 6, 1, 12, tzinfo=UTC), timedelta(days=LIMITS.quarantine_days)
    state = rules.engine_failed(on_probation(running("1"), "2"), "too hot")
    state = rules.quarantines_aged(state, noon, LIMITS)
    state = rules.quarantines_aged(state, noon + days - timedelta(seconds=1), LIMITS)
    assert offer(state, "2")[1] is Step.REFUSE
    state = rules.quarantines_aged(state, noon + days, LIMITS)
    assert (state.quarantine, state.quarantine_ends, offer(state, "2")[1]) == ((), (), Step.DOWNLOAD)


def test_rule_13_an_engine_that_fails_again_stays_as_long_again() -> None:
    noon, days = datetime(2026, 6, 1, 12, tzinfo=UTC), timedelta(days=LIMITS.quarantine_days)
    state = rules.quarantines_aged(rules.engine_failed(on_probation(running("1"), "2"), "NaN"), noon, LIMITS)
    state = rules.quarantines_aged(state, noon + days, LIMITS)
    state = rules.quarantines_aged(rules.engine_failed(on_probation(state, "2"), "NaN"), noon + days, LIMITS)
    assert rules.quarantines_aged(state, noon + 2 * days - timedelta(seconds=1), LIMITS).quarantined("2" * 64) == "NaN"


class Device(RuleBasedStateMachine):
    """Any order of releases, failures, crashes, denials and damage."""

    def __init__(self) -> None:
        super().__init__()
        self.state = UpdateState()
        self.limits = Limits(probation_starts=2, service_starts=3)
        self.signed = datetime(2026, 6, 1, tzinfo=UTC)

    names = st.sampled_from(["1", "2", "3", "4", "f"])
    places = st.sampled_from([Place.A, Place.B])

    @rule(name=names, denied=st.lists(names, max_size=2))
    def channel_names(self, name: str, denied: list[str]) -> None:
        before = self.state
        self.state, step = offer(self.state, name, tuple(d * 64 for d in denied))
        assert set(before.quarantine) <= set(self.state.quarantine)
        if step is Step.DOWNLOAD:
            assert self.state.quarantined(name * 64) is None

    @rule(name=names, arrives=st.booleans())
    def a_download(self, name: str, arrives: bool) -> None:
        self.state, step = offer(self.state, name)
        if step is not Step.DOWNLOAD:
            return
        serving, good = self.state.active, self.state.good
        self.state, place = rules.download_begins(self.state)
        assert place not in (serving, good)
        if arrives:
            held = Installed(engine_sha256=name * 64, engine_id=f"e{name}")
            self.state = rules.downloaded(self.state, place, held)
        else:
            quarantine = self.state.quarantine
            self.state = rules.download_failed(self.state, "network")
            assert self.state.quarantine == quarantine

    @precondition(lambda self: self.state.phase is Phase.STAGED)
    @rule(passes=st.booleans(), certain=st.booleans())
    def a_trial(self, passes: bool, certain: bool) -> None:
        self.state = rules.trial_begins(self.state)
        if passes:
            self.state = rules.trial_passed(self.state)
        else:
            self.state = rules.trial_failed(self.state, "trial", certain=certain, limits=self.limits)

    @precondition(lambda self: self.state.phase is Phase.STAGED)
    @rule()
    def a_trial_that_a_power_cut_ends(self) -> None:
        self.state = rules.started(rules.trial_begins(self.state), self.limits)

    @rule()
    def probation_passes(self) -> None:
        self.state = rules.confirmed(self.state)

    @rule()
    def the_engine_fails(self) -> None:
        self.state = rules.engine_failed(self.state, "failed")

    @rule(place=places)
    def a_file_is_damaged(self, place: Place) -> None:
        quarantine = self.state.quarantine
        self.state = rules.slot_damaged(self.state, place)
        assert self.state.quarantine == quarantine

    @rule()
    def a_start(self) -> None:
        self.state = rules.started(self.state, self.limits)

    @rule()
    def it_serves(self) -> None:
        self.state = rules.healthy(self.state)

    @rule(denied=st.lists(names, max_size=5))
    def settings_deny(self, denied: list[str]) -> None:
        digests = [d * 64 for d in denied]
        self.state = rules.active_denied(self.state, digests)
        held = self.state.at(self.state.active)
        assert held is None or held.engine_sha256 not in digests

    @rule(name=names)
    def a_person_forgives(self, name: str) -> None:
        self.state = rules.forgiven(self.state, name * 64)

    @rule(days=st.floats(0, 60))
    def the_cloud_signs_a_time(self, days: float) -> None:
        self.state = rules.quarantines_aged(self.state, self.signed + timedelta(days=days), self.limits)
        assert {d for d, _ in self.state.quarantine_ends} == {d for d, _ in self.state.quarantine}

    @invariant()
    def no_rule_is_broken(self) -> None:
        assert broken_rules(self.state) == []


Device.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestDevice = Device.TestCase
