from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.draw_plan import Candidates, Labelled, Planner, signals_of
from data.draws import Choice, Draw, Plan, budget_left, draw, draw_chosen, draw_items
from data.estimates import defect_rate, field_sample
from data.inspections import Inspection
from data.label_choice import captured
from data.labels import (
    LabelError,
    current_label,
    label_history,
    record_label,
    record_skip,
    undo_label,
)
from data.policy import DrawPolicy, LabellingPolicy
from data.queue import next_to_label, queue_size, top_up
from edge_client.contract.engine_metadata import ClassInfo, Kind
from tests.unit.data.captured_line import INSPECTION, T0, Line
from tests.unit.data.near_duplicates import Embeddings, standing_belt

POLICY = DrawPolicy()
DRAWN = replace(POLICY, chosen_share=0.0)


def on_train_side(catalog: Catalog) -> None:
    with catalog.session() as session:
        for row in session.query(SampleRow):
            row.split = "train"


def choice(*ids: str) -> Choice:
    return Choice(sample_ids=ids, gain=0.1, why={"parts": {"teaches": 1.0}})


def planned(catalog: Catalog, store: Embeddings, n: int, seed: int = 1, policy: DrawPolicy = POLICY) -> Draw:
    plan = Planner(catalog, store).plan(INSPECTION, policy)
    return draw(catalog, INSPECTION, n, random=random.Random(seed), at=T0, plan=plan)


def answer_all(line: Line, who: str = "ann") -> None:
    """Label what the queue shows, each for all that it speaks for."""
    while items := next_to_label(line.catalog, INSPECTION, who, 50, at=T0):
        for item in items:
            record_label(
                line.catalog, sample_id=item.sample_id, classes=[line.truth[item.sample_id]], who=who,
                event_id=f"e{item.sample_id}", at=T0, also=item.like,
            )  # fmt: skip


@pytest.fixture
def store() -> Embeddings:
    return Embeddings()


def test_a_run_is_drawn_as_one_with_one_probability(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 6), ("crack", 4), ("ok", 1), ("ok", 1), ("void", 3)])
    result = planned(catalog, store, 3)
    items = draw_items(catalog, result.id or "")
    assert result.offered == 15
    assert result.asked == 3
    assert sorted(Counter(item.cluster for item in items if item.cluster).values()) == [3, 4, 6]
    for cluster in {item.cluster for item in items if item.cluster}:
        members = [item for item in items if item.cluster == cluster]
        assert len({(m.score, m.u, m.p2, m.drawn) for m in members}) == 1
        assert members[0].sample_id == cluster  # it is ranked before the others
    assert budget_left(catalog, INSPECTION, 1.0) == 15 - 3  # labels asked for, not samples


def test_a_run_counts_as_its_most_telling_frame(catalog: Catalog, line: Line) -> None:
    one, two, other = line.stream(["ok"] * 3, np.ones(3), keep=3)
    plan = Plan(scores={one: 1.0, two: 3.0, other: 2.0}, groups={one: one, two: one})
    result = draw(catalog, INSPECTION, 1, random=random.Random(1), at=T0, plan=plan)
    items = {item.sample_id: item for item in draw_items(catalog, result.id or "")}
    assert [items[name].score for name in (one, two, other)] == [3.0, 3.0, 2.0]
    assert (items[one].cluster, items[two].cluster, items[other].cluster) == (two, two, None)
    assert items[one].p2 == items[two].p2


def test_why_a_sample_was_drawn_is_logged_for_drawn_and_not_drawn(
    catalog: Catalog, line: Line, store: Embeddings
) -> None:
    standing_belt(catalog, line, store, [("ok", 1)] * 70)
    result = planned(catalog, store, 5)
    for item in draw_items(catalog, result.id or ""):
        assert item.why is not None
        assert {"captured", "uncertain", "rare", "cover"} <= set(item.why["signals"])
        assert sum(item.why["parts"].values()) == pytest.approx(1.0, abs=0.01)
    shown = next_to_label(catalog, INSPECTION, "ann", 5, at=T0)[0]
    assert shown.chosen["parts"]["audit"] >= 0.1


def test_what_is_labelled_makes_its_like_less_worth(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 1)] * 25 + [("crack", 1)] * 5)
    planned(catalog, store, 30)
    answer_all(line)
    standing_belt(catalog, line, store, [("ok", 1)] * 20)
    with catalog.session() as session:  # the first frame looks like one that is labelled
        known = next(iter(store.at.values()))
        new = list(session.query(SampleRow).where(SampleRow.window == 1))
        store.at[new[0].lake_path, new[0].lake_row] = known
        twin = new[0].sample_id
    plan = Planner(catalog, store).plan(INSPECTION, POLICY)
    assert plan.why[twin]["signals"]["novel"] < 0.01
    assert np.median([why["signals"]["novel"] for why in plan.why.values()]) > 0.5


def test_people_go_on_without_the_lake(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 3)] * 5)
    store.away = True
    result = planned(catalog, store, 4)
    assert (result.offered, len(result.items)) == (15, 4)
    assert {item.cluster for item in result.items} == {None}
    assert set((result.items[0].why or {})["signals"]) == {"captured", "uncertain", "rare"}


def test_what_came_after_the_plan_waits_with_its_window(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 1)] * 4)
    plan = Planner(catalog, store).plan(INSPECTION, POLICY)
    late = set(standing_belt(catalog, line, store, [("ok", 1)] * 4))
    first = draw(catalog, INSPECTION, 8, random=random.Random(1), at=T0, plan=plan)
    assert (first.offered, set(first.sample_ids) & late) == (4, set())
    assert set(planned(catalog, store, 8).sample_ids) == late
    assert draw(catalog, INSPECTION, 8, random=random.Random(1), at=T0, plan=Plan(scores={})).id is None


def test_embeddings_are_read_once(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 1)] * 4)
    planner = Planner(catalog, store)
    planner.plan(INSPECTION, POLICY)
    planner.plan(INSPECTION, POLICY)
    assert store.reads == 4


def test_one_label_serves_a_run_and_one_undo_takes_it_back(catalog: Catalog, line: Line, store: Embeddings) -> None:
    ids = standing_belt(catalog, line, store, [("crack", 4)])
    planned(catalog, store, 1)
    assert queue_size(catalog, INSPECTION).waiting == 1
    (shown,) = next_to_label(catalog, INSPECTION, "ann", 10, at=T0)
    assert {shown.sample_id, *shown.like} == set(ids)
    for _ in range(2):  # a page that retries
        record_label(
            catalog, sample_id=shown.sample_id, classes=["crack"], who="ann", event_id="e1", at=T0, also=shown.like
        )
    for sample in ids:
        label = current_label(catalog, sample)
        assert label is not None
        assert (label.classes, label.by) == (("crack",), "ann")
    repeated = label_history(catalog, shown.like[0])
    assert [(event.because, event.who) for event in repeated] == [("e1", "ann")]
    assert queue_size(catalog, INSPECTION).waiting == 0
    undone = undo_label(catalog, event_id="u1", who="ann", at=T0)  # the newest: what was given for all
    assert undone is not None
    assert undone.undoes == "e1"
    assert [current_label(catalog, sample) for sample in ids] == [None] * 4
    assert queue_size(catalog, INSPECTION).waiting == 1


def test_a_label_for_one_alone_brings_the_others_up_each_for_itself(
    catalog: Catalog, line: Line, store: Embeddings
) -> None:
    ids = standing_belt(catalog, line, store, [("crack", 3)])
    planned(catalog, store, 1)
    (shown,) = next_to_label(catalog, INSPECTION, "ann", 10, at=T0)
    line.label(shown.sample_id)
    rest = next_to_label(catalog, INSPECTION, "ann", 10, at=T0)
    assert {item.sample_id for item in rest} == set(ids) - {shown.sample_id}
    assert {item.like for item in rest} == {()}
    assert np.isnan(defect_rate(catalog, INSPECTION).value)  # a group counts once all of it is answered


def test_a_label_is_never_given_for_what_was_not_drawn_with_it_nor_over_anothers(
    catalog: Catalog, line: Line, store: Embeddings
) -> None:
    ids = standing_belt(catalog, line, store, [("crack", 3), ("ok", 1)])
    planned(catalog, store, 2)
    items = {len(item.like): item for item in next_to_label(catalog, INSPECTION, "ann", 10, at=T0)}
    alone, run = items[0], items[2]
    with pytest.raises(LabelError, match="not drawn together"):
        record_label(
            catalog, sample_id=run.sample_id, classes=["crack"], who="ann", event_id="x", at=T0,
            also=[alone.sample_id],
        )  # fmt: skip
    assert current_label(catalog, run.sample_id) is None  # all or nothing
    record_label(catalog, sample_id=run.like[0], classes=["void"], who="bob", event_id="b", at=T0)
    record_label(catalog, sample_id=run.sample_id, classes=["crack"], who="ann", event_id="y", at=T0, also=run.like)
    said = {sample: label.classes for sample in ids if (label := current_label(catalog, sample))}
    assert said[run.like[0]] == ("void",)
    assert said[run.like[1]] == ("crack",)


def test_a_run_that_everybody_passed_on_is_nonresponse(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("crack", 4), ("ok", 1), ("ok", 1)])
    planned(catalog, store, 3)
    for item in next_to_label(catalog, INSPECTION, "ann", 10, at=T0):
        if item.like:
            record_skip(catalog, sample_id=item.sample_id, who="ann", event_id="s", at=T0)
        else:
            line.label(item.sample_id)
    sample = field_sample(catalog, INSPECTION)
    assert (sample.waiting, sample.nonresponse) == (0, pytest.approx(4 / 6))


def test_the_console_draws_by_the_plan(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 5)] * 4)
    planner = Planner(catalog, store)
    policy = LabellingPolicy(draw_size=3)
    rng = random.Random(1)

    def ask(n: int) -> Draw:
        return planner.ask(INSPECTION, n, DRAWN, random=rng, at=T0).drawn

    result = top_up(catalog, INSPECTION, policy, random=rng, at=T0, ask=ask)
    assert result is not None
    assert (result.asked, len(result.items)) == (3, 15)


def test_embeddings_of_another_space_say_nothing_about_each_other() -> None:
    classes = (ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT))
    rng = np.random.default_rng(0)
    vectors = [v / np.linalg.norm(v) for v in rng.normal(size=(80, 16)).astype(np.float32)]
    candidates = Candidates(
        probabilities=np.full((80, 2), 0.5), anomaly=np.zeros(80), weights=np.ones(80), p1=np.ones(80),
        embeddings=vectors, blocks=[(i,) for i in range(80)], spaces=["tuned"] * 80,
    )  # fmt: skip
    labels = np.arange(80) % 2
    info = Inspection(name=INSPECTION, classes=classes)
    for space, alike in (("tuned", True), ("first", False)):
        labelled = Labelled(labels=labels, embeddings=vectors, counts=np.array([40.0, 40.0]), spaces=[space] * 80)
        signals = signals_of(candidates, labelled, info, seed=0)
        assert ("novel" in signals) == alike
        assert ("disagree" in signals) == alike


def test_half_is_drawn_and_half_is_chosen_from_what_is_left(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 3)] * 10 + [("crack", 1)] * 10)
    on_train_side(catalog)
    asked = Planner(catalog, store).ask(INSPECTION, 8, POLICY, random=random.Random(1), at=T0)
    assert asked.chosen is not None
    assert (asked.drawn.asked, asked.chosen.asked, asked.labels) == (4, 4, 8)
    assert (asked.drawn.extra, asked.chosen.extra, asked.drawn.offered) == (False, True, 40)
    assert not set(asked.drawn.sample_ids) & set(asked.chosen.sample_ids)
    for item in asked.chosen.items:
        assert (item.p2, item.drawn) == (None, True)
        assert (item.why or {})["parts"] == {"teaches": 1.0}
        assert {"uncertain", "unknown", "teaches"} == set((item.why or {})["signals"])
    assert all(0 < item.score < 1 for item in asked.chosen.items)
    assert budget_left(catalog, INSPECTION, 1.0) == 40 - 8
    assert queue_size(catalog, INSPECTION).waiting == 8
    answer_all(line)
    assert queue_size(catalog, INSPECTION).waiting == 0
    assert field_sample(catalog, INSPECTION).waiting == 0


def test_a_run_that_is_chosen_is_shown_as_one(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 4)] * 8)
    on_train_side(catalog)
    asked = Planner(catalog, store).ask(INSPECTION, 4, POLICY, random=random.Random(1), at=T0)
    assert asked.chosen is not None
    assert (asked.chosen.asked, len(asked.chosen.items)) == (2, 8)
    shown = {item.sample_id: item for item in next_to_label(catalog, INSPECTION, "ann", 10, at=T0)}
    assert len(shown) == 4
    for item in asked.chosen.items:
        assert item.cluster in shown
        assert len(shown[item.cluster].like) == 3


def test_the_draw_is_over_before_anything_can_be_chosen(catalog: Catalog, line: Line, store: Embeddings) -> None:
    """So a sample's chance to be drawn never depends on what was chosen; late comers wait for their own draw."""
    standing_belt(catalog, line, store, [("ok", 1)] * 20)
    on_train_side(catalog)
    planner = Planner(catalog, store)
    first = planner.ask(INSPECTION, 4, POLICY, random=random.Random(1), at=T0)
    late = set(standing_belt(catalog, line, store, [("crack", 1)] * 6))
    on_train_side(catalog)
    with catalog.reading() as session:
        found = captured(session, INSPECTION)
    free = {row.sample_id for row, _, free in found if free}
    assert not free & late
    assert not free & {*first.drawn.sample_ids, *(first.chosen.sample_ids if first.chosen else ())}
    assert len(free) == 16
    assert draw_chosen(catalog, INSPECTION, [choice(*late)], at=T0).items == ()
    second = planner.ask(INSPECTION, 6, POLICY, random=random.Random(2), at=T0)
    assert second.drawn.offered == 6


def test_held_out_samples_are_never_chosen(catalog: Catalog, line: Line, store: Embeddings) -> None:
    ids = standing_belt(catalog, line, store, [("ok", 1)] * 20)
    on_train_side(catalog)
    held = set(ids[::2])
    with catalog.session() as session:
        for row in session.query(SampleRow).where(SampleRow.sample_id.in_(held)):
            row.split = "holdout"
    asked = Planner(catalog, store).ask(INSPECTION, 12, POLICY, random=random.Random(1), at=T0)
    assert asked.chosen is not None
    assert not set(asked.chosen.sample_ids) & held
    assert asked.labels == 12  # where little can be chosen, more is drawn


def test_what_was_settled_or_drawn_meanwhile_is_not_chosen_again(catalog: Catalog, line: Line) -> None:
    one, two, three = line.stream(["ok"] * 3, np.ones(3), keep=3)
    draw(catalog, INSPECTION, 1, random=random.Random(1), at=T0, plan=Plan(scores={one: 1e9, two: 1.0, three: 1.0}))
    line.label(two)
    result = draw_chosen(catalog, INSPECTION, [choice(one, two), choice(three)], at=T0)
    assert result.sample_ids == (three,)
    assert draw_chosen(catalog, INSPECTION, [choice(three)], at=T0).id is None


def test_without_the_lake_all_is_drawn(catalog: Catalog, line: Line, store: Embeddings) -> None:
    standing_belt(catalog, line, store, [("ok", 1)] * 20)
    on_train_side(catalog)
    store.away = True
    asked = Planner(catalog, store).ask(INSPECTION, 8, POLICY, random=random.Random(1), at=T0)
    assert (asked.drawn.asked, asked.chosen) == (8, None)
