"""Zoom, many at once, several classes, flags, new classes, two people at once: the labelling page in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime

from playwright.sync_api import Locator, Page, Route, expect

from data.inspections import get_inspection
from data.label_flags import open_flags
from data.labels import current_labels, label_history, record_label
from data.users import Role
from tests.console_person import sign_in_browser
from tests.integration.console.conftest import Console, ConsoleProcess
from tests.integration.console.polled import wait_for
from tests.integration.console.pressed_plates import INSPECTION
from tests.integration.console.test_labelling_page import KEY, TRUTH, open_page, ready, settle
from tests.integration.console.test_shared_labels import drawn_as_one, shown_run


def box(element: Locator) -> dict[str, float]:
    found = element.bounding_box()
    assert found is not None
    return dict(found)


def test_the_picture_zooms_and_pans_and_the_anomaly_map_follows(page: Page, console: Console) -> None:
    open_page(page, console)
    frame, overlay = page.locator("img.shown"), page.locator("#overlay")
    page.keyboard.press(" ")
    expect(overlay).to_be_visible()
    fitted = box(frame)
    x, y = fitted["x"] + 100, fitted["y"] + 80
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    wait_for(page, "document.getElementById('picture').classList.contains('zoomed')")
    near = box(frame)
    scale = near["width"] / fitted["width"]
    assert 2 < scale < 3
    # What was under the pointer still is.
    assert abs((x - near["x"]) / scale - 100) < 1.5
    assert abs((y - near["y"]) / scale - 80) < 1.5
    assert box(overlay) == near
    page.mouse.down()
    page.mouse.move(x + 40, y + 30)
    page.mouse.up()
    moved = box(frame)
    assert (moved["x"] - near["x"], moved["y"] - near["y"]) != (0, 0)
    assert box(overlay) == moved
    page.keyboard.press("ArrowRight")
    assert box(frame)["x"] < moved["x"]
    page.keyboard.press(".")
    assert box(frame) == fitted
    page.mouse.dblclick(x, y)
    assert box(frame)["width"] > 1.9 * fitted["width"]
    page.keyboard.press("1")  # the next one is shown whole
    ready(page)
    assert abs(box(frame)["width"] - fitted["width"]) < 1.5


def test_two_fingers_zoom_on_a_tablet(page: Page, console: Console) -> None:
    open_page(page, console)
    frame = page.locator("img.shown")
    fitted = box(frame)
    x, y = fitted["x"] + fitted["width"] / 2, fitted["y"] + fitted["height"] / 2
    session = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 100)):
        points = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for(page, "document.getElementById('picture').classList.contains('zoomed')")
    assert 2 < box(frame)["width"] / fitted["width"] < 3


def test_a_grid_of_what_the_model_says_alike_is_labelled_with_one_key_but_for_the_odd_ones(
    page: Page, console: Console
) -> None:
    open_page(page, console)
    page.keyboard.press("g")
    page.locator("#grid-choices button", has_text="hole").click()
    tiles = page.locator(".tile-frame")
    expect(page.locator("#grid-told")).to_contain_text("The model says hole")
    wait_for(page, "[...document.querySelectorAll('.tile-frame img')].every(i => i.naturalWidth)")
    count = tiles.count()
    assert count > 2
    first = tiles.first.locator("img").get_attribute("src") or ""
    tiles.first.focus()
    page.keyboard.press("Enter")  # takes the first out
    expect(page.locator("#grid-count")).to_have_text(f"{count - 1} chosen")
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    page.keyboard.press(KEY["hole"])
    settle(page)
    expect(page.locator("#grid")).to_be_hidden()
    catalog = console.workspace.catalog()
    labels = current_labels(catalog, TRUTH)
    assert len(labels) == count - 1
    assert {label.classes for label in labels.values()} == {("hole",)}
    assert first.rsplit("/", 1)[1] not in labels
    page.keyboard.press("u")
    settle(page)
    assert current_labels(catalog, TRUTH) == {}


def test_an_answer_to_an_earlier_choice_of_grid_that_comes_late_is_left_aside(page: Page, console: Console) -> None:
    late: list[Route] = []

    def keep(route: Route) -> None:
        late.append(route)

    page.route("**/batch?of=ok", keep)
    open_page(page, console)
    page.keyboard.press("g")
    page.locator("#grid-choices button", has_text="ok").click()
    page.locator("#grid-choices button", has_text="hole").click()
    told = page.locator("#grid-told")
    expect(told).to_contain_text("The model says hole")
    shown = page.locator(".tile-frame").count()
    assert late
    assert shown > 2
    for route in late:
        with page.expect_response("**/batch?of=ok"):
            route.continue_()
    page.wait_for_timeout(200)  # the page has had the time to draw it
    expect(told).to_contain_text("The model says hole")
    assert page.locator(".tile-frame").count() == shown


def test_nothing_of_an_earlier_grid_is_left_to_label_while_the_next_is_awaited(page: Page, console: Console) -> None:
    open_page(page, console)
    page.keyboard.press("g")
    page.locator("#grid-choices button", has_text="ok").click()
    expect(page.locator("#grid-told")).to_contain_text("The model says ok")
    wait_for(page, "document.querySelectorAll('.tile-frame').length > 2")
    page.route("**/batch?of=hole", lambda route: None)
    page.locator("#grid-choices button", has_text="hole").click()
    expect(page.locator(".tile-frame")).to_have_count(0)
    page.keyboard.press(KEY["hole"])
    expect(page.locator("#problem")).not_to_be_empty()
    assert current_labels(console.workspace.catalog(), TRUTH) == {}


def test_near_duplicates_in_the_grid_are_one_label_and_the_odd_one_comes_up_for_itself(
    page: Page, console: Console
) -> None:
    run = drawn_as_one(console, 4)
    open_page(page, console)
    shown = shown_run(page)
    page.keyboard.press("g")
    expect(page.locator(".tile-frame")).to_have_count(4)
    wait_for(page, "[...document.querySelectorAll('.tile-frame img')].every(i => i.naturalWidth)")
    odd = page.locator(".tile-frame").nth(2)
    name = (odd.locator("img").get_attribute("src") or "").rsplit("/", 1)[1]
    odd.click()
    page.keyboard.press(KEY["crack"])
    settle(page)
    labels = current_labels(console.workspace.catalog(), run)
    assert set(labels) == set(run) - {name}
    assert label_history(console.workspace.catalog(), shown)[0].because is None


def test_several_classes_are_given_with_enter_and_ok_excludes_defects(page: Page, console: Console) -> None:
    open_page(page, console)
    shown = ready(page)
    for key in ("m", KEY["ok"], KEY["hole"], KEY["crack"]):
        page.keyboard.press(key)
    expect(page.locator(".class[data-class=ok]")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Enter")
    settle(page)
    assert current_labels(console.workspace.catalog(), [shown])[shown].classes == ("crack", "hole")


def test_a_flag_keeps_the_note_and_a_new_class_gets_a_key(page: Page, console: Console) -> None:
    open_page(page, console)
    shown = ready(page)
    page.keyboard.press("f")
    page.keyboard.type("s1: is that a scratch?")  # keys are text here
    page.locator("#flagging .primary").click()
    settle(page)
    catalog = console.workspace.catalog()
    (flag,) = open_flags(catalog, INSPECTION)
    assert (flag.sample_id, flag.who, flag.note) == (shown, "ann", "s1: is that a scratch?")
    assert current_labels(catalog, TRUTH) == {}
    page.keyboard.press("n")
    page.locator("#class-name").fill("dent")
    page.keyboard.press("Enter")
    button = page.locator(".class[data-class=dent]")
    expect(button).to_have_attribute("data-key", "4", timeout=15_000)
    assert get_inspection(catalog, INSPECTION).defect_names == {"crack", "hole", "dent"}
    shown = ready(page)
    page.keyboard.press("4")
    settle(page)
    assert current_labels(catalog, [shown])[shown].classes == ("dent",)


def test_who_comes_second_makes_no_second_label_and_is_told_and_differing_waits_for_review(
    page: Page, console: Console
) -> None:
    open_page(page, console)
    shown = ready(page)
    catalog = console.workspace.catalog()
    at = datetime.now(UTC)
    record_label(catalog, sample_id=shown, classes=["ok"], who="bob", event_id="bob-was-quicker", at=at)
    page.keyboard.press(KEY["crack"])
    settle(page)
    expect(page.locator("#told")).to_contain_text("bob answered that frame before you: ok")
    assert [event.who for event in label_history(catalog, shown)] == ["bob"]
    (flag,) = open_flags(catalog, INSPECTION)
    assert (flag.sample_id, flag.said) == (shown, ("crack",))


def test_the_page_lets_go_of_what_somebody_else_settled_and_says_who_else_is_here(page: Page, console: Console) -> None:
    assert console.client_of("bob", Role.LABELLER).get(f"/api/{INSPECTION}/next").json()["items"]
    open_page(page, console)
    shown = ready(page)
    expect(page.locator("#here")).to_contain_text("bob labels here")
    catalog = console.workspace.catalog()
    record_label(catalog, sample_id=shown, classes=["ok"], who="bob", event_id="bob-did", at=datetime.now(UTC))
    page.evaluate("window.dispatchEvent(new Event('online'))")  # the page looks after its leases
    expect(page.locator("#told")).to_contain_text("bob has answered the frame you were looking at", timeout=15_000)
    assert ready(page) != shown


def test_answers_go_out_in_nobody_elses_name(page: Page, process: ConsoleProcess) -> None:
    open_page(page, process)
    page.wait_for_load_state("networkidle")
    process.kill()
    shown = ready(page)
    page.keyboard.press(KEY["ok"])
    page.wait_for_selector("#labelling[data-unsent='1']")
    context = page.context
    page.close()  # before the server is back, or it sends the answer itself: in the right name, and rightly so
    process.start()
    sign_in_browser(context, process.url, process.workspace, "lena", Role.LABELLER)
    second = context.new_page()
    open_page(second, process)
    expect(second.locator("#unsent")).to_contain_text("1 answer of somebody else waits")
    assert label_history(process.workspace.catalog(), shown) == []
    sign_in_browser(context, process.url, process.workspace)
    second.reload()
    ready(second)
    settle(second)
    assert [event.who for event in label_history(process.workspace.catalog(), shown)] == ["ann"]


def test_similar_labelled_frames_and_what_the_gate_asks_for_are_shown(page: Page, console: Console) -> None:
    catalog = console.workspace.catalog()
    for n, (name, truth) in enumerate(list(TRUTH.items())[:6]):
        record_label(catalog, sample_id=name, classes=[truth], who="bob", event_id=f"b{n}", at=datetime.now(UTC))
    open_page(page, console)
    expect(page.locator("#similar li")).to_have_count(6, timeout=15_000)
    assert set(page.locator("#similar .chip").all_inner_texts()) <= {"ok", "crack", "hole"}
