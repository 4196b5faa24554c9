"""Two people at once, and answers that come late: leases, `after`, flags."""

from __future__ import annotations

import random
from datetime import timedelta

import numpy as np
import pytest

from data.batches import batch, batches
from data.catalog import Catalog
from data.draws import draw
from data.label_flags import close_flag, count_flags, open_flags, raise_flag
from data.labels import (
    LabelError,
    Meanwhile,
    current_labels,
    label_history,
    record_cannot_tell,
    record_label,
    undo_label,
)
from data.leases import Lost, also_here, prolong, release_leases
from data.queue import next_to_label
from tests.unit.data.captured_line import INSPECTION, T0, Line

LATER = T0 + timedelta(seconds=61)  # the leases of `ask` are over


def ask(catalog: Catalog, who: str, limit: int = 100, *, at: object = T0) -> dict[str, int]:
    """What a person is shown: sample id → the newest event on it."""
    items = next_to_label(catalog, INSPECTION, who, limit, at=at, lease_seconds=60)  # type: ignore[arg-type]
    return {item.sample_id: item.seen for item in items}


@pytest.fixture
def drawn(catalog: Catalog, line: Line) -> list[str]:
    line.stream(["ok"] * 6, np.ones(6), keep=6)
    return list(draw(catalog, INSPECTION, 6, random=random.Random(1), at=T0).sample_ids)


def test_a_page_that_prolongs_keeps_its_samples_and_one_that_is_cut_off_does_not(
    catalog: Catalog, drawn: list[str]
) -> None:
    shown = ask(catalog, "ann", 3)
    held = prolong(catalog, INSPECTION, "ann", shown, at=T0 + timedelta(seconds=50), lease_seconds=60)
    assert held.lost == {}
    assert held.until == T0 + timedelta(seconds=110)
    assert not set(shown) & set(ask(catalog, "bob", at=LATER))
    assert set(shown) <= set(ask(catalog, "cid", at=T0 + timedelta(seconds=111)))


def test_prolonging_tells_what_others_look_at_and_what_they_settled(catalog: Catalog, drawn: list[str]) -> None:
    shown = ask(catalog, "ann", 3)
    one, two, three = shown
    ask(catalog, "bob", 2, at=LATER)
    record_label(catalog, sample_id=one, classes=["ok"], who="bob", event_id="b", at=LATER)
    held = prolong(catalog, INSPECTION, "ann", shown, at=LATER, lease_seconds=60)
    assert held.lost == {one: Lost(who="bob", settled=True), two: Lost(who="bob", settled=False)}
    assert also_here(catalog, INSPECTION, "bob", at=LATER) == {"ann": 1}
    assert three in ask(catalog, "ann", at=LATER)
    assert prolong(catalog, INSPECTION, "ann", {"nothing": 0}, at=LATER, lease_seconds=60).lost == {}


def test_leaving_gives_back_what_was_named_and_nothing_of_others(catalog: Catalog, drawn: list[str]) -> None:
    mine, theirs = list(ask(catalog, "ann", 3)), list(ask(catalog, "bob", 3))
    release_leases(catalog, "ann", [*mine[:2], theirs[0]])
    assert set(ask(catalog, "cid")) == set(mine[:2])


def test_an_answer_after_somebody_elses_is_no_second_label(catalog: Catalog, drawn: list[str]) -> None:
    seen = ask(catalog, "ann", 1)
    ((sample, serial),) = seen.items()
    record_label(catalog, sample_id=sample, classes=["ok"], who="bob", event_id="b", at=T0)
    with pytest.raises(Meanwhile, match="bob answered") as caught:
        record_label(catalog, sample_id=sample, classes=["crack"], who="ann", event_id="a", at=T0, after=serial)
    assert caught.value.event.event_id == "b"
    with pytest.raises(Meanwhile):
        record_cannot_tell(catalog, sample_id=sample, who="ann", event_id="a", at=T0, after=serial)
    assert len(label_history(catalog, sample)) == 1
    # Whoever has seen that answer may differ, and whoever does not say what they saw may, too.
    newest = label_history(catalog, sample)[-1].serial
    record_label(catalog, sample_id=sample, classes=["crack"], who="ann", event_id="c", at=T0, after=newest)
    assert current_labels(catalog, [sample])[sample].disagreement


def test_ones_own_answer_again_is_dropped_and_a_correction_is_not(catalog: Catalog, drawn: list[str]) -> None:
    ((sample, serial),) = ask(catalog, "ann", 1).items()

    def say(classes: list[str], event_id: str) -> None:
        record_label(catalog, sample_id=sample, classes=classes, who="ann", event_id=event_id, at=T0, after=serial)

    say(["ok"], "1")
    say(["ok"], "1")  # the browser sent it again
    with pytest.raises(Meanwhile):
        say(["ok"], "2")  # a second tab
    say(["crack"], "3")
    assert [event.event_id for event in label_history(catalog, sample)] == ["1", "3"]
    undo_label(catalog, event_id="u", who="ann", at=T0, target="3")
    undo_label(catalog, event_id="v", who="ann", at=T0, target="1")
    say(["ok"], "4")  # what was taken back stands in nobody's way
    assert current_labels(catalog, [sample])[sample].classes == ("ok",)


def test_a_batch_is_what_the_model_says_alike_the_surest_first_and_leased(catalog: Catalog, line: Line) -> None:
    surely = line.stream(["crack"] * 2, np.ones(2), keep=2, probability=0.9)
    maybe = line.stream(["crack"] * 2, np.ones(2), keep=2, probability=0.6)
    line.stream(["ok"] * 3, np.ones(3), keep=3, probability=0.1)
    draw(catalog, INSPECTION, 7, random=random.Random(1), at=T0)
    assert batches(catalog, INSPECTION, "ann", at=T0) == {"crack": 4, "ok": 3}
    items = batch(catalog, INSPECTION, "ann", "crack", 3, at=T0, lease_seconds=60)
    assert {item.sample_id for item in items[:2]} == set(surely)
    assert items[2].sample_id in maybe
    assert batches(catalog, INSPECTION, "bob", at=T0) == {"ok": 3, "crack": 1}
    assert batch(catalog, INSPECTION, "bob", "void", 3, at=T0, lease_seconds=60) == []


def test_a_flag_changes_no_label_and_stays_until_somebody_closes_it(catalog: Catalog, drawn: list[str]) -> None:
    for _ in range(2):  # sent twice, recorded once
        raise_flag(catalog, sample_id=drawn[0], who="ann", event_id="f1", note=" blurred? ", at=T0)
    raise_flag(catalog, sample_id=drawn[1], who="bob", event_id="f2", note="came late", said=["crack"], at=LATER)
    assert [(f.note, f.said) for f in open_flags(catalog, INSPECTION)] == [
        ("blurred?", None),
        ("came late", ("crack",)),
    ]
    assert current_labels(catalog, drawn) == {}
    assert set(ask(catalog, "ann")) == set(drawn)
    with pytest.raises(LabelError, match="use a new event id"):
        raise_flag(catalog, sample_id=drawn[0], who="ann", event_id="f1", note="other", at=T0)
    with pytest.raises(LabelError, match="say in 1 to 2000"):
        raise_flag(catalog, sample_id=drawn[0], who="ann", event_id="f3", note="  ", at=T0)
    closed = close_flag(catalog, "f1", who="boss", at=LATER)
    assert (closed.closed_by, closed.closed_at) == ("boss", LATER)
    assert close_flag(catalog, "f1", who="cid", at=LATER).closed_by == "boss"
    assert count_flags(catalog, INSPECTION) == 1
    with pytest.raises(LabelError, match="unknown"):
        close_flag(catalog, "nothing", who="boss", at=T0)
