"""A new user's tasks, each from the start page: ``python -m benchmarks.tasks [--tours 3] [--json]``.

A plant with everything real behind its console (benchmarks/task_line.py), and somebody in Chromium who presses what
they see: links, buttons and keys, found by the words on them, never by an address. Of each task are told the clicks,
keys and pages; the machine's seconds, measured from each press until what it was for is on the screen; the plant's
seconds, until devices have done what was asked; and a person's, by a published model (benchmarks/task_hand.py).

What the page tells is held against what is true: labels against the catalog, the reason against the gate's decision,
the alias against MLflow, the engines against the devices, the worst station against how the line was made.

    label 20        label twenty frames by key
    why it lost     find why version 4 was refused
    promote         make version 5 the champion
    watch           see its rollout reach every device
    roll back       go back to version 3
    worst station   find the station with the highest defect rate
    print           print what the loop brought

Runs where Chromium is (``/usr/bin/chromium``, or ``--chromium``). Takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright
from sqlalchemy import select

from benchmarks.result import Row, tell
from benchmarks.task_hand import PATIENCE_MS, Done, Hand, seen
from benchmarks.task_line import BAD_STATION, INSPECTION, Plant, running_plant
from data.catalog.models import SampleRow
from data.decisions import list_decisions
from data.golden_items import golden_answers
from data.intervals import clopper_pearson
from data.label_activity import record_page
from data.rollouts.values import State
from data.users import Role
from data.users.audit_log import list_audit_log
from tests.console_person import sign_in_browser
from tests.integration.console.cast_lids import CLASSES
from tests.integration.flows.stack import wait_until
from training.evaluate import Measure

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_LABELS = 20
_PERSON = "eva"  # an approver: may label and decide
_KEYS = {name: str(i + 1) for i, name in enumerate(CLASSES)}
_LOST, _NEXT, _BEFORE = "4", "5", "3"


def truth_of(plant: Plant, sample_id: str) -> str:
    """What a frame shows: drawn with the line, or stated by the factory's folder."""
    if sample_id in plant.lids.truth:
        return plant.lids.truth[sample_id]
    with plant.workspace.catalog().reading() as session:
        path = session.scalar(select(SampleRow.source_path).where(SampleRow.sample_id == sample_id))
    return (path or "").split("/")[0]


def label(hand: Hand, plant: Plant) -> None:
    """Twenty frames, a key each."""
    page, labelling = hand.page, hand.page.locator("#labelling")
    ready = page.locator("#labelling[data-ready=yes]")
    hand.click(_card(hand).get_by_role("link", name=re.compile("^Label ")), seen(ready))
    hand.read(page.get_by_role("group", name="Classes"))
    before, golden_before = _written(plant), _golden(plant)
    said: list[tuple[str, str]] = []
    for _ in range(_LABELS):
        sample = labelling.get_attribute("data-sample") or ""
        said.append((sample, truth_of(plant, sample)))
        hand.key(_KEYS[said[-1][1]], seen(page.locator(f"#labelling[data-ready=yes]:not([data-sample='{sample}'])")))
    page.wait_for_selector("#labelling[data-unsent='0']", timeout=PATIENCE_MS)
    hand.check("labelled here", f"{_LABELS} labelled here" in page.locator("#progress").inner_text(), True)
    recorded = [*_written(plant)[len(before) :], *_golden(plant)[len(golden_before) :]]
    hand.check("labels", sorted(said), sorted(recorded))


def _written(plant: Plant) -> list[tuple[str, str]]:
    """What the catalog has of the person's labels, oldest first."""
    written = record_page(plant.workspace.catalog(), INSPECTION, who=_PERSON, limit=10_000)
    return [(one.event.sample_id, "+".join(one.event.classes)) for one in reversed(written)]


def _golden(plant: Plant) -> list[tuple[str, str]]:
    """And of their answers to golden items, which are no labels."""
    answers = golden_answers(plant.workspace.catalog(), INSPECTION)
    return [(one.sample_id, "+".join(one.said)) for one in answers if one.who == _PERSON]


def why_it_lost(hand: Hand, plant: Plant) -> None:
    """The sentence with the reason."""
    _open_models(hand)
    title, reasons = hand.page.locator("#answer-title"), hand.page.locator("#reasons")
    versions = hand.page.get_by_role("navigation", name="All versions")
    hand.read(versions)
    hand.click(versions.get_by_role("link", name=f"Version {_LOST}"), seen(title, f"Version {_LOST}: reject"))
    hand.read(title)
    decision = next(d for d in list_decisions(plant.workspace.catalog(), INSPECTION) if d.version == _LOST)
    hand.check("why it lost", hand.read(reasons).strip().splitlines(), list(decision.reasons))


def promote(hand: Hand, plant: Plant) -> None:
    """The challenger becomes the champion."""
    _open_models(hand)
    page, title, dialog = hand.page, hand.page.locator("#answer-title"), hand.page.get_by_role("dialog")
    seen(title, f"Version {_NEXT}: promote")()
    hand.read(page.locator("section.answer"))
    hand.click(page.get_by_role("button", name=f"Promote version {_NEXT}"), seen(dialog, "in stages"))
    told = hand.read(dialog)
    hand.check("devices that follow", f"stable: {len(plant.lines)} devices" in told, True)
    done = seen(title, f"Version {_NEXT}: promote · is the champion")
    hand.click(dialog.get_by_role("button", name=f"Promote: {len(plant.lines)} devices"), done)
    _decided(hand, plant, "promote", _NEXT)


def watch(hand: Hand, plant: Plant) -> None:
    """The rollout reaches every device; nothing is pressed meanwhile."""
    rollout = hand.page.get_by_role("article", name=f"version {_NEXT} to stable").first
    hand.click(hand.page.get_by_role("link", name="Rollouts"), seen(hand.page.get_by_role("region", name=INSPECTION)))
    hand.wait_for_the_plant(seen(rollout))
    hand.read(rollout)
    told = rollout.get_by_role("heading")
    hand.wait_for_the_plant(lambda: expect(told).to_contain_text(re.compile(r": done( |$)"), timeout=2 * PATIENCE_MS))
    sentence = hand.read(rollout)
    newest = plant.rollout()
    hand.check("the rollout's state", newest.state if newest else None, State.DONE)
    hand.check("the reason", (newest.reason if newest else "?") in sentence, True)
    hand.check("engines on the devices", plant.versions_served(), {f"lids-{_NEXT}"})


def roll_back(hand: Hand, plant: Plant) -> None:
    """The version before serves again."""
    _open_models(hand)
    page, dialog = hand.page, hand.page.get_by_role("dialog")
    row = page.locator("#versions tr").filter(has=page.get_by_role("link", name=f"Version {_BEFORE}"))
    hand.read(page.locator(".chooser"))
    back = page.locator(".chooser").get_by_role("button", name=f"Roll back to version {_BEFORE}")
    hand.click(back, seen(dialog, "all at once"))
    hand.read(dialog)
    done = seen(page.locator("#answer-title"), f"Version {_BEFORE}")
    hand.click(dialog.get_by_role("button", name=f"Roll back: {len(plant.lines)} devices"), done)
    _decided(hand, plant, "rollback", _BEFORE)
    hand.wait_for_the_plant(seen(row, "on stable"))
    hand.wait_for_the_plant(
        lambda: wait_until(lambda: plant.failed or plant.versions_served() == {f"lids-{_BEFORE}"}, "the way back")
    )
    hand.check("engines on the devices", plant.versions_served(), {f"lids-{_BEFORE}"})


def worst_station(hand: Hand, plant: Plant) -> None:
    """The station with the highest defect rate."""
    worst = hand.page.locator("#worst")
    hand.click(_card(hand).get_by_role("link", name=re.compile("^Field")), seen(worst, "Worst station:"))
    told = hand.read(worst)
    hand.check("worst station", re.findall(r"Worst station: (\S+)", told), [BAD_STATION])


def print_value(hand: Hand, plant: Plant) -> None:
    """What the loop brought, on paper."""
    page = hand.page
    total = page.locator(".sum .total")
    hand.click(_card(hand).get_by_role("link", name=re.compile("^Value")), seen(total, "EUR"))
    page.evaluate("() => { window.printed = 0; window.print = () => { window.printed += 1; }; }")
    hand.read(page.locator(".sum"))
    asked = page.get_by_role("button", name="Print or save as PDF")
    hand.click(asked, lambda: wait_until(lambda: page.evaluate("window.printed") == 1, "the browser's print dialog"))
    of = page.evaluate(f"fetch('/api/{INSPECTION}/value?days=0').then((answer) => answer.json())")
    shown = float(re.sub(r"[^\d.-]", "", total.inner_text()))
    true = of["money"]["total"]["value"]
    hand.check("net value to three figures", shown, float(f"{true:.3g}") if abs(true) >= 1000 else round(true))
    hand.check("sheets of paper", 1 <= page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") <= 2, True)


TASKS: dict[str, Callable[[Hand, Plant], None]] = {
    "label 20": label, "why it lost": why_it_lost, "promote": promote, "watch": watch, "roll back": roll_back,
    "worst station": worst_station, "print": print_value,
}  # fmt: skip


def _card(hand: Hand) -> Locator:
    """The inspection's card on the start page."""
    return hand.page.get_by_role("listitem").filter(has=hand.page.get_by_role("heading", name=INSPECTION))


def _open_models(hand: Hand) -> None:
    ready = hand.page.locator("#models[data-ready=yes]")
    hand.click(_card(hand).get_by_role("link", name=re.compile("^Models")), seen(ready))


def _decided(hand: Hand, plant: Plant, what: str, version: str) -> None:
    """An act is done where it counts: in MLflow, and in the audit log under the person's name."""
    hand.check("the champion in MLflow", plant.champion(), version)
    entry = next(iter(list_audit_log(plant.workspace.catalog(), what=f"model.{what}")), None)
    told = (entry.who, entry.about, entry.outcome) if entry else None
    hand.check("the audit log", told, (_PERSON, f"{INSPECTION} version {version}", "done"))


def tour(page: Page, plant: Plant, pictures: Path | None = None) -> list[Done]:
    """Every task once, in an order in which each is possible."""
    done = []
    for name, does in TASKS.items():
        hand = Hand(page, plant.console.url, name)
        hand.begin()
        does(hand, plant)
        if pictures is not None:
            page.screenshot(path=pictures / f"{name.replace(' ', '-')}.png")
        if plant.failed:
            raise plant.failed[0]
        done.append(hand.end())
        print(_said(done[-1]), file=sys.stderr, flush=True)
    return done


def _said(done: Done) -> str:
    told = f"{done.task}: {done.clicks} clicks, {done.keys} keys, {done.pages} pages"
    took = f"machine {done.machine_seconds:.1f} s, plant {done.plant_seconds:.1f} s, person {done.person_seconds:.1f} s"
    return "; ".join([told, took, f"{done.words} words read", *(f"WRONG: {each}" for each in done.wrong)])


def figures_of(tours: Sequence[Sequence[Done]]) -> dict[str, Measure]:
    """What the benchmark is run for."""
    every = [done for tour in tours for done in tour]
    right = sum(not done.wrong for done in every)
    low, high = clopper_pearson(right, len(every))
    clicks = [done.clicks for done in every]
    whole = [sum(done.seconds for done in tour) for tour in tours]
    return {
        "tasks_right": Measure(value=right / len(every), low=low, high=high, n=len(every)),
        "most_clicks": Measure(value=max(clicks), low=min(clicks), high=max(clicks), n=len(clicks)),
        "clicks_of_all": _over([sum(done.clicks for done in tour) for tour in tours]),
        "seconds_of_all": _over(whole),
        "machine_seconds_of_all": _over([sum(done.machine_seconds for done in tour) for tour in tours]),
    }


def _over(values: Sequence[float]) -> Measure:
    """The median of some tours, and their range: too few for an interval."""
    middle = sorted(values)[len(values) // 2]
    return Measure(value=middle, low=min(values), high=max(values), n=len(values))


def rows_of(tours: Sequence[Sequence[Done]]) -> list[Row]:
    """Each task by itself."""
    rows = []
    for same in zip(*tours, strict=True):
        name = same[0].task
        rows += [
            Row.of(f"{name}: clicks", "", [done.clicks for done in same]),
            Row.of(f"{name}: keys", "", [done.keys for done in same]),
            Row.of(f"{name}: pages", "", [done.pages for done in same]),
            Row.of(f"{name}: machine", "s", [done.machine_seconds for done in same]),
            Row.of(f"{name}: person, modelled", "s", [done.person_seconds for done in same]),
        ]
        if any(done.plant_seconds for done in same):
            rows.append(Row.of(f"{name}: plant", "s", [done.plant_seconds for done in same]))
    return rows


def main() -> int:
    """Run it; the exit code is 1 if a page told something that is not true."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tours", type=int, default=3, help="how often all tasks are done (default: 3)")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser (default: /usr/bin/chromium)")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each page at the end of its task")
    given = parser.parse_args()
    if given.pictures is not None:
        given.pictures.mkdir(parents=True, exist_ok=True)
    if not 1 <= given.tours <= 50:
        parser.error(f"--tours {given.tours}: expected 1 to 50")
    say = lambda words: print(words, file=sys.stderr, flush=True)  # noqa: E731
    with (
        tempfile.TemporaryDirectory(prefix="andon-tasks-") as folder,
        running_plant(Path(folder), say) as plant,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=given.chromium, args=_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        sign_in_browser(context, plant.console.url, plant.workspace, _PERSON, Role.APPROVER)
        tours = [tour(context.new_page(), plant, given.pictures) for _ in range(given.tours)]
        browser.close()
    tell("tasks", rows_of(tours), figures_of(tours), as_json=given.json)
    return 0 if all(not done.wrong for one in tours for done in one) else 1


if __name__ == "__main__":
    sys.exit(main())
