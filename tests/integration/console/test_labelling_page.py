"""The labelling page in a real browser, against a real server, catalog and bucket."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from data.labels import LabelKind, current_labels, label_history
from tests.integration.console.conftest import Console, ConsoleProcess
from tests.integration.console.polled import wait_for
from tests.integration.console.pressed_plates import CLASSES, EVIL, INSPECTION, sample_id, truth

KEY = {name: str(i + 1) for i, (name, _) in enumerate(CLASSES)}
TRUTH = {sample_id(n): truth(n) for n in range(200)}
QUIET = {"timeout": 15_000}


def open_page(page: Page, console: Console) -> None:
    page.goto(f"{console.url}/label/{INSPECTION}")
    ready(page)


def ready(page: Page) -> str:
    """The sample on the screen, once its picture is."""
    page.wait_for_selector("#labelling[data-ready=yes]", **QUIET)  # type: ignore[arg-type]
    shown = page.locator("#labelling").get_attribute("data-sample")
    assert shown
    return shown


def label(page: Page, count: int) -> dict[str, str]:
    """Press the right key for so many samples; what was said of each."""
    said = {}
    for _ in range(count):
        shown = ready(page)
        page.keyboard.press(KEY[TRUTH[shown]])
        said[shown] = TRUTH[shown]
    return said


def settle(page: Page) -> None:
    """Wait until every answer is sent."""
    page.wait_for_selector("#labelling[data-unsent='0']", **QUIET)  # type: ignore[arg-type]


def recorded(console: Console) -> dict[str, str]:
    labels = current_labels(console.workspace.catalog(), TRUTH, inspection=INSPECTION)
    return {name: current.classes[0] for name, current in labels.items()}


def test_each_key_labels_the_sample_that_was_shown(page: Page, console: Console) -> None:
    open_page(page, console)
    said = label(page, 25)
    settle(page)
    assert len(said) == 25
    assert recorded(console) == said
    expect(page.locator("#progress")).to_contain_text("25 labelled here")


def test_no_label_is_lost_or_doubled_when_the_server_is_killed_and_comes_back(
    page: Page, process: ConsoleProcess
) -> None:
    open_page(page, process)
    said = label(page, 5)
    page.wait_for_load_state("networkidle")  # the pictures ahead are there
    process.kill()
    said |= label(page, 4)
    expect(page.locator("#unsent")).to_contain_text("kept in this browser", timeout=15_000)
    process.start()
    settle(page)
    assert recorded(process) == said
    catalog = process.workspace.catalog()
    assert all(len(label_history(catalog, name)) == 1 for name in said)


def test_answers_that_were_not_sent_survive_closing_the_page(page: Page, process: ConsoleProcess) -> None:
    open_page(page, process)
    page.wait_for_load_state("networkidle")
    process.kill()
    said = label(page, 3)
    page.wait_for_selector("#labelling[data-unsent='3']", **QUIET)  # type: ignore[arg-type]
    second = page.context.new_page()
    page.close()
    process.start()
    second.goto(f"{process.url}/label/{INSPECTION}")
    ready(second)
    settle(second)
    assert recorded(process) == said


def test_undo_brings_the_sample_back_also_after_a_reload(page: Page, console: Console) -> None:
    open_page(page, console)
    first = ready(page)
    page.keyboard.press("3")
    second = ready(page)
    assert second != first
    settle(page)
    page.reload()
    ready(page)
    page.keyboard.press("u")
    assert ready(page) == first
    expect(page.locator(".class.given")).to_have_attribute("data-class", "hole")
    page.keyboard.press("1")
    settle(page)
    history = label_history(console.workspace.catalog(), first)
    assert [event.kind for event in history] == [LabelKind.LABEL, LabelKind.UNDO, LabelKind.LABEL]
    assert recorded(console) == {first: "ok"}


def test_skip_and_cannot_tell_are_recorded_as_what_they_are(page: Page, console: Console) -> None:
    open_page(page, console)
    skipped = ready(page)
    page.keyboard.press("s")
    unclear = ready(page)
    page.keyboard.press("c")
    ready(page)
    settle(page)
    catalog = console.workspace.catalog()
    assert [e.kind for e in label_history(catalog, skipped)] == [LabelKind.SKIP]
    assert [e.kind for e in label_history(catalog, unclear)] == [LabelKind.CANNOT_TELL]
    assert recorded(console) == {}


def test_space_lays_the_anomaly_map_exactly_over_the_frame(page: Page, console: Console) -> None:
    open_page(page, console)
    overlay = page.locator("#overlay")
    expect(overlay).to_be_hidden()
    page.keyboard.press(" ")
    expect(overlay).to_be_visible()
    boxes = page.evaluate(
        """() => { const [i, o] = ['img.shown', '#overlay'].map(s => document.querySelector(s));
        const b = i.getBoundingClientRect(), s = Math.min(b.width / i.naturalWidth, b.height / i.naturalHeight);
        const w = i.naturalWidth * s, h = i.naturalHeight * s, r = o.getBoundingClientRect();
        return [[b.x + (b.width - w) / 2, b.y + (b.height - h) / 2, w, h], [r.x, r.y, r.width, r.height]] }"""
    )
    assert all(abs(a - b) < 1.5 for a, b in zip(*boxes, strict=True))
    page.keyboard.press("1")  # it stays on for the next one
    ready(page)
    expect(overlay).to_be_visible()
    page.keyboard.press(" ")
    expect(overlay).to_be_hidden()


def test_nobody_labels_a_picture_that_is_not_there(page: Page, console: Console) -> None:
    page.route("**/api/image/**", lambda route: route.abort())
    page.goto(f"{console.url}/label/{INSPECTION}")
    expect(page.locator("#problem")).to_contain_text("cannot be fetched", timeout=15_000)
    shown = page.locator("#labelling").get_attribute("data-sample")
    page.keyboard.press("1")
    assert page.locator("#labelling").get_attribute("data-sample") == shown
    page.unroute("**/api/image/**")
    assert ready(page) == shown
    assert recorded(console) == {}


def test_pictures_ahead_that_failed_are_loaded_by_themselves(page: Page, console: Console) -> None:
    first: list[str] = []

    def only_the_first(route: Route) -> None:
        first.append(route.request.url)
        if route.request.url == first[0]:
            route.continue_()
        else:
            route.abort()

    page.route("**/api/image/**", only_the_first)
    page.goto(f"{console.url}/label/{INSPECTION}")
    ready(page)
    labelling = page.locator("#labelling")
    expect(labelling).to_have_attribute("data-ahead", "0")
    page.unroute("**/api/image/**")
    wait_for(page, "document.getElementById('labelling').dataset.ahead >= 5")
    page.keyboard.press("1")
    ready(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_an_answer_that_the_server_refuses_says_why_and_the_sample_comes_back(page: Page, console: Console) -> None:
    open_page(page, console)
    shown = ready(page)
    page.evaluate("document.querySelector('.class').dataset.class = 'banana'")
    page.keyboard.press("1")
    expect(page.locator("#problem")).to_contain_text("'banana' is unknown", timeout=15_000)
    settle(page)
    assert recorded(console) == {}
    page.reload()
    seen = set()
    for _ in range(9):
        seen.add(ready(page))
        page.keyboard.press("s")
    assert shown in seen


def test_texts_from_devices_are_shown_as_text(page: Page, console: Console) -> None:
    open_page(page, console)
    for _ in range(40):  # one in eight is of such a part
        ready(page)
        if EVIL in page.locator("#opinion").inner_text():
            break
        page.keyboard.press("s")
    expect(page.locator("#opinion")).to_contain_text(EVIL)
    assert page.locator("#opinion img").count() == 0


def test_a_label_costs_the_person_no_waiting(page: Page, console: Console) -> None:
    open_page(page, console)
    spent = page.evaluate(
        """async () => { const page = document.getElementById('labelling'), spent = [];
        for (let i = 0; i < 20; i++) {
          while (page.dataset.ready !== 'yes') await new Promise(r => setTimeout(r, 5));
          await new Promise(r => setTimeout(r, 120));  // a very quick person
          const began = performance.now(), before = page.dataset.sample;
          document.dispatchEvent(new KeyboardEvent('keydown', { key: '1' }));
          const shown = () => page.dataset.ready === 'yes' && page.dataset.sample !== before;
          while (!shown()) await new Promise(r => setTimeout(r, 1));
          spent.push(performance.now() - began);
        } return spent.sort((a, b) => a - b) }"""
    )
    assert spent[10] < 100, spent  # milliseconds, the median; 5 on a quiet machine
