"""Near-duplicates, reviews and golden items on the labelling page, in a real browser."""

from __future__ import annotations

import random

from playwright.sync_api import Page, expect

from data.catalog.models import GoldenAskRow
from data.draws import Plan, draw, not_offered
from data.label_reviews import Doubt, record_doubts
from data.labels import current_labels, label_history, record_label
from data.queue import next_to_label
from tests.integration.console.conftest import Console
from tests.integration.console.pressed_plates import INSPECTION, NOW, sample_id
from tests.integration.console.test_labelling_page import KEY, open_page, ready, settle


def drawn_as_one(console: Console, together: int) -> list[str]:
    """Everything is drawn; some samples are one group, which comes first. Returns the group's ids."""
    catalog = console.workspace.catalog()
    with catalog.reading() as session:
        ids = sorted(row.sample_id for row in session.scalars(not_offered(INSPECTION)))
    leader = ids[0]
    plan = Plan(
        scores={name: 1e9 if name in ids[:together] else 1.0 for name in ids},
        why={leader: {"signals": {"novel": 1.0}, "parts": {"novel": 0.8, "audit": 0.2}}},
        groups=dict.fromkeys(ids[:together], leader),
    )
    draw(catalog, INSPECTION, len(ids), random=random.Random(1), at=NOW, plan=plan)
    return ids[:together]


def shown_run(page: Page) -> str:
    """Pass on until the run is on the screen; the sample that is shown."""
    for _ in range(20):
        shown = ready(page)
        if page.locator("#like").is_visible():
            return shown
        page.keyboard.press("s")
    raise AssertionError("the run was never shown")


def test_one_key_labels_a_run_and_undo_takes_all_of_it_back(page: Page, console: Console) -> None:
    run = drawn_as_one(console, 3)
    open_page(page, console)
    shown = shown_run(page)
    expect(page.locator("#alike")).to_have_text("the label is for 2 more like it, too")
    expect(page.locator("#thumbs img")).to_have_count(2)
    page.keyboard.press(KEY["hole"])
    settle(page)
    catalog = console.workspace.catalog()
    labels = current_labels(catalog, run)
    assert {name: label.classes for name, label in labels.items()} == dict.fromkeys(run, ("hole",))
    because = {event.because for name in run if name != shown for event in label_history(catalog, name)}
    assert because == {label_history(catalog, shown)[0].event_id}
    page.keyboard.press("u")
    settle(page)
    assert current_labels(catalog, run) == {}
    assert ready(page) == shown


def test_a_person_may_label_the_one_alone(page: Page, console: Console) -> None:
    run = drawn_as_one(console, 3)
    open_page(page, console)
    shown = shown_run(page)
    page.keyboard.press("a")
    expect(page.locator("#also")).not_to_be_checked()
    page.keyboard.press(KEY["ok"])
    settle(page)
    assert set(current_labels(console.workspace.catalog(), run)) == {shown}
    expect(page.locator("#also")).to_be_checked()  # the next one begins anew


def test_a_doubted_label_is_shown_again_with_what_speaks_against_it(page: Page, console: Console) -> None:
    catalog, name = console.workspace.catalog(), sample_id(3)
    record_label(catalog, sample_id=name, classes=["hole"], who="bob", event_id="bob-said-it", at=NOW)
    record_doubts(
        catalog,
        INSPECTION,
        [Doubt(sample_id=name, given="hole", suggested="ok", confidence=0.02)],
        snapshot_id="s",
        at=NOW,
    )
    open_page(page, console)
    for _ in range(20):
        if ready(page) == name:
            break
        page.keyboard.press("s")
    expect(page.locator("#opinion")).to_contain_text("please look again")
    expect(page.locator("#opinion")).to_contain_text("labelled hole")
    page.keyboard.press(KEY["ok"])
    settle(page)
    assert current_labels(catalog, [name])[name].classes == ("ok",)
    assert not [
        item for item in next_to_label(catalog, INSPECTION, "x", 50, at=NOW, review_share=0.5) if item.why == "review"
    ]


def test_the_answer_to_a_golden_item_becomes_no_label(page: Page, console: Console) -> None:
    catalog, name = console.workspace.catalog(), sample_id(5)
    for who in ("bob", "cid"):
        record_label(catalog, sample_id=name, classes=["hole"], who=who, event_id=f"said-by-{who}", at=NOW)
    with catalog.session() as session:
        session.add(GoldenAskRow(inspection=INSPECTION, sample_id=name, who="ann", truth=["hole"], asked_at=NOW))
    open_page(page, console)
    for _ in range(20):
        if ready(page) == name:
            break
        page.keyboard.press("s")
    page.keyboard.press(KEY["crack"])
    settle(page)
    assert {event.who for event in label_history(catalog, name)} == {"bob", "cid"}
    with catalog.reading() as session:
        ask = session.query(GoldenAskRow).one()
        assert (ask.classes, ask.truth) == (["crack"], ["hole"])
