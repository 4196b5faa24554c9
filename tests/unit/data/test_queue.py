from __future__ import annotations

import random
from datetime import datetime, timedelta

import numpy as np

from data.catalog import Catalog
from data.catalog.models import EventRow, SampleRow
from data.labels import record_cannot_tell, record_skip, undo_label
from data.leases import release_leases
from data.policy import LabellingPolicy
from data.queue import draw, next_to_label, queue_size, top_up
from tests.unit.data.captured_line import INSPECTION, T0, Line


def ask(catalog: Catalog, who: str, limit: int = 100, *, at: datetime = T0, second: bool = False) -> list[str]:
    items = next_to_label(catalog, INSPECTION, who, limit, at=at, lease_seconds=60, second_labeller=second)
    return [item.sample_id for item in items]


def test_nobody_is_asked_before_something_was_drawn(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 5, np.ones(5), keep=5)
    assert ask(catalog, "ann") == []
    assert (queue_size(catalog, INSPECTION).waiting, queue_size(catalog, INSPECTION).not_offered) == (0, 5)


def test_drawn_samples_come_by_priority_and_leave_when_labelled(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 20, np.linspace(0.1, 1, 20), keep=10)
    drawn = list(draw(catalog, INSPECTION, 4, random=random.Random(1), at=T0).sample_ids)
    assert ask(catalog, "ann") == drawn
    line.label(drawn[0])
    assert ask(catalog, "ann") == drawn[1:]
    assert queue_size(catalog, INSPECTION).waiting == 3
    undo_label(catalog, event_id="u", who="ann", at=T0)
    assert ask(catalog, "ann") == drawn


def test_two_people_are_never_shown_the_same_sample_while_a_lease_holds(catalog: Catalog, line: Line) -> None:
    line.stream(["ok"] * 10, np.ones(10), keep=10)
    draw(catalog, INSPECTION, 10, random=random.Random(1), at=T0)
    ann, bob = ask(catalog, "ann", 4), ask(catalog, "bob", 100)
    assert len(ann) == 4
    assert set(ann) & set(bob) == set()
    assert len(ann) + len(bob) == 10
    assert ask(catalog, "ann", 4) == ann  # a reload shows a person the same ones
    assert len(ask(catalog, "cid")) == 0
    assert len(ask(catalog, "cid", at=T0 + timedelta(seconds=61))) == 10
    release_leases(catalog, "cid")
    assert len(ask(catalog, "dan", at=T0 + timedelta(seconds=61))) == 10


def test_a_skip_passes_a_sample_on_and_cannot_tell_settles_it(catalog: Catalog, line: Line) -> None:
    one, two = line.stream(["ok"] * 2, np.ones(2), keep=2)
    draw(catalog, INSPECTION, 2, random=random.Random(1), at=T0)
    ask(catalog, "ann")
    record_skip(catalog, sample_id=one, who="ann", event_id="1", at=T0)
    record_cannot_tell(catalog, sample_id=two, who="ann", event_id="2", at=T0)
    assert ask(catalog, "ann") == []
    assert ask(catalog, "bob") == [one]


def test_what_the_operator_flagged_comes_first_with_the_reason(catalog: Catalog, line: Line) -> None:
    drawn = line.stream(["ok"] * 3, np.ones(3), keep=3)
    draw(catalog, INSPECTION, 3, random=random.Random(1), at=T0)
    extra = line.stream(["crack"], np.ones(1), keep=1, extra="flag")
    with catalog.session() as session:
        session.add(
            EventRow(
                event_id="f1", device="line-1", inspection=INSPECTION, kind="flag", at=T0, sample_id=drawn[2],
                reason="scratch, model says ok", ingested_at=T0,
            )
        )  # fmt: skip
    items = next_to_label(catalog, INSPECTION, "ann", 10, at=T0)
    assert [item.why for item in items] == ["flag", "flag", "drawn", "drawn"]
    assert {item.sample_id: item.reason for item in items[:2]} == {drawn[2]: "scratch, model says ok", extra[0]: ""}
    assert (items[0].classes, items[0].probabilities) == (("ok", "crack", "void"), (0.5, 0.5, 0.0))


def test_a_holdout_sample_is_asked_of_a_second_person_once(catalog: Catalog, line: Line) -> None:
    held, trained = line.stream(["ok"] * 2, np.ones(2), keep=2)
    with catalog.session() as session:
        session.get_one(SampleRow, held).split = "holdout"
    draw(catalog, INSPECTION, 2, random=random.Random(1), at=T0)
    line.label(held)
    line.label(trained)
    assert ask(catalog, "ann", second=True) == []
    assert ask(catalog, "bob", second=False) == []
    assert ask(catalog, "bob", second=True) == [held]
    line.label(held, who="bob")
    assert ask(catalog, "cid", second=True) == []


def test_the_queue_is_topped_up_within_the_budget_and_not_while_it_is_full(catalog: Catalog, line: Line) -> None:
    policy = LabellingPolicy(draw_size=6, budget_share=0.1)
    assert top_up(catalog, INSPECTION, policy, random=random.Random(1), at=T0) is None
    line.stream(["ok"] * 80, np.ones(80), keep=20)
    first = top_up(catalog, INSPECTION, policy, random=random.Random(1), at=T0)
    assert first is not None
    assert len(first.items) == 6
    line.stream(["ok"] * 20, np.ones(20), keep=20)
    assert top_up(catalog, INSPECTION, policy, random=random.Random(1), at=T0) is None  # six still wait
    for sample in first.sample_ids:
        line.label(sample)
    second = top_up(catalog, INSPECTION, policy, random=random.Random(1), at=T0)
    assert second is not None
    assert len(second.items) == 4  # 10 % of 100 frames, 6 are spent
