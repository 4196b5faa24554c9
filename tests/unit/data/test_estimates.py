from __future__ import annotations

import random
from datetime import timedelta

import numpy as np
import pytest

from data.catalog import Catalog
from data.draws import draw
from data.estimates import defect_rate, field_sample, miss_rate
from data.labels import NewLabel, record_cannot_tell, record_labels, record_skip
from tests.unit.data.captured_line import INSPECTION, T0, Line


def frames(rng: np.random.Generator, n: int, rate: float) -> tuple[list[str], np.ndarray]:
    bad = rng.random(n) < rate
    labels = ["crack" if b else "ok" for b in bad]
    return labels, rng.random(n) * 0.5 + bad * rng.random(n) + 0.1


def label_all(line: Line, samples: tuple[str, ...]) -> None:
    labels = [NewLabel(sample_id=s, classes=[line.truth[s]], event_id=s) for s in samples]
    record_labels(line.catalog, labels, who="ann", at=T0, source="console")


def test_a_fully_captured_and_labelled_line_is_known_exactly(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 8 + ["crack", "void"], np.ones(10), keep=10)
    label_all(line, draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0).sample_ids)
    rate = defect_rate(catalog, INSPECTION)
    assert (rate.value, rate.low, rate.high, rate.n, rate.population) == (0.2, 0.2, 0.2, 10, 10)
    assert miss_rate(field_sample(catalog, INSPECTION)).value == 0.2  # every verdict there was "ok"


def test_before_any_label_there_is_no_rate(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 10, np.ones(10), keep=5)
    draw(catalog, INSPECTION, 5, random=random.Random(1), at=T0)
    assert np.isnan(defect_rate(catalog, INSPECTION).value)
    assert field_sample(catalog, INSPECTION).waiting == 5


def test_a_half_labelled_draw_counts_up_to_its_first_unanswered_item(catalog: Catalog, line: Line) -> None:
    labels, weights = frames(line.rng, 400, 0.2)
    line.stream(labels, weights, keep=100)
    drawn = draw(catalog, INSPECTION, 40, random=random.Random(5), at=T0)
    for item in drawn.items[:15]:
        line.label(item.sample_id)
    line.label(drawn.items[30].sample_id)  # out of turn: must not count
    sample = field_sample(catalog, INSPECTION)
    assert {s.sample_id for s in sample.samples} == set(drawn.sample_ids[:15])
    assert sample.waiting == 24
    # The threshold is the priority of the sixteenth: the totals stay those of a draw of fifteen.
    sixteenth = drawn.items[15]
    first = next(s for s in sample.samples if s.sample_id == drawn.items[0].sample_id)
    assert first.p <= min(1.0, drawn.items[0].score / (sixteenth.score / sixteenth.u))


def test_cannot_tell_and_skipped_samples_are_nonresponse(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 6 + ["crack"] * 4, np.ones(10), keep=10)
    drawn = draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0).sample_ids
    record_cannot_tell(catalog, sample_id=drawn[0], who="ann", event_id="c", at=T0)
    record_skip(catalog, sample_id=drawn[1], who="ann", event_id="s", at=T0)
    label_all(line, drawn[2:])
    sample = field_sample(catalog, INSPECTION)
    assert sample.nonresponse == pytest.approx(0.2)
    assert sum(1 / s.p for s in sample.samples) == pytest.approx(10)  # the rest speaks for all ten


def test_samples_that_never_arrived_are_nonresponse(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 20, np.ones(20), keep=20, lose=5)
    label_all(line, draw(catalog, INSPECTION, 20, random=random.Random(1), at=T0).sample_ids)
    sample = field_sample(catalog, INSPECTION)
    assert sample.nonresponse == pytest.approx(0.25)
    assert sum(1 / s.p for s in sample.samples) == pytest.approx(20)


def test_a_draw_without_an_answer_is_left_out_with_its_frames(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 10, np.ones(10), keep=10)
    label_all(line, draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0).sample_ids)
    line.stream(["crack"] * 30, np.ones(30), keep=10)
    draw(catalog, INSPECTION, 10, random=random.Random(2), at=T0)
    line.stream(["crack"] * 30, np.ones(30), keep=10)  # not even offered
    sample = field_sample(catalog, INSPECTION)
    assert (sample.population, sample.windows) == (10, 1)


def test_frames_that_could_not_be_candidates_are_no_part_of_the_population(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 10, np.ones(10), keep=10, excluded=3)
    label_all(line, draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0).sample_ids)
    sample = field_sample(catalog, INSPECTION)
    assert (sample.population, sample.excluded) == (10, 3)


def test_extras_never_count_for_an_estimate(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 10, np.ones(10), keep=10)
    flagged = line.stream(["crack"] * 5, np.ones(5), keep=5, extra="flag")
    label_all(line, draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0).sample_ids)
    label_all(line, tuple(flagged))
    assert defect_rate(catalog, INSPECTION).n == 10


def test_a_rate_can_be_asked_of_a_span_of_time(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 10, np.ones(10), keep=10)
    line.stream(["crack"] * 10, np.ones(10), keep=10)
    label_all(line, draw(catalog, INSPECTION, 20, random=random.Random(1), at=T0).sample_ids)
    shift = T0 + timedelta(minutes=5)
    assert defect_rate(catalog, INSPECTION, until=shift).value == 0
    assert defect_rate(catalog, INSPECTION, since=shift).value == 1
    assert defect_rate(catalog, INSPECTION).value == 0.5
