"""CUSUM on counts: dispersion, average run length, and changes found."""

from __future__ import annotations

import numpy as np
import pytest

from data.drift.rates import (
    RateReference,
    RateState,
    WindowCounts,
    counts_of,
    log_ratio,
    rate_finding,
    rate_reference_of,
    step,
)

N = 500


def days(rng: np.random.Generator, first: int, count: int, rate: float, *, run: int = 1, day_sd: float = 0.0):  # type: ignore[no-untyped-def]
    """Windows of whole days; a part stands still for `run` frames, and days differ by `day_sd`."""
    for day in range(first, first + count):
        today = float(np.clip(rate + day_sd * rng.standard_normal(), 0.0, 1.0))
        for _ in range(20):
            bad = int(rng.binomial(N // run, today)) * run
            yield WindowCounts(day=day, frames=N, counts={"class ok": N - bad, "class crack": bad})


def made(rng: np.random.Generator, **more: float) -> RateReference:
    return rate_reference_of(list(days(rng, 0, 14, 0.02, **more)), allowed_per_year=1.0)  # type: ignore[arg-type]


def alarms(reference: RateReference, windows) -> list[int]:  # type: ignore[no-untyped-def]
    state, found = RateState.new(reference), []
    for number, window in enumerate(windows):
        state = step(reference, state, window)
        if state.cusum.max() >= reference.limit:
            found.append(number)
            state = RateState.new(reference)
    return found


def test_dispersion_is_one_for_independent_frames_and_the_run_length_for_parts_that_stand_still() -> None:
    rng = np.random.default_rng(7)
    assert made(rng).dispersion == pytest.approx([1.0, 1.0], abs=0.25)
    assert made(rng, run=10).dispersion == pytest.approx([10.0, 10.0], rel=0.25)


@pytest.mark.parametrize(("run", "day_sd"), [(1, 0.0), (10, 0.0), (1, 0.004), (10, 0.004)])
def test_a_line_within_its_band_alarms_no_more_often_than_allowed(run: int, day_sd: float) -> None:
    rng = np.random.default_rng(8)
    found = alarms(made(rng, run=run, day_sd=day_sd), days(rng, 14, 90, 0.02, run=run, day_sd=day_sd))
    assert len(found) <= 1  # in a quarter of a year, at one a year: more has a chance of 0.03 at the very limit


def test_on_the_very_edge_an_alarm_takes_as_long_as_promised() -> None:
    edge, limit = 0.05, float(np.log(100.0))
    reference = RateReference(
        names=("class crack",),
        centre=np.array([0.02]),
        edges=np.array([[edge], [1.0]]),
        dispersion=np.ones(1),
        limit=limit,
    )
    rng = np.random.default_rng(9)
    lengths = []
    for _ in range(30):
        counts = rng.binomial(50, edge, 400)
        found = alarms(reference, (WindowCounts(day=0, frames=50, counts={"class crack": int(n)}) for n in counts))
        lengths.append(found[0] + 1 if found else 400)
    assert np.mean(lengths) > 100 - 3 * np.std(lengths) / len(lengths) ** 0.5


def test_a_rate_that_trebles_is_found_on_the_same_day_and_named() -> None:
    rng = np.random.default_rng(10)
    reference = made(rng, day_sd=0.004)
    state = RateState.new(reference)
    for number, window in enumerate(days(rng, 14, 1, 0.08)):  # noqa: B007 -- looked at behind the loop
        state = step(reference, state, window)
        if state.cusum.max() >= reference.limit:
            break
    assert number < 10
    words, figures = rate_finding(reference, state)
    assert "usually" in words
    assert max(figures["rate"], 1 - figures["rate"]) > 0.9 or figures["rate"] > 0.05


def test_a_class_that_was_never_seen_does_not_alarm_at_its_first_frames() -> None:
    rng = np.random.default_rng(11)
    reference = rate_reference_of(list(days(rng, 0, 14, 0.0)), allowed_per_year=1.0)
    assert not alarms(reference, [WindowCounts(day=20, frames=N, counts={"class ok": N - 2, "class crack": 2})])
    assert alarms(reference, [WindowCounts(day=20, frames=N, counts={"class ok": N - 90, "class crack": 90})])


def test_five_days_at_least() -> None:
    with pytest.raises(ValueError, match="at least 5 days, found 4"):
        rate_reference_of(list(days(np.random.default_rng(0), 0, 4, 0.1)), allowed_per_year=1.0)


def test_a_record_without_histograms_has_its_classes_and_verdicts() -> None:
    assert counts_of(1, 10, {"ok": 10}, {"unsure": 1}, {}).counts == {"class ok": 10, "verdict unsure": 1}


def test_an_edge_of_one_never_gains() -> None:
    assert log_ratio(np.array([10.0]), 10.0, np.array([1.0])).tolist() == [0.0]
