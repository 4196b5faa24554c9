"""What tells how far labels can be trusted: reviews, golden items, agreement."""

from __future__ import annotations

import random

import numpy as np
import pytest

from data.agreement import agreement_of, cohen_kappa, labellers
from data.catalog import Catalog
from data.catalog.models import LabelReviewRow
from data.draws import draw
from data.golden_items import answer_golden, golden_answers, golden_due, undo_golden
from data.label_reviews import Doubt, open_reviews, record_doubts
from data.labels import LabelError, current_label, current_labels, label_history, record_label, record_skip, undo_label
from data.queue import next_to_label
from tests.unit.data.captured_line import INSPECTION, T0, Line, factory_sample


def doubt(sample: str, given: str = "ok", suggested: str = "crack", confidence: float = 0.1) -> Doubt:
    return Doubt(sample_id=sample, given=given, suggested=suggested, confidence=confidence)


def reviews(catalog: Catalog, who: str = "ann") -> list[str]:
    items = next_to_label(catalog, INSPECTION, who, 10, at=T0, review_share=0.5)
    return [item.sample_id for item in items if item.why == "review"]


@pytest.fixture
def labelled(catalog: Catalog, line: Line) -> list[str]:
    """Six samples, labelled ok by ann."""
    ids = line.stream(["ok"] * 6, np.ones(6), keep=6)
    draw(catalog, INSPECTION, 6, random=random.Random(1), at=T0)
    for sample in ids:
        line.label(sample)
    return ids


def test_doubted_labels_are_shown_the_weakest_first_and_no_label_changes(catalog: Catalog, labelled: list[str]) -> None:
    doubts = [doubt(labelled[0], confidence=0.3), doubt(labelled[1], confidence=0.05)]
    assert record_doubts(catalog, INSPECTION, doubts, snapshot_id="s1", at=T0) == doubts
    assert reviews(catalog) == [labelled[1], labelled[0]]
    assert open_reviews(catalog, INSPECTION) == 2
    for sample in labelled:
        label = current_label(catalog, sample)
        assert label is not None
        assert label.classes == ("ok",)
    shown = next_to_label(catalog, INSPECTION, "ann", 10, at=T0, review_share=0.5)[0]
    assert "labelled ok" in shown.reason
    assert "say crack" in shown.reason
    assert next_to_label(catalog, INSPECTION, "ann", 10, at=T0) == []  # none asked for: none shown


def test_any_answer_ends_a_doubt_and_a_skip_does_not(catalog: Catalog, labelled: list[str]) -> None:
    record_doubts(catalog, INSPECTION, [doubt(s) for s in labelled[:3]], snapshot_id="s1", at=T0)
    record_label(catalog, sample_id=labelled[0], classes=["ok"], who="ann", event_id="again", at=T0)
    record_label(catalog, sample_id=labelled[1], classes=["crack"], who="bob", event_id="other", at=T0)
    record_skip(catalog, sample_id=labelled[2], who="ann", event_id="later", at=T0)
    assert reviews(catalog) == []  # ann passed it on
    assert reviews(catalog, "bob") == [labelled[2]]
    undo_label(catalog, event_id="u", who="bob", at=T0, target="other")
    assert reviews(catalog, "cid") == [labelled[1]]  # the other is leased to bob
    undo_label(catalog, event_id="v", who="ann", at=T0, target=f"ann:{labelled[1]}")
    assert open_reviews(catalog, INSPECTION) == 1  # the doubted label itself is gone


def test_a_label_that_was_given_twice_is_not_doubted_again(catalog: Catalog, labelled: list[str]) -> None:
    record_label(catalog, sample_id=labelled[0], classes=["ok"], who="ann", event_id="again", at=T0)
    record_label(catalog, sample_id=labelled[1], classes=["ok"], who="bob", event_id="bob", at=T0)
    kept = record_doubts(catalog, INSPECTION, [doubt(s) for s in labelled[:3]], snapshot_id="s2", at=T0)
    assert [d.sample_id for d in kept] == [labelled[2]]


def test_the_newest_retrains_doubts_replace_the_older_ones_and_stale_ones_are_dropped(
    catalog: Catalog, labelled: list[str]
) -> None:
    record_doubts(catalog, INSPECTION, [doubt(labelled[0])], snapshot_id="s1", at=T0)
    kept = record_doubts(
        catalog, INSPECTION, [doubt(labelled[1]), doubt(labelled[2], given="void")], snapshot_id="s2", at=T0
    )
    assert [d.sample_id for d in kept] == [labelled[1]]
    with catalog.reading() as session:
        assert [(r.sample_id, r.snapshot_id) for r in session.query(LabelReviewRow)] == [(labelled[1], "s2")]


def golden(catalog: Catalog, who: str = "ann", share: float = 0.1) -> str | None:
    row = golden_due(catalog, INSPECTION, who, share=share, random=random.Random(1), at=T0)
    return None if row is None else row.sample_id


def test_a_golden_item_comes_after_enough_answers_and_changes_no_label(catalog: Catalog, line: Line) -> None:
    known = factory_sample(catalog, "f1")
    record_label(catalog, sample_id=known, classes=["crack"], who="archive", event_id="f", at=T0, source="import")
    ids = line.stream(["ok"] * 20, np.ones(20), keep=20)
    for sample in ids[:9]:
        line.label(sample)
    assert golden(catalog) is None
    line.label(ids[9])
    assert golden(catalog) == known
    assert golden(catalog) == known  # it waits for its answer
    assert golden(catalog, share=0.0) is None
    assert not answer_golden(catalog, sample_id=ids[0], who="ann", event_id="g0", classes=["ok"], at=T0)
    for _ in range(2):  # a page that retries
        assert answer_golden(catalog, sample_id=known, who="ann", event_id="g1", classes=["ok"], at=T0)
    with pytest.raises(LabelError, match="other content"):
        answer_golden(catalog, sample_id=known, who="ann", event_id="g1", classes=["void"], at=T0)
    assert [event.who for event in label_history(catalog, known)] == ["archive"]
    (answer,) = golden_answers(catalog, INSPECTION)
    assert (answer.said, answer.truth, answer.right) == (("ok",), ("crack",), False)
    assert golden(catalog) is None  # asked once
    assert undo_golden(catalog, target="g1", who="ann") == known
    assert golden_answers(catalog, INSPECTION) == []
    assert golden(catalog) == known


def test_only_what_two_people_agree_on_is_known_and_never_ones_own_answer(
    catalog: Catalog, line: Line, labelled: list[str]
) -> None:
    record_label(catalog, sample_id=labelled[0], classes=["ok"], who="bob", event_id="b0", at=T0)
    record_label(catalog, sample_id=labelled[1], classes=["crack"], who="bob", event_id="b1", at=T0)
    more = line.stream(["ok"] * 10, np.ones(10), keep=10)
    for sample in more:
        line.label(sample, who="cid")
    assert golden(catalog, "cid") == labelled[0]
    assert golden(catalog, "ann", share=0.9) is None  # her own


def test_a_labellers_accuracy_has_its_interval_and_n(catalog: Catalog, line: Line) -> None:
    ids = line.stream(["ok"] * 10, np.ones(10), keep=10)
    for sample in ids:
        line.label(sample)
    for i in range(8):
        known = factory_sample(catalog, f"f{i}")
        record_label(catalog, sample_id=known, classes=["ok"], who="archive", event_id=f"f{i}", at=T0, source="import")
        asked = golden(catalog, share=0.9)
        assert asked == known
        answer_golden(catalog, sample_id=known, who="ann", event_id=f"g{i}", classes=["ok"] if i else [], at=T0)
    (ann,) = labellers(catalog, INSPECTION)
    assert (ann.who, ann.accuracy.value, ann.accuracy.n) == ("ann", 1.0, 7)  # the first was passed on
    assert ann.accuracy.low == pytest.approx(0.59, abs=0.005)


OK, CRACK = ("ok",), ("crack",)


def test_kappa_is_agreement_beyond_chance() -> None:
    # Cohen's own way of counting: observed 0.7, expected 0.5·0.6 + 0.5·0.4 = 0.5.
    pairs = [(OK, OK)] * 40 + [(CRACK, CRACK)] * 30 + [(OK, CRACK)] * 10 + [(CRACK, OK)] * 20
    found = cohen_kappa(pairs).kappa
    assert found.value == pytest.approx(0.4)
    assert found.low < 0.4 < found.high
    assert np.isnan(cohen_kappa([(OK, OK)] * 9).kappa.value)  # one class alone: nothing beyond chance can be seen
    assert np.isnan(cohen_kappa([]).kappa.value)


@pytest.mark.parametrize(("rate", "wrong", "n"), [(0.5, 0.1, 30), (0.2, 0.05, 100), (0.05, 0.02, 200)])
def test_kappas_interval_covers(rate: float, wrong: float, n: int) -> None:
    rng = np.random.default_rng(3)
    truth_share = rate * (1 - wrong) + (1 - rate) * wrong  # each says a defect
    same = (1 - wrong) ** 2 + wrong**2
    chance = truth_share**2 + (1 - truth_share) ** 2
    kappa = (same - chance) / (1 - chance)
    covered, told = 0, 0
    for _ in range(600):
        truth = rng.random(n) < rate
        one, other = (np.where(rng.random(n) < wrong, ~truth, truth) for _ in range(2))
        found = cohen_kappa([(CRACK if a else OK, CRACK if b else OK) for a, b in zip(one, other, strict=True)]).kappa
        if not np.isnan(found.value):
            told += 1
            covered += found.low <= kappa <= found.high
    assert told > 500
    assert covered / told > 0.93 - 3 * (0.93 * 0.07 / told) ** 0.5


def test_the_second_opinion_is_compared_with_the_first(catalog: Catalog, labelled: list[str]) -> None:
    for i, said in enumerate(["ok", "ok", "crack"]):
        record_label(catalog, sample_id=labelled[i], classes=[said], who="bob", event_id=f"b{i}", at=T0)
    found = agreement_of(current_labels(catalog, inspection=INSPECTION))
    assert (found.observed.value, found.observed.n) == (pytest.approx(2 / 3), 3)
