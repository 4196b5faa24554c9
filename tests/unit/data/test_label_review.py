"""What the review page rests on: disagreements, who said what, and taking an interval back."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import ErasureRow, LabelEventRow
from data.disagreements import REVIEW, KeptConcord, concord
from data.label_activity import given_since, people, record_page
from data.label_reviews import Doubt, record_doubts, suspects
from data.label_undo import preview_undo, undo_labels
from data.labels import LabelError, current_labels, record_cannot_tell, record_label, record_skip, undo_label
from tests.unit.data.captured_line import INSPECTION, T0, Line


def say(
    catalog: Catalog, sample: str, name: str, who: str, *, minute: int = 0, source: str = "console", again: str = ""
) -> str:
    event_id = f"{who}:{sample}{again}"
    at = T0 + timedelta(minutes=minute)
    record_label(catalog, sample_id=sample, classes=[name], who=who, event_id=event_id, at=at, source=source)
    return event_id


@pytest.fixture
def samples(line: Line) -> list[str]:
    return line.stream(["ok"] * 8, np.ones(8), keep=8)


def test_a_disagreement_is_open_until_a_review_decides_it_and_stays_in_the_agreement(
    catalog: Catalog, samples: list[str]
) -> None:
    for n, (one, other) in enumerate([("ok", "ok"), ("ok", "crack"), ("crack", "ok"), ("crack", "crack")]):
        say(catalog, samples[n], one, "ann")
        say(catalog, samples[n], other, "bob")
    say(catalog, samples[4], "ok", "ann")
    found = concord(catalog, INSPECTION)
    assert [one.sample_id for one in found.open] == [samples[2], samples[1]]
    assert [(o.who, o.classes) for o in found.open[1].opinions] == [("ann", ("ok",)), ("bob", ("crack",))]
    assert found.agreement.kappa.n == 4
    assert found.agreement.kappa.value == pytest.approx(0.0)
    say(catalog, samples[1], "crack", "eva", source=REVIEW)
    decided = concord(catalog, INSPECTION)
    assert [one.sample_id for one in decided.open] == [samples[2]]
    assert decided.decided == 1
    assert decided.agreement == found.agreement
    say(catalog, samples[1], "void", "cid")
    assert len(concord(catalog, INSPECTION).open) == 2


def test_a_reviewer_who_was_one_of_the_two_can_decide_and_taking_back_opens_it_again(
    catalog: Catalog, samples: list[str]
) -> None:
    say(catalog, samples[0], "ok", "ann")
    say(catalog, samples[0], "crack", "bob")
    decision = say(catalog, samples[0], "ok", "bob", source=REVIEW, again="!")
    assert concord(catalog, INSPECTION).open == ()
    undo_label(catalog, event_id="u", who="bob", at=T0, target=decision)
    assert len(concord(catalog, INSPECTION).open) == 1


def test_what_is_kept_is_read_anew_when_somebody_said_something_or_was_erased(
    catalog: Catalog, samples: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, read = KeptConcord(catalog), []
    monkeypatch.setattr("data.disagreements.concord", lambda *of: read.append(of) or concord(*of))

    def same(times: int) -> None:
        assert kept.of(INSPECTION) == kept.of(INSPECTION) == concord(catalog, INSPECTION)
        assert len(read) == times

    same(1)
    for n, (who, name) in enumerate([("ann", "ok"), ("bob", "crack"), ("eva", "ok")]):
        say(catalog, samples[0], name, who, source=REVIEW if who == "eva" else "console")
        same(2 + n)
    undo_label(catalog, event_id="u", who="eva", at=T0, target=f"eva:{samples[0]}")
    same(5)
    with catalog.session() as session:
        session.query(LabelEventRow).where(LabelEventRow.who == "bob").update({"who": "person-1"})
        row = ErasureRow(kind="person", who="root", at=T0, pseudonym="person-1", subject={}, delete_next=[], counts={})
        session.add(row)
    same(6)
    assert {opinion.who for opinion in kept.of(INSPECTION).open[0].opinions} == {"ann", "person-1"}
    with catalog.session() as session:
        session.query(ErasureRow).update({"done_at": T0})
    same(7)


def test_an_interval_is_shown_before_it_is_taken_back(catalog: Catalog, samples: list[str]) -> None:
    for minute in range(4):
        say(catalog, samples[minute], "crack", "ann", minute=minute)
    record_cannot_tell(catalog, sample_id=samples[4], who="ann", event_id="c", at=T0 + timedelta(minutes=2))
    say(catalog, samples[2], "ok", "bob")
    say(catalog, samples[2], "crack", "ann", minute=2, again="again")
    span = {"since": T0 + timedelta(minutes=1), "until": T0 + timedelta(minutes=2)}
    shown = preview_undo(catalog, INSPECTION, of="ann", **span)
    assert shown.answers == 4
    assert dict(shown.said) == {"crack": 3, "cannot_tell": 1}
    assert (shown.unlabelled, shown.others, shown.learned) == (1, 1, 0)
    assert shown.newest[0].sample_id == samples[2]
    assert preview_undo(catalog, INSPECTION, of="cid", **span).answers == 0

    def undo(expected: int) -> int:
        return len(
            undo_labels(
                catalog, event_id="u", of="ann", who="boss", at=T0, inspection=INSPECTION, expected=expected, **span
            )
        )

    with pytest.raises(LabelError, match=r"4 answers of 'ann' stand .* 3 were shown"):
        undo(3)
    assert undo(4) == 4
    assert undo(4) == 0  # the browser sent it again
    labels = current_labels(catalog, samples)
    assert {name: label.classes for name, label in labels.items()} == {
        samples[0]: ("crack",), samples[2]: ("ok",), samples[3]: ("crack",),
    }  # fmt: skip
    assert undo_labels(catalog, event_id="v", of="ann", who="boss", at=T0, inspection="other", **span) == []


def test_sums_by_person_count_what_stands_and_the_record_is_read_backwards(
    catalog: Catalog, samples: list[str]
) -> None:
    for n in range(3):
        say(catalog, samples[n], "ok", "ann", minute=n)
    say(catalog, samples[3], "crack", "ann", minute=9)
    say(catalog, samples[4], "crack", "bob")
    record_skip(catalog, sample_id=samples[5], who="bob", event_id="s", at=T0)
    undo_label(catalog, event_id="u", who="bob", at=T0, target=f"ann:{samples[0]}")
    ann, bob = people(catalog, INSPECTION, since=T0)
    assert (ann.who, ann.labels, dict(ann.said), ann.undone) == ("ann", 3, {"ok": 2, "crack": 1}, 1)
    assert (ann.first, ann.last) == (T0, T0 + timedelta(minutes=9))
    assert (bob.labels, bob.skipped) == (1, 1)
    assert people(catalog, INSPECTION, since=T0 + timedelta(days=1)) == []
    page = record_page(catalog, INSPECTION, limit=4)
    assert [one.event.sample_id for one in page] == samples[5:1:-1]
    rest = record_page(catalog, INSPECTION, before=page[-1].event.serial)
    assert [one.undone_by for one in rest] == [None, "bob"]
    assert len(record_page(catalog, INSPECTION, who="ann")) == 4
    assert given_since(catalog, INSPECTION, T0) == {"ok": 2, "crack": 1}


def test_suspected_labels_are_listed_with_how_many_there_are(catalog: Catalog, samples: list[str]) -> None:
    for sample in samples[:3]:
        say(catalog, sample, "ok", "ann")
    doubts = [
        Doubt(sample_id=sample, given="ok", suggested="crack", confidence=0.3 - n / 10)
        for n, sample in enumerate(samples[:3])
    ]
    record_doubts(catalog, INSPECTION, doubts, snapshot_id="s", at=T0)
    found, count = suspects(catalog, INSPECTION, by_outcome=False, limit=2)
    assert count == 3
    assert [one.sample_id for one in found] == [samples[2], samples[1]]
    assert found[0].confidence == pytest.approx(0.1)
    assert suspects(catalog, INSPECTION, by_outcome=True) == ([], 0)
