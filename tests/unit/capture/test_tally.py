"""Counts of all frames: each in its bin, added up in any order, the same after a restart."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from edge_client.contract.record import read_score_histogram
from edge_client.tally import ANOMALY_EDGES, MARGIN_EDGES, PROBABILITY_EDGES, Tally


def frames(n: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "weight": rng.random(), "label": rng.choice(["ok", "crack"]), "engine_id": "e1", "run": i // 3,
            "verdict": rng.choice(["ok", "defect", "unsure"]), "anomaly": rng.choice([0.0, 0.55, 3.0, 1e7, -1.0]),
            "margin": rng.choice([0.0, 0.05, 0.049, 1.0]), "likeliest_defect": rng.choice(["crack", "dent v1.5"]),
            "defect_probability": rng.choice([0.0, 0.001, 0.5, 0.99, 1.0]),
        }
        for i in range(n)
    ]  # fmt: skip


def counted(some: list[dict[str, Any]]) -> Tally:
    tally = Tally()
    for frame in some:
        tally.see(**frame)
    return tally


@pytest.mark.parametrize(
    ("name", "edges"), [("anomaly", ANOMALY_EDGES), ("margin", MARGIN_EDGES), ("defect", PROBABILITY_EDGES)]
)
def test_a_value_is_in_the_bin_whose_lower_edge_it_reaches_and_the_outermost_take_the_rest(
    name: str, edges: tuple[float, ...]
) -> None:
    bins = len(edges) - 1
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    values = {**dict(zip(edges, range(bins), strict=False)), **dict(zip(between, range(bins), strict=True))}
    values |= {edges[0] - 1: 0, edges[-1]: bins - 1, edges[-1] * 2 + 1: bins - 1}
    for value, place in values.items():
        value_of = {"anomaly": 0.0, "margin": 0.0, "defect": 0.0, name: value}
        told = counted([{**frames(1, 1)[0], "anomaly": value_of["anomaly"], "margin": value_of["margin"],
                         "defect_probability": value_of["defect"]}]).histograms()  # fmt: skip
        key = next(each for each in told if each.startswith(name))
        assert [i for i, count in enumerate(told[key]["counts"]) if count] == [place], value


def test_scores_are_told_by_verdict_and_likeliest_class_and_count_every_frame() -> None:
    some = frames(300, 2)
    told = counted(some).histograms()
    scores = {read_score_histogram(name): sum(h["counts"]) for name, h in told.items() if read_score_histogram(name)}
    expected: dict[tuple[str, str], int] = {}
    for frame in some:
        key = (frame["verdict"], frame["likeliest_defect"])
        expected[key] = expected.get(key, 0) + 1
    assert scores == expected
    assert list(told) == ["anomaly", "margin", *sorted(set(told) - {"anomaly", "margin"})]


def test_parts_add_up_and_a_restart_changes_nothing() -> None:
    some = frames(200, 3)
    whole, part = counted(some), counted(some[:90])
    part.add(counted(some[90:]))
    assert part.histograms() == whole.histograms()
    assert part.weight_total == pytest.approx(whole.weight_total)
    again = Tally.from_json(whole.to_json())
    assert again.histograms() == whole.histograms()
    assert again.to_json() == whole.to_json()
    again.see(**some[0])
    assert sum(again.scores.values()) == 201
    older = Tally.from_json(Tally().to_json().replace(', "scores": {}', ""))
    assert not older.scores
