"""Rules 1 to 4 of data/causes/join.py, and what labels and opinions add up to (data/causes/truths.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from data.causes.join import MOST_FRAMES, MOST_KEYS, Joined, Linked, join
from data.causes.truths import trust, truth_of
from data.causes.values import Population, Sighting, Truth

T0 = datetime(2031, 1, 1, tzinfo=UTC)


def truth(part: str | None, minute: float = 60.0, **values: Any) -> Truth:
    given = {"station": "final", "device": "f1", "engine": "e1", "context": {"light": 1.0}, **values}
    return Truth(part=part, at=T0 + timedelta(minutes=minute), **given)


def sighting(part: str, minute: float = 0.0, **values: Any) -> Sighting:
    given = {"station": "press", "device": "p1", "visit": (part, minute), "weight": 1.0, "context": {"humidity": 0.4}}
    return Sighting(part=part, at=T0 + timedelta(minutes=minute), **{**given, **values})


def joined(truths: list[Truth], sightings: list[Sighting]) -> Linked:
    return join(Population(name="labels", targets=("crack",), truths=tuple(truths)), sightings)


def at(linked: Linked, station: str) -> Joined:
    return next(table for table in linked.tables if table.station == station)


def test_a_part_is_joined_with_what_another_station_recorded_before() -> None:
    linked = joined([truth("A", holds=frozenset({"crack"}), weight=2.0), truth("B")], [sighting("A", 18.0, weight=4.0)])
    press = at(linked, "press")
    assert press.unit.tolist() == [0]
    assert press.lag.tolist() == [42 * 60]
    assert (press.at - press.recorded).tolist() == [42 * 60]
    assert press.weight.tolist() == [8.0]  # 1/(p of the truth) times 1/(p of the recording)
    assert press.truth.tolist() == [[1.0]]
    assert press.values == {"humidity": [0.4]}
    assert at(linked, "final").unit.tolist() == [0, 1]
    assert at(linked, "final").weight.tolist() == [2.0, 1.0]


def test_what_was_recorded_later_or_of_another_part_is_not_joined() -> None:
    linked = joined([truth("A", 60.0)], [sighting("A", 61.0), sighting("B", 1.0)])
    assert [table.station for table in linked.tables] == ["final"]


def test_of_several_visits_the_last_one_before_counts_and_its_frames_stand_for_one_recording() -> None:
    rework = [
        sighting("A", 0.0, visit="first", context={"humidity": 0.1}),
        sighting("A", 30.0, visit="second", weight=0.5, context={"humidity": 0.2}),
        sighting("A", 31.0, visit="second", weight=0.5, context={"humidity": 0.3, "force": 9.0}),
        sighting("A", 90.0, visit="third", context={"humidity": 0.9}),
    ]
    press = at(joined([truth("A", 60.0)], rework), "press")
    assert press.weight.tolist() == [1.0]
    assert press.values == {"force": [9.0], "humidity": [0.3]}
    assert press.lag.tolist() == [29 * 60]


def test_several_frames_of_a_part_are_one_unit() -> None:
    frames = [
        truth("A", 60.0, weight=1.0, holds=frozenset({"crack"}), context={"light": 1.0}),
        truth("A", 61.0, weight=3.0, context={"light": 2.0}),
    ]
    linked = joined(frames, [])
    assert len(linked.units) == 1
    assert at(linked, "final").weight.tolist() == [4.0]
    assert at(linked, "final").truth.tolist() == [[0.25]]
    assert at(linked, "final").values == {"light": [2.0]}


def test_a_part_seen_at_two_stations_counts_at_the_last_one() -> None:
    early = truth("A", 10.0, station="press", holds=frozenset({"crack"}))
    linked = joined([early, truth("A", 60.0)], [sighting("A", 10.0)])
    assert [unit.station for unit in linked.units] == ["final"]
    assert at(linked, "press").lag.tolist() == [50 * 60]


def test_frames_without_a_part_id_have_their_own_context_alone() -> None:
    linked = joined([truth(None), truth(None, 61.0)], [sighting("", 0.0)])
    assert [table.station for table in linked.tables] == ["final"]
    assert len(linked.units) == 2


def test_an_outcome_is_joined_with_every_station_and_stands_in_the_shift_of_the_recording() -> None:
    outcome = Truth(part="A", at=T0 + timedelta(days=3), holds=frozenset({"failed"}))
    linked = joined([outcome], [sighting("A", 0.0, weight=5.0), sighting("A", 5.0, station="final", device="f1")])
    assert [table.station for table in linked.tables] == ["final", "press"]
    press = at(linked, "press")
    assert press.weight.tolist() == [5.0]
    assert press.at.tolist() == [T0.timestamp()]
    assert press.recorded.tolist() == [T0.timestamp()]
    assert press.lag.tolist() == [3 * 86_400]


def test_invented_keys_and_endless_frames_are_bounded_and_do_not_displace_what_is_common() -> None:
    flood = [
        sighting(f"P{i}", visit=i, context={"humidity": 0.1, **{f"k{i % 150}-{j}": 1.0 for j in range(100)}})
        for i in range(300)
    ]
    again = [sighting("P0", 0.001 * i, visit="same", context={"humidity": 0.1}) for i in range(1_000)]
    press = at(joined([truth(f"P{i}") for i in range(300)], [*flood, *again]), "press")
    assert len(press.values) == MOST_KEYS
    assert "humidity" in press.values
    # 15,000 keys, each twice and far apart: who remembers them all counts them once.
    assert press.keys_left_out > 20_000
    assert press.weight[0] == MOST_FRAMES


def test_the_station_in_the_context_names_the_place_and_is_no_variable() -> None:
    assert at(joined([truth("A", context={"station": "final", "light": 1.0})], []), "final").values == {"light": [1.0]}


def test_opinions_of_unlabelled_frames_help_and_never_bias() -> None:
    """Draws of labels from a fixed population: truth* has the mean of the truth, with a good and a useless engine."""
    random = np.random.default_rng(5)
    n, draws = 300, 1_000
    crack, weight = random.random(n) < 0.2, np.ones(n)
    spread = {}
    for name, guess in (("good", np.where(crack, 0.8, 0.1)), ("useless", random.random(n)), ("none", np.zeros(n))):
        p2 = np.clip(0.1 + 0.5 * guess, 0.05, 1.0)
        known = (random.random((draws, n)) < p2) / p2
        told, unsure = known * crack, guess * (1 - known)
        means = np.array([(a + trust(a, b, weight) * b).mean() for a, b in zip(told, unsure, strict=True)])
        error = means.std() / draws**0.5
        assert abs(means.mean() - crack.mean()) < 4 * error + 0.002, name  # λ is estimated: a bias of order 1/n
        spread[name] = means.std()
    assert spread["good"] < 0.6 * spread["none"]


def test_labels_and_opinions_of_a_units_frames_add_up() -> None:
    frames = [
        truth("A", 1.0, known=4.0, holds=frozenset({"crack"}), guess={"crack": 0.6}),
        truth("A", 2.0, known=0.0, guess={"crack": 0.2}),
    ]
    unit = joined(frames, []).units[0]
    assert unit.told == {"crack": 2.0}
    assert unit.open["crack"] == pytest.approx((0.6 * (1 - 4) + 0.2) / 2)
    assert (unit.labelled, unit.positive) == (4.0, frozenset({"crack"}))
    assert truth_of([unit], ("crack",)).tolist() == [[2.0]]  # one unit has no spread to learn λ from


def test_an_opinion_that_only_adds_noise_is_not_trusted() -> None:
    assert trust(np.array([4.0, 0.0, 0.0, 0.0]), np.array([3.0, -1.0, -1.0, -1.0]), np.ones(4)) == 0.0
    assert trust(np.array([1.0, 0.0]), np.zeros(2), np.ones(2)) == 0.0
    assert trust(np.array([4.0, 0.0]), np.array([-2.0, 2.0]), np.ones(2)) == pytest.approx(1.0)
