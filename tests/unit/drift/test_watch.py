"""A device's pictures watched: quiet while nothing drifts, told soon and by name when something does."""

from __future__ import annotations

import numpy as np
import pytest

from data.drift.causes import name_cause
from data.drift.finding import Cause
from data.drift.pictures import least_chance
from data.drift.reference import BETS, Reference, ReferenceTooSmall, reference_of
from data.drift.stored import pack_pictures, pack_rates, unpack_pictures, unpack_rates
from data.drift.watch import BET_SHARES, WatchState, begin, see
from tests.unit.drift.line import WINDOWS_A_DAY, Line, joined

ALLOWED = 1.0
OUTSIDE = ALLOWED / 2 / 365 / len(BETS)
BUDGET = ALLOWED / 2 / 365 / WINDOWS_A_DAY


def learnt(line: Line, days: int = 14) -> Reference:
    return reference_of(joined(list(line.windows(days))), outside=OUTSIDE)


def watched(reference: Reference, windows, state: WatchState | None = None) -> tuple[int, WatchState]:  # type: ignore[no-untyped-def]
    """Windows until an alarm (-1: none), and the state then."""
    state = state or begin(reference)
    for number, window in enumerate(windows):
        state = see(reference, state, window, budget=BUDGET, at=float(number))
        if state.total >= 1:
            return number, state
    return -1, state


@pytest.fixture(scope="module")
def usual() -> tuple[Reference, WatchState, Line]:
    line = Line(1)
    reference = learnt(line)
    number, state = watched(reference, line.windows(4))
    assert number == -1
    return reference, state, line


def test_a_quiet_line_is_quiet(usual: tuple[Reference, WatchState, Line]) -> None:
    line = Line(2)
    assert watched(learnt(line), line.windows(90))[0] == -1  # one alarm in two years is allowed


@pytest.mark.parametrize(
    ("change", "cause", "words", "within"),
    [
        ({"light": 2.0}, Cause.LIGHT, "images are brighter by", 2 * WINDOWS_A_DAY),
        ({"light": -2.0}, Cause.LIGHT, "images are darker by", 2 * WINDOWS_A_DAY),
        ({"blur": 2.0}, Cause.BLUR, "of the fine detail is gone", 2 * WINDOWS_A_DAY),
        ({"new": 8.0}, Cause.NEW, "something new", 4),
        ({"dirt": 4.0}, Cause.DIRT, "a dark spot stays at the top left of the image", 2 * WINDOWS_A_DAY),
    ],
)
def test_a_change_is_told_soon_and_by_its_name(
    usual: tuple[Reference, WatchState, Line], change: dict[str, float], cause: Cause, words: str, within: int
) -> None:
    reference, state, line = usual
    number, after = watched(reference, line.windows(4, **change), state)
    assert 0 <= number < within
    found = name_cause(reference, after)
    assert (found.cause, words in found.words) == (cause, True)
    assert found.figures["spot_ninth"] in range(9)
    if cause is Cause.DIRT:
        assert (found.figures["spot_ninth"], found.figures["spot_sd"] < 0) == (0, True)


def test_a_shift_inside_the_reference_is_found_by_its_direction(usual: tuple[Reference, WatchState, Line]) -> None:
    reference, state, line = usual
    number, after = watched(reference, line.windows(10, new=1.5), state)
    assert number >= 0
    assert after.by_name()["direction"] > 0.5


def test_a_change_is_dated_to_the_window_in_which_it_began() -> None:
    line = Line(9)
    reference = learnt(line)
    windows = [*line.windows(2), *line.windows(2, new=8.0)]
    number, state = watched(reference, windows)
    assert number >= 2 * WINDOWS_A_DAY
    assert state.began_at[state.leading] == pytest.approx(2 * WINDOWS_A_DAY, abs=2)


def test_a_window_without_samples_changes_the_budget_alone(usual: tuple[Reference, WatchState, Line]) -> None:
    reference, state, _ = usual
    after = see(reference, state, None, budget=0.5, at=0.0)
    assert after.total == pytest.approx(state.total + 0.25)
    assert after.unspent == pytest.approx(state.unspent + 0.5)  # the near bets get it in the morning
    assert after.captured == state.captured


def test_the_causes_share_the_whole_budget() -> None:
    assert BET_SHARES.sum() == pytest.approx(0.5)  # for either edge


@pytest.mark.parametrize(("days", "message"), [(4, "of 4 days"), (1, "of 1 days")])
def test_too_short_a_reference_is_refused(days: int, message: str) -> None:
    with pytest.raises(ReferenceTooSmall, match=message):
        learnt(Line(3), days)


def test_a_watch_that_was_stored_goes_on_where_it_was(usual: tuple[Reference, WatchState, Line]) -> None:
    reference, state, line = usual
    stored = unpack_pictures(pack_pictures(reference, state))
    assert stored is not None
    window = next(iter(line.windows(1)))
    one = see(reference, state, window, budget=BUDGET, at=0.0)
    two = see(*stored, window, budget=BUDGET, at=0.0)
    assert two.evidence == pytest.approx(one.evidence, rel=0.05)
    assert (unpack_pictures(b"nonsense"), unpack_rates(b"nonsense")) == (None, None)


def test_the_least_chance_is_that_of_the_audit_share() -> None:
    assert least_chance([0.2, 1.0], [1.0, 9.0], [None, 9.0], 5.0) == pytest.approx(0.2)
    assert least_chance([0.2, 1.0], [1.0, 9.0], [0.25, 0.5], 5.0) == pytest.approx(0.05)
    assert least_chance([1.0], [3.0], [0.1], 0.0) == 1.0


def test_rates_are_stored_too() -> None:
    from data.drift.rates import RateState
    from tests.unit.drift.test_rates import made

    reference = made(np.random.default_rng(0))
    stored = unpack_rates(pack_rates(reference, RateState.new(reference)))
    assert stored is not None
    assert (stored[0].names, stored[0].limit) == (reference.names, reference.limit)
    assert stored[1].cusum.tolist() == [[0.0, 0.0], [0.0, 0.0]]
