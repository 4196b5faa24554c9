from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.catalog import Catalog
from data.label_undo import undo_labels
from data.labels import (
    LabelError,
    LabelEvent,
    LabelKind,
    NewLabel,
    current_label,
    current_labels,
    derive,
    label_history,
    record_cannot_tell,
    record_label,
    record_labels,
    record_skip,
    undo_label,
)
from tests.unit.data.captured_line import INSPECTION, T0, Line, factory_sample


@pytest.fixture
def sample(line: Line) -> str:
    return line.stream(["crack"], np.ones(1), keep=1)[0]


def label(catalog: Catalog, sample: str, name: str, event_id: str, *, who: str = "ann", minutes: int = 0) -> LabelEvent:
    at = T0 + timedelta(minutes=minutes)
    return record_label(catalog, sample_id=sample, classes=[name], who=who, event_id=event_id, at=at)


def test_the_newest_label_of_a_person_stands(catalog: Catalog, sample: str) -> None:
    label(catalog, sample, "ok", "1")
    label(catalog, sample, "crack", "2")
    current = current_label(catalog, sample)
    assert current is not None
    assert (current.classes, current.by, current.disagreement) == (("crack",), "ann", False)


def test_a_retry_with_the_same_event_id_changes_nothing(catalog: Catalog, sample: str) -> None:
    first = label(catalog, sample, "ok", "1")
    label(catalog, sample, "crack", "2")
    assert label(catalog, sample, "ok", "1", minutes=9) == first
    assert len(label_history(catalog, sample)) == 2
    assert current_labels(catalog)[sample].classes == ("crack",)


def test_one_event_id_cannot_say_two_things(catalog: Catalog, sample: str) -> None:
    label(catalog, sample, "ok", "1")
    with pytest.raises(LabelError, match="recorded before with other content"):
        label(catalog, sample, "crack", "1")


def test_a_label_of_an_unknown_class_is_refused_and_lists_the_known(catalog: Catalog, sample: str) -> None:
    with pytest.raises(
        LabelError, match=r"class 'scratch' is unknown to inspection 'solder'; its classes are \['ok', "
    ):
        label(catalog, sample, "scratch", "1")
    assert label_history(catalog, sample) == []


def test_other_bad_labels_are_refused(catalog: Catalog, sample: str) -> None:
    with pytest.raises(LabelError, match="sample 'none' is unknown"):
        label(catalog, "none", "ok", "1")
    with pytest.raises(LabelError, match="empty label"):
        record_label(catalog, sample_id=sample, classes=[], who="ann", event_id="1", at=T0)
    with pytest.raises(LabelError, match="one of them is empty"):
        label(catalog, sample, "ok", "")


def test_a_label_is_a_set_of_classes(catalog: Catalog, sample: str) -> None:
    record_label(catalog, sample_id=sample, classes=["void", "crack", "void"], who="ann", event_id="1", at=T0)
    current = current_label(catalog, sample)
    assert current is not None
    assert current.classes == ("crack", "void")


def test_people_who_differ_are_a_visible_disagreement(catalog: Catalog, sample: str) -> None:
    label(catalog, sample, "ok", "1", who="ann")
    label(catalog, sample, "crack", "2", who="bob")
    current = current_label(catalog, sample)
    assert current is not None
    assert (current.classes, current.disagreement) == (("crack",), True)
    assert current.opinions == {"ann": ("ok",), "bob": ("crack",)}


def test_cannot_tell_takes_back_that_persons_label_and_a_skip_says_nothing(catalog: Catalog, sample: str) -> None:
    label(catalog, sample, "ok", "1")
    record_skip(catalog, sample_id=sample, who="ann", event_id="2", at=T0)
    assert current_label(catalog, sample) is not None
    record_cannot_tell(catalog, sample_id=sample, who="ann", event_id="3", at=T0)
    assert current_label(catalog, sample) is None


def test_undo_takes_back_the_last_thing_a_person_said(catalog: Catalog, sample: str) -> None:
    label(catalog, sample, "ok", "1")
    label(catalog, sample, "crack", "2")
    label(catalog, sample, "void", "3", who="bob")
    undo = undo_label(catalog, event_id="u1", who="ann", at=T0)
    assert undo is not None
    assert undo.undoes == "2"
    assert current_labels(catalog)[sample].opinions == {"ann": ("ok",), "bob": ("void",)}


def test_a_repeated_undo_undoes_one_event_only(catalog: Catalog, sample: str) -> None:
    label(catalog, sample, "ok", "1")
    label(catalog, sample, "crack", "2")
    assert undo_label(catalog, event_id="u1", who="ann", at=T0) == undo_label(catalog, event_id="u1", who="ann", at=T0)
    assert current_labels(catalog)[sample].classes == ("ok",)
    undo_label(catalog, event_id="u2", who="ann", at=T0)
    assert undo_label(catalog, event_id="u3", who="ann", at=T0) is None
    assert [event.kind for event in label_history(catalog, sample)].count(LabelKind.UNDO) == 2


def test_an_event_is_undone_by_name_once(catalog: Catalog, sample: str) -> None:
    label(catalog, sample, "ok", "1")
    assert undo_label(catalog, event_id="u1", who="bob", at=T0, target="1") is not None
    assert undo_label(catalog, event_id="u2", who="bob", at=T0, target="1") is None
    with pytest.raises(LabelError, match="'9' is unknown"):
        undo_label(catalog, event_id="u3", who="bob", at=T0, target="9")
    with pytest.raises(LabelError, match="is an undo itself"):
        undo_label(catalog, event_id="u4", who="bob", at=T0, target="u1")


def test_a_whole_interval_of_a_person_is_undone(catalog: Catalog, line: Line) -> None:
    samples = line.stream(["ok"] * 4, np.ones(4), keep=4)
    for minute, sample in enumerate(samples):
        label(catalog, sample, "crack", f"a{minute}", minutes=minute)
        label(catalog, sample, "void", f"b{minute}", who="bob", minutes=minute)
    span = {"since": T0 + timedelta(minutes=1), "until": T0 + timedelta(minutes=2)}
    for _ in range(2):  # the second call finds nothing left to undo
        undone = undo_labels(catalog, event_id="u", of="ann", who="boss", at=T0, **span)
    assert undone == []
    assert [sorted(current_labels(catalog)[s].opinions) for s in samples] == [
        ["ann", "bob"],
        ["bob"],
        ["bob"],
        ["ann", "bob"],
    ]


def test_a_batch_is_recorded_whole_or_not_at_all(catalog: Catalog) -> None:
    names = [factory_sample(catalog, name) for name in ("f1", "f2")]
    good = [NewLabel(sample_id=name, classes=["ok"], event_id=f"import:{name}") for name in names]
    bad = NewLabel(sample_id="f3", classes=["ok"], event_id="import:f3")
    with pytest.raises(LabelError, match="'f3' is unknown"):
        record_labels(catalog, [*good, bad], who="archive", at=T0, source="import")
    assert current_labels(catalog, inspection=INSPECTION) == {}
    for _ in range(2):
        record_labels(catalog, good, who="archive", at=T0, source="import")
    assert set(current_labels(catalog, names)) == {"f1", "f2"}


def test_labels_of_more_samples_than_one_statement_takes_are_read(catalog: Catalog, line: Line) -> None:
    samples = line.stream(["ok"] * 600, np.ones(600), keep=600)
    batch = [NewLabel(sample_id=s, classes=["ok"], event_id=s) for s in samples]
    record_labels(catalog, batch, who="archive", at=T0, source="import")
    assert len(current_labels(catalog, samples)) == 600


actions = st.lists(
    st.tuples(st.sampled_from(["ok", "crack", "cannot_tell", "skip", "undo"]), st.sampled_from(["ann", "bob"])),
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=actions)
def test_the_derived_label_is_what_a_list_with_undo_would_give(
    catalog: Catalog, line: Line, actions: list[tuple[str, str]]
) -> None:
    sample = line.stream(["ok"], np.ones(1), keep=1)[0]
    said: list[tuple[str, str]] = []  # the model: (what, who) that stand, in order
    for number, (what, who) in enumerate(actions):
        event = {"sample_id": sample, "who": who, "event_id": f"{sample}:{number}", "at": T0}
        if what == "undo":
            mine = [i for i, (_, w) in enumerate(said) if w == who]
            undo_label(
                catalog, event_id=event["event_id"], who=who, at=T0,
                target=None if not mine else next_target(catalog, sample, who),
            )  # fmt: skip
            if mine:
                said.pop(mine[-1])
            continue
        said.append((what, who))
        if what == "skip":
            record_skip(catalog, **event)
        elif what == "cannot_tell":
            record_cannot_tell(catalog, **event)
        else:
            record_label(catalog, classes=[what], **event)
    opinions: dict[str, str] = {}
    for what, who in said:
        if what != "skip":
            opinions.pop(who, None)
            opinions[who] = what
    standing = {who: (what,) for who, what in opinions.items() if what != "cannot_tell"}
    current = current_label(catalog, sample)
    assert (current.opinions if current else {}) == standing
    if current is not None:
        assert current.classes == list(standing.values())[-1]


def next_target(catalog: Catalog, sample: str, who: str) -> str:
    """Newest event of a person on this sample that stands (other examples share the catalog)."""
    history = label_history(catalog, sample)
    undone = {event.undoes for event in history}
    mine = [e for e in history if e.who == who and e.kind is not LabelKind.UNDO and e.event_id not in undone]
    return mine[-1].event_id


def test_deriving_from_nothing_gives_nothing() -> None:
    assert derive([]) == {}
