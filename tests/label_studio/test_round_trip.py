"""200 tasks to a real Label Studio and back, connector and server killed on the way: none doubled, none lost."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from data.catalog.models import LabelEventRow, SampleRow
from data.imports import import_samples
from data.inspections import add_class, create_inspection
from data.labels import current_labels
from data.sources import SourceSample
from data.workspace import Workspace
from flows.connect.label_studio_api import LabelStudioApi
from tests.integration.flows.stack import ROOT, Stack, wait_until
from tests.label_studio.server import ADMIN, TOKEN, LabelStudio

NAME, TASKS, CLASSES = "caps", 200, ("ok", "crack")
SECOND = "ben@example.org"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    server = LabelStudio(tmp_path_factory.mktemp("label-studio"))
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("andon"))
    stack.prepare()
    stack.start("bucket")
    try:
        wait_until(lambda: stack.ready("bucket"), "the bucket")
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def workspace(stack: Stack, server: LabelStudio) -> Workspace:
    workspace = stack.workspace
    catalog = workspace.catalog()
    create_inspection(catalog, NAME, [("ok", "ok"), ("crack", "defect")])
    pictures = [
        SourceSample(path=f"{n}.png", image=picture(n), media_type="image/png", part_id=f"A-{n}") for n in range(TASKS)
    ]
    import_samples(catalog, workspace.lake(), NAME, pictures)
    with catalog.session() as session:
        for row in session.scalars(select(SampleRow)):
            row.extra, row.engine_id = "flag", "e1"  # an operator pulled the cord on each
            row.classes, row.probabilities = list(CLASSES), [0.25, 0.75]
    token = stack.home / "label-studio.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    (stack.home / "policy.toml").write_text(f'[label_studio]\nurl = "{server.url}"\n')
    return workspace


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def start_sync(stack: Stack) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "infra.cli.main",
        "label-studio",
        "sync",
        NAME,
        "--home",
        str(stack.home),
        "--json",
    ]
    return subprocess.Popen(
        command, cwd=ROOT, env=stack.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def sync(stack: Stack) -> dict[str, Any]:
    process = start_sync(stack)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    answer: dict[str, Any] = json.loads(out)
    return answer


def tasks(server: LabelStudio) -> list[dict[str, Any]]:
    api = LabelStudioApi(server.url, TOKEN)
    projects = list(api.projects())
    assert len(projects) <= 1
    return [dict(task) for project in projects for task in api.tasks(int(project["id"]))]


def of_label_studio(workspace: Workspace) -> list[LabelEventRow]:
    with workspace.catalog().reading() as session:
        query = select(LabelEventRow).where(LabelEventRow.source == "label-studio", LabelEventRow.kind == "label")
        return list(session.scalars(query))


def test_tasks_are_made_once_over_kills_of_both(stack: Stack, server: LabelStudio, workspace: Workspace) -> None:
    draw = random.Random(4)
    for kill in range(6):
        before = len(tasks(server))
        process = start_sync(stack)
        deadline = time.monotonic() + 600
        least = before + draw.choice((1, 20, 30))
        while len(tasks(server)) < min(least, TASKS) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if kill % 3 == 2:  # the server goes, the connector says so
            server.kill()
            process.communicate(timeout=600)
            server.start()
            server.wait()
        else:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
    sync(stack)
    last = sync(stack)  # one more: what a dying server made twice is seen then
    assert last["problems"] == []
    made = tasks(server)
    counts = Counter(task["data"]["sample_id"] for task in made)
    with workspace.catalog().reading() as session:
        expected = set(session.scalars(select(SampleRow.sample_id)))
    assert set(counts) == expected
    assert set(counts.values()) == {1}
    assert len(made) == TASKS
    assert sync(stack)["made"] == 0


def test_a_task_shows_the_image_and_the_engines_answer(server: LabelStudio, workspace: Workspace) -> None:
    task = tasks(server)[0]
    with workspace.catalog().reading() as session:
        row = session.get_one(SampleRow, task["data"]["sample_id"])
    image, _ = workspace.lake().image(row.lake_path, row.lake_row)
    assert httpx.get(task["data"]["image"]).content == image
    assert httpx.get(task["data"]["image"].replace("Signature=", "Signature=0")).status_code == 403
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("e1", 0.75)
    assert prediction["result"][0]["value"]["choices"] == ["crack"]
    assert row.part_id is not None
    assert row.part_id in task["data"]["facts"]


def annotate(server: LabelStudio, task: int, choice: str, token: str) -> int:
    """As a person's browser does; a request that the server did not answer is looked up before it is repeated."""
    result = {"from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": [choice]}}
    while True:
        try:
            answer = server.ask("POST", f"/api/tasks/{task}/annotations/", token, json={"result": [result]})
            if answer.status_code == 201:
                return int(answer.json()["id"])
            assert answer.status_code >= 500, answer.text
        except httpx.HTTPError:
            pass
        wait_until(server.answers, "Label Studio", seconds=900)
        there = server.ask("GET", f"/api/tasks/{task}/annotations/", token).json()
        if there:
            return int(there[0]["id"])


def second_person(server: LabelStudio) -> str:
    """Make a second account in the organisation and return its token."""
    form = {"email": SECOND, "password": "secret-secret-2"}
    link = server.ask("GET", "/api/invite").json()["invite_url"]
    with httpx.Client(base_url=server.url, follow_redirects=False, timeout=60) as browser:
        page = browser.get(link)
        token = page.text.split('csrfmiddlewaretoken" value="')[1].split('"')[0]
        done = browser.post(link, data={**form, "csrfmiddlewaretoken": token}, headers={"Referer": server.url})
        assert done.status_code == 302, done.text[:500]
        return str(browser.get("/api/current-user/token").json()["token"])


def test_annotations_come_back_once_over_kills_of_both(stack: Stack, server: LabelStudio, workspace: Workspace) -> None:
    people = {ADMIN: TOKEN, SECOND: second_person(server)}
    draw = random.Random(5)
    said: dict[str, tuple[str, str]] = {}
    running: subprocess.Popen[str] | None = None
    for number, task in enumerate(tasks(server)):
        who = draw.choice(list(people))
        choice = draw.choice(CLASSES)
        annotate(server, int(task["id"]), choice, people[who])
        said[task["data"]["sample_id"]] = (who, choice)
        if number % 20 == 10:
            running = start_sync(stack)
        if number % 20 == 10 + draw.randrange(1, 8) and running is not None:
            running.kill()
            running.communicate(timeout=60)
        if number in (67, 133):
            server.kill()
            server.start()
            server.wait()
    if running is not None:
        running.communicate(timeout=900)
    done = sync(stack)
    assert done["problems"] == []
    events = of_label_studio(workspace)
    assert len(events) == TASKS == len(said)
    assert {row.sample_id: (row.who, row.classes[0]) for row in events} == said
    again = sync(stack)
    assert (again["labels"], again["undone"], len(of_label_studio(workspace))) == (0, 0, TASKS)
    print(f"label-studio: {TASKS} tasks, {len(events)} labels, doubled 0, lost 0")


def test_a_change_and_a_deletion_there_are_followed(stack: Stack, server: LabelStudio, workspace: Workspace) -> None:
    first, second, *_ = tasks(server)
    annotation = first["annotations"][0]
    other = next(name for name in CLASSES if name != annotation["result"][0]["value"]["choices"][0])
    annotation["result"][0]["value"]["choices"] = [other]
    changed = server.ask("PATCH", f"/api/annotations/{annotation['id']}/", json={"result": annotation["result"]})
    assert changed.status_code == 200, changed.text
    gone = server.ask("DELETE", f"/api/annotations/{second['annotations'][0]['id']}/")
    assert gone.status_code == 204, gone.text
    done = sync(stack)
    assert (done["labels"], done["undone"]) == (1, 1)
    labels = current_labels(workspace.catalog(), inspection=NAME)
    assert labels[first["data"]["sample_id"]].classes == (other,)
    assert second["data"]["sample_id"] not in labels
    assert sync(stack)["labels"] == 0


def test_a_new_class_is_on_the_page_and_what_is_answered_elsewhere_is_not(
    stack: Stack, server: LabelStudio, workspace: Workspace
) -> None:
    add_class(workspace.catalog(), NAME, "void", "defect")
    (waits,) = [task for task in tasks(server) if not task["annotations"]]
    from data.labels import record_label

    sample = waits["data"]["sample_id"]
    record_label(
        workspace.catalog(), sample_id=sample, classes=["void"], who="ann", event_id="e1", at=datetime.now(UTC)
    )
    assert sync(stack)["deleted"] == 1
    (project,) = LabelStudioApi(server.url, TOKEN).projects()
    assert '<Choice value="void"' in project["label_config"]
    assert sample not in {task["data"]["sample_id"] for task in tasks(server)}


def test_links_are_renewed_before_they_end(stack: Stack, server: LabelStudio) -> None:
    task = tasks(server)[0]
    server.ask("PATCH", f"/api/tasks/{task['id']}/", json={"data": {**task["data"], "image": "https://old.example/x"}})
    assert sync(stack)["renewed"] == 1
    renewed = next(one for one in tasks(server) if one["id"] == task["id"])
    assert httpx.get(renewed["data"]["image"]).status_code == 200
    assert len(renewed["predictions"]) == 1


if not (os.environ.get("ANDON_LABEL_STUDIO") or Path(".venv-label-studio/bin/label-studio").exists()):
    pytest.skip("no Label Studio here: run `make test-label-studio`", allow_module_level=True)
