"""axe-core over every page, light and dark, wide and narrow; the way through the navigation by keyboard."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from data.users import Role
from tests.console_person import ensure_person, sign_in_browser
from tests.integration.console.conftest import Console
from tests.integration.console.pressed_plates import INSPECTION

#: Address to what is there once the page is drawn.
PAGES = {
    "/": ".card",
    f"/label/{INSPECTION}": "#labelling[data-ready=yes]",
    "/review": "[role=tab][aria-selected=true]",
    "/review?kind=people": "#record tbody tr",
    "/loop": "#loop .tile",
    f"/models/{INSPECTION}": "#models[data-ready=yes]",
    "/field": "#field[data-ready=yes]",
    "/value": "#value[data-ready=yes]",
    "/fleet": "#devices tbody tr",
    "/rollouts": "#rollouts .headline",
    "/drift": "#drift .headline",
    "/causes": "#causes section",
    "/account": "#password-form",
    "/users": "#users tbody tr",
    "/audit-log": "#log tbody tr, #none:not([hidden])",
}
LOOKS = [("light", 1280), ("dark", 820)]
#: A place on a page that a script fills, and what it says there in German.
MADE_BY_SCRIPTS = [
    ("/fleet", "#devices thead", "zuletzt gehört"),
    ("/rollouts", f"section[aria-label='{INSPECTION}']", "Noch wurde keine Version ausgerollt"),
    ("/drift", f"section[aria-label='{INSPECTION}'] .status", "kein offener Alarm"),
    ("/causes", f"section[aria-label='{INSPECTION}']", "Noch kein gelabeltes Bild und keine Rückmeldung."),
]


def violations(page: Page) -> list[str]:
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]}"
        for each in found.response["violations"]
        for node in each["nodes"][:4]
    ]


def test_no_page_violates_a_rule_of_axe(browser: Browser, console: Console) -> None:
    ensure_person(console.workspace, "bob", Role.LABELLER)
    wrong: dict[str, list[str]] = {}
    for scheme, width in LOOKS:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{console.url}/login")
        wrong[f"/login {scheme} {width}"] = violations(page)
        sign_in_browser(context, console.url, console.workspace, "root", Role.ADMIN)
        for path, drawn in PAGES.items():
            page.goto(console.url + path)
            page.wait_for_selector(drawn, timeout=60_000)
            wrong[f"{path} {scheme} {width}"] = violations(page)
            across = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert across <= 0, (path, width, "the page can be scrolled sideways")
        context.close()
    assert len(wrong) == len(LOOKS) * (len(PAGES) + 1)
    assert {name: found for name, found in wrong.items() if found} == {}


def test_the_navigation_is_walked_by_keyboard_and_shows_where_one_is(page: Page, console: Console) -> None:
    page.goto(f"{console.url}/fleet")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "[document.activeElement.getAttribute('href'), getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.append(here)
        if here[0] == "/causes":
            break
    assert [address for address, _ in reached if address][-11:] == [
        "/", "/label", "/review", "/loop", "/models", "/field", "/value", "/fleet", "/rollouts", "/drift", "/causes",
    ]  # fmt: skip
    assert all(outline == "solid" for _, outline in reached), reached
    page.keyboard.press("Enter")
    expect(page.locator("nav.pages-of [aria-current=page]")).to_have_attribute("href", "/causes")


def test_the_pages_are_read_in_the_chosen_language(page: Page, console: Console) -> None:
    page.goto(console.url)
    expect(page.locator("nav.pages-of")).to_contain_text("Fleet")
    page.locator("[data-language=de]").click()
    expect(page.locator("nav.pages-of")).to_contain_text("Ausrollen")
    assert page.locator("html").get_attribute("lang") == "de"
    page.goto(f"{console.url}/account")
    expect(page.locator("h1")).to_have_text("Ihr Konto")
    for path, where, words in MADE_BY_SCRIPTS:
        page.goto(console.url + path)
        expect(page.locator(where)).to_contain_text(words, timeout=60_000)
