"""Labelling by keyboard: ``python -m benchmarks.console [--images 300] [--json]``.

A console in a process of its own, on a real catalog and bucket, and the labelling page in Chromium, driven by keys.
Measured is the time from the key until the next image is SHOWN: the event's own timestamp, until the next sample's
picture is decoded and the frame with it has been painted. Beside it, in turns and with the same images, is what no page
can be quicker than: a bare page that swaps an image that is loaded and decoded already, and does nothing else.

On the way the server is killed with SIGKILL and started again, and the network is cut and comes back; both times
labelling goes on. All the while a second person labels the same queue. At the end each answer that was given is looked
up in the catalog: `labels_lost` were given and are not recorded as given, `labels_doubled` are recorded more than once,
by the same or by both people.

Runs where Chromium is (``/usr/bin/chromium``, or ``--chromium``).
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import BrowserContext, Page, sync_playwright

from benchmarks.result import Row, tell
from data.draws import Plan, draw, not_offered
from data.golden_items import golden_answers
from data.label_activity import record_page
from data.users import Role
from data.workspace import Workspace
from tests.console_person import sign_in_browser, signed_in
from tests.integration.console.polled import wait_for
from tests.integration.console.pressed_plates import CLASSES, INSPECTION, build, sample_id, truth
from tests.integration.ingest.seaweed import seaweed
from training.evaluate import Measure

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_TURN = 30  # images that one page shows before it is the other's turn
_BESIDE = 0.2  # of the images, those that the second person labels
_CUT = 5  # answers while the server or the network is away; as many pictures are loaded ahead
_WAIT_MS = 120_000
_KEYS = {name: str(i + 1) for i, (name, _) in enumerate(CLASSES)}

# From the key to the paint: a task that is posted in an animation frame runs when that frame is done.
_WATCH = """
window.spent = [];
addEventListener('keydown', (event) => {
  const page = document.getElementById('labelling');
  if (!page || !'123'.includes(event.key) || page.dataset.ready !== 'yes') return;
  const before = page.dataset.sample;
  const look = () => {
    const image = page.querySelector('img.shown');
    if (page.dataset.sample === before || page.dataset.ready !== 'yes' || !image) return requestAnimationFrame(look);
    image.decode().then(() => requestAnimationFrame(() => {
      const done = new MessageChannel();
      done.port1.onmessage = () => window.spent.push(performance.now() - event.timeStamp);
      done.port2.postMessage(0);
    }));
  };
  queueMicrotask(look);
}, true);
"""

_BARE = """<!doctype html><style>img { width: 800px; height: 600px; object-fit: contain; }</style>
<div id="labelling"></div><script type="module">
const page = document.getElementById('labelling'), ids = %s, images = [];
let at = 0;
for (const id of ids) { const image = new Image(); image.className = 'shown'; image.src = `/api/image/${id}`;
  images.push(image); }
await Promise.all(images.map((image) => image.decode()));
const show = () => { page.replaceChildren(images[at %% images.length]); page.dataset.sample = String(at);
  page.dataset.ready = 'yes'; };
addEventListener('keydown', () => { at += 1; show(); });
show();
</script>"""


@dataclass
class ConsoleProcess:
    """``python -m console`` on a port, to be killed and started again."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "console", "--home", str(self.home), "--port", str(self.port)]
        with (self.home / "console.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        end = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the console did not start: {(self.home / 'console.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)


@dataclass
class Second:
    """A second person who labels the same queue over the API, as their page would, until told to stop."""

    client: httpx.Client
    most: int
    said: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Label; what the server has not confirmed is sent again with the same event id."""
        while not self.stop.is_set() and len(self.said) < self.most:
            try:
                items = self.client.get(f"/api/{INSPECTION}/next").raise_for_status().json()["items"]
            except httpx.HTTPError:
                self.stop.wait(0.5)
                continue
            for item in items[:3]:
                name = TRUTH.get(item["sample_id"])
                if name is None or self.stop.is_set():
                    continue
                body = {"sample_id": item["sample_id"], "event_id": str(uuid.uuid4()), "classes": [name]}
                while not self.stop.is_set():
                    try:
                        answer = self.client.post("/api/labels", json={**body, "after": item["seen"]})
                        answer.raise_for_status()
                    except httpx.HTTPError:
                        self.stop.wait(0.5)
                        continue
                    if "meanwhile" not in answer.json():
                        self.said[item["sample_id"]] = name
                    break
                self.stop.wait(0.3)


TRUTH = {sample_id(n): truth(n) for n in range(5_000)}


def prepare(home: Path, images: int, settings: object) -> Workspace:
    """A home directory with so many images drawn for labelling."""
    workspace = build(home, settings, plates=images)  # type: ignore[arg-type]
    catalog = workspace.catalog()
    with catalog.reading() as session:
        ids = sorted(row.sample_id for row in session.scalars(not_offered(INSPECTION)))
    plan = Plan(scores=dict.fromkeys(ids, 1.0))
    draw(catalog, INSPECTION, len(ids), random=random.Random(1), at=datetime.now(UTC), plan=plan)
    return workspace


def press(page: Page, said: dict[str, str] | None) -> None:
    """Press the key of the sample on the screen."""
    page.wait_for_selector("#labelling[data-ready=yes]", timeout=_WAIT_MS)
    shown = page.locator("#labelling").get_attribute("data-sample") or ""
    name = TRUTH.get(shown, "ok")
    before = page.evaluate("window.spent.length")
    page.keyboard.press(_KEYS[name])
    if said is not None:
        said[shown] = name
    wait_for(page, f"window.spent.length > {before}", seconds=_WAIT_MS / 1000)


def label(
    context: BrowserContext, console: ConsoleProcess, images: int
) -> tuple[dict[str, str], list[float], list[float]]:
    """What was said of each sample, and the times of the page and of the bare one."""
    context.add_init_script(_WATCH)
    ids = list(TRUTH)[:_TURN]
    page, bare = context.new_page(), context.new_page()
    bare.route("**/bare", lambda route: route.fulfill(body=_BARE % ids, content_type="text/html"))
    page.goto(f"{console.url}/label/{INSPECTION}")
    page.wait_for_selector("#labelling[data-ready=yes]", timeout=_WAIT_MS)
    bare.goto(f"{console.url}/bare")
    bare.wait_for_selector("#labelling[data-ready=yes]", timeout=_WAIT_MS)
    said: dict[str, str] = {}
    turns = 0
    while len(said) < images:
        page.bring_to_front()
        with _cut(page, console, turns, images) as count:
            for _ in range(count or min(_TURN, images - len(said))):
                press(page, said)
        if count:
            page.wait_for_selector("#labelling[data-unsent='0']", timeout=_WAIT_MS)
        bare.bring_to_front()
        for _ in range(_TURN):
            press(bare, None)
        turns += 1
    page.wait_for_selector("#labelling[data-unsent='0']", timeout=_WAIT_MS)
    return said, page.evaluate("window.spent"), bare.evaluate("window.spent")


@contextmanager
def _cut(page: Page, console: ConsoleProcess, turn: int, images: int) -> Iterator[int]:
    """In two turns in the middle something is away; then so many answers are given, else as many as a turn has."""
    middle = images // _TURN // 2
    if turn not in (middle, middle + 1):
        yield 0
        return
    ahead = f"document.getElementById('labelling').dataset.ahead >= {_CUT}"  # what is shown while it is away is loaded
    wait_for(page, ahead, seconds=_WAIT_MS / 1000)
    if turn == middle:
        console.kill()
        yield _CUT
        console.start()
    else:
        page.context.set_offline(True)
        yield _CUT
        page.context.set_offline(False)


def doubled(workspace: Workspace) -> tuple[dict[str, str], int]:
    """What is recorded of each sample by anybody but the archive, and how many labels are there more than once."""
    catalog = workspace.catalog()
    events = [
        one.event
        for one in record_page(catalog, INSPECTION, limit=1_000_000)
        if one.undone_by is None and one.event.source == "console"
    ]
    recorded = {event.sample_id: "+".join(event.classes) for event in events}
    recorded |= {answer.sample_id: "+".join(answer.said) for answer in golden_answers(catalog, INSPECTION)}
    return recorded, sum(count - 1 for count in Counter(event.sample_id for event in events).values())


def quantile(values: list[float], share: float) -> Measure:
    """A quantile of times with a 95 % bootstrap interval."""
    all_of = np.asarray(values)
    rows = np.random.default_rng(0).integers(0, len(all_of), size=(2_000, len(all_of)))
    low, high = np.quantile(np.quantile(all_of[rows], share, axis=1), [0.025, 0.975])
    return Measure(value=float(np.quantile(all_of, share)), low=float(low), high=float(high), n=len(all_of))


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--images", type=int, default=300, help="images labelled by key (default: 300; at least 150)")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser (default: /usr/bin/chromium)")
    parser.add_argument("--cache", help="not used here")
    given = parser.parse_args()
    if not 150 <= given.images <= 3_000:
        parser.error(f"--images {given.images}: expected 150 to 3000")
    beside = int(given.images * _BESIDE)
    with tempfile.TemporaryDirectory() as folder, seaweed(Path(folder) / "bucket", "andon") as settings:
        workspace = prepare(Path(folder) / "home", given.images + beside + 4 * _TURN, settings)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            console = ConsoleProcess(workspace.home, probe.getsockname()[1])
        console.start()
        second = Second(signed_in(console.url, workspace, "bob", Role.LABELLER), beside)
        thread = threading.Thread(target=second.run)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=given.chromium, args=_FLAGS)
                context = browser.new_context(viewport={"width": 1280, "height": 860})
                sign_in_browser(context, console.url, workspace)
                thread.start()
                said, spent, bare = label(context, console, given.images)
                browser.close()
        finally:
            second.stop.set()
            if thread.ident is not None:
                thread.join(60)
            console.kill()
        recorded, twice = doubled(workspace)
        workspace.catalog().close()
    answers = {**said, **second.said}
    lost = sum(1 for name, what in answers.items() if recorded.get(name) != what)
    print(f"{len(said)} by key, {len(second.said)} by the second person", file=sys.stderr)
    figures = {
        "label_p50_ms": quantile(spent, 0.5),
        "label_p95_ms": quantile(spent, 0.95),
        "bare_p50_ms": quantile(bare, 0.5),
        "bare_p95_ms": quantile(bare, 0.95),
        "labels_lost": Measure(value=lost, low=lost, high=lost, n=len(answers)),
        "labels_doubled": Measure(value=twice, low=twice, high=twice, n=len(answers)),
    }
    rows = [
        Row.of("labelling page, key to next image shown", "ms", spent),
        Row.of("bare page that swaps loaded images", "ms", bare),
    ]
    tell("console", rows, figures, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
