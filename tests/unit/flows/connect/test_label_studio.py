"""The connector's rules, on documents as Label Studio 1.23 gives them. The real server: tests/label_studio."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.current_labels import LabelKind, current_labels, label_history
from data.draws import draw
from data.inspections import Inspection
from edge_client.contract.engine_metadata import ClassInfo, Kind
from edge_client.contract.errors import ConfigError
from flows.connect.annotations import pull
from flows.connect.label_studio import plan_tasks
from flows.connect.label_studio_api import LabelStudioApi, LabelStudioError, LabelStudioUnavailable
from flows.connect.label_studio_flow import read_token
from flows.connect.labelling import labelling_config, said_in, task_of
from flows.connect.waiting import waiting_samples
from tests.unit.data.captured_line import INSPECTION, T0, Line, factory_sample, new_catalog, sqlite_url

HOLDS, CLASSES = timedelta(hours=48), ("ok", "crack", "void")
FRESH = f"https://b/x?X-Amz-Date={T0:%Y%m%dT%H%M%SZ}&X-Amz-Expires=172800"
PEOPLE = {1: "ann@example.org", 2: "ben@example.org"}


def annotation(number: int, *choices: str, person: int = 1, minute: int = 0, **more: Any) -> dict[str, Any]:
    part = {"from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": list(choices)}}
    return {
        "id": number, "result": [part], "completed_by": person, "was_cancelled": False, "project": 1, "task": 1,
        "created_at": T0.isoformat(), "updated_at": (T0 + timedelta(minutes=minute)).isoformat(), **more,
    }  # fmt: skip


def task(number: int, sample: str, *annotations: dict[str, Any], link: str = FRESH, **more: Any) -> dict[str, Any]:
    data = {"sample_id": sample, "image": link, "facts": ""}
    return {"id": number, "data": data, "annotations": list(annotations), "drafts": [], **more}


def plan(tasks: list[dict[str, Any]], waiting: list[str], now: datetime = T0) -> tuple[list[str], list[int], list[int]]:
    made = plan_tasks(tasks, waiting, now=now, link_holds=HOLDS)
    return list(made.make), sorted(int(t["id"]) for t in made.renew), sorted(int(t["id"]) for t in made.delete)


def test_a_task_is_made_for_what_waits_and_only_once() -> None:
    assert plan([], ["a", "b"]) == (["a", "b"], [], [])
    assert plan([task(1, "a"), task(2, "b")], ["a", "b"]) == ([], [], [])


def test_of_two_tasks_of_a_sample_the_touched_one_stays_else_the_first() -> None:
    assert plan([task(2, "a"), task(1, "a")], ["a"]) == ([], [], [2])
    assert plan([task(1, "a"), task(2, "a", annotation(1, "ok"))], ["a"]) == ([], [], [1])
    assert plan([task(1, "a"), task(2, "a", drafts=[{"id": 1}])], ["a"]) == ([], [], [1])


def test_what_is_answered_elsewhere_goes_unless_somebody_touched_it() -> None:
    assert plan([task(1, "a"), task(2, "b", annotation(1, "ok"))], []) == ([], [], [1])


def test_peoples_own_tasks_are_left_alone() -> None:
    assert plan([{"id": 1, "data": {"image": "x"}, "annotations": [], "drafts": []}], []) == ([], [], [])


def test_links_are_renewed_while_anybody_may_look() -> None:
    late = T0 + timedelta(hours=25)
    tasks = [task(1, "a"), task(2, "b", annotation(1, "ok"))]
    assert plan(tasks, ["a"], late)[1] == [1, 2]
    assert plan(tasks, ["a"], T0 + timedelta(hours=49))[1] == [1]  # the other was answered long ago
    assert plan([task(1, "a", link="https://else")], ["a"])[1] == [1]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    catalog = new_catalog(sqlite_url(folder))
    for sample in ("f1", "f2"):
        factory_sample(catalog, sample)
    catalog.close()
    return folder / "catalog.db"


@pytest.fixture
def catalog(tmp_path: Path, first: Path) -> Iterator[Catalog]:
    shutil.copy(first, tmp_path / "catalog.db")
    opened = Catalog.open(sqlite_url(tmp_path))
    yield opened
    opened.close()


def pulled(catalog: Catalog, *tasks: dict[str, Any]) -> tuple[int, int, int]:
    done = pull(catalog, tasks, PEOPLE, CLASSES, T0 + timedelta(days=1))
    return done.recorded, done.undone, len(done.problems)


def test_an_annotation_is_recorded_once_in_the_name_of_who_made_it(catalog: Catalog) -> None:
    read = task(1, "f1", annotation(7, "crack", person=2))
    assert pulled(catalog, read) == (1, 0, 0)
    assert pulled(catalog, read) == (0, 0, 0)
    assert pulled(catalog, task(1, "f1", annotation(7, "crack", person=2, minute=5))) == (0, 0, 0)  # touched, the same
    label = current_labels(catalog, ["f1"])["f1"]
    assert (label.classes, label.by, label.at) == (("crack",), "ben@example.org", T0)


def test_a_changed_one_is_another_event_and_a_deleted_one_is_undone(catalog: Catalog) -> None:
    pulled(catalog, task(1, "f1", annotation(7, "crack")))
    assert pulled(catalog, task(1, "f1", annotation(7, "void", minute=1))) == (1, 0, 0)
    assert pulled(catalog, task(1, "f1", annotation(7, "crack", minute=2))) == (1, 0, 0)  # and back again
    assert current_labels(catalog, ["f1"])["f1"].classes == ("crack",)
    assert pulled(catalog, task(1, "f1"))[:2] == (0, 1)
    assert pulled(catalog) == (0, 0, 0)


def test_a_task_that_is_gone_undoes_nothing(catalog: Catalog) -> None:
    pulled(catalog, task(1, "f1", annotation(7, "crack")))
    assert pulled(catalog, task(2, "f2")) == (0, 0, 0)
    assert "f1" in current_labels(catalog, ["f1"])


def test_skips_and_what_nobody_can_tell_come_back_too(catalog: Catalog) -> None:
    skipped = annotation(1, was_cancelled=True)
    assert pulled(catalog, task(1, "f1", skipped), task(2, "f2", annotation(2, "?"))) == (2, 0, 0)
    kinds = [label_history(catalog, sample)[-1].kind for sample in ("f1", "f2")]
    assert kinds == [LabelKind.SKIP, LabelKind.CANNOT_TELL]


def test_what_cannot_be_taken_is_named_and_holds_up_nothing(catalog: Catalog) -> None:
    bad = [annotation(1, "dent"), annotation(2), {"id": 3}, annotation(4, "ok", person=2)]
    assert pulled(catalog, task(1, "f1", *bad), task(2, "unknown", annotation(5, "ok"))) == (1, 0, 3)


def test_a_word_is_known_by_annotation_and_change() -> None:
    ids = {said_in(annotation(n, "ok", minute=m), "f1", CLASSES).event_id for n in (1, 2) for m in (0, 1)}
    assert len(ids) == 4


def test_the_page_has_a_choice_for_each_class() -> None:
    inspection = Inspection(name="a", classes=tuple(ClassInfo(name=n, kind=Kind.OK) for n in ("ok", "a & b")))
    page = labelling_config(inspection)
    assert '<Choice value="ok" hotkey="1"/>' in page
    assert '<Choice value="a &amp; b" hotkey="2"/>' in page


def test_a_prediction_is_the_best_class_that_the_inspection_knows() -> None:
    made = task_of("s", "l", "", classes=["ok", "old"], probabilities=[0.25, 0.75], known=["ok"])
    assert "predictions" not in made
    made = task_of("s", "l", "", classes=["ok", "old"], probabilities=[0.75, 0.25], engine_id="e", known=["ok"])
    (prediction,) = made["predictions"]
    assert (prediction["score"], prediction["result"][0]["value"]) == (0.75, {"choices": ["ok"]})


def test_what_waits_is_what_the_consoles_queue_has_in_its_order(tmp_path: Path) -> None:
    catalog = new_catalog(sqlite_url(tmp_path))
    line = Line(catalog, np.random.default_rng(3))
    samples = line.stream(["ok"] * 6, np.ones(6), keep=6)
    drawn = draw(catalog, INSPECTION, 6, random=random.Random(1), at=T0)
    with catalog.session() as session:
        session.get_one(SampleRow, samples[5]).extra = "flag"
    line.label(samples[0])
    waits = [row.sample_id for row in waiting_samples(catalog, INSPECTION, 10)]
    order = [item.sample_id for item in drawn.items if item.sample_id not in (samples[0], samples[5])]
    assert waits == [samples[5], *order]
    assert [row.sample_id for row in waiting_samples(catalog, INSPECTION, 2)] == waits[:2]
    catalog.close()


class Server:
    """Answers as it is told, and notes what it was asked."""

    def __init__(self, *answers: int | tuple[int, Any]) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]
        self.waited: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path, request.headers.get("Authorization")))
        answer = self.answers.pop(0)
        if answer == 0:
            raise httpx.ConnectError("away")
        code, body = answer if isinstance(answer, tuple) else (answer, {})
        return httpx.Response(code, text=json.dumps(body))

    def api(self, token: str = "legacy") -> LabelStudioApi:
        return LabelStudioApi("http://ls", token, transport=httpx.MockTransport(self), sleep=self.waited.append)


def test_a_server_that_is_away_is_asked_again_later_each_time() -> None:
    server = Server(0, 503, (200, [{"id": 1, "email": "ann@example.org"}]))
    assert server.api().people() == {1: "ann@example.org"}
    assert server.waited == [1.0, 2.0]
    with pytest.raises(LabelStudioUnavailable, match="does not answer"):
        Server(0, 0, 0, 0).api().people()


def test_making_tasks_is_never_repeated() -> None:
    server = Server(0)
    with pytest.raises(LabelStudioUnavailable):
        server.api().make_tasks(1, [{}])
    assert len(server.asked) == 1


def test_a_personal_token_is_exchanged_and_again_when_that_has_run_out() -> None:
    server = Server((200, {"access": "one"}), 401, (200, {"access": "two"}), (200, []))
    server.api("a.b.c").people()
    assert [asked[2] for asked in server.asked] == [None, "Bearer one", None, "Bearer two"]


def test_a_refusal_is_told_without_the_token() -> None:
    with pytest.raises(LabelStudioError, match="does not take the token") as refused:
        Server(401).api("a.b.c").people()
    assert "a.b.c" not in str(refused.value)


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == "abc"
