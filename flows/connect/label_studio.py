"""Keep a Label Studio project in step with an inspection.

1. A run does, in this order: find or make the project; bring its labelling page in line with the classes; take over
   annotations; then make, renew and delete tasks. Each step looks at what is there, so a run that was killed anywhere,
   or whose server was, is simply run again: nothing is doubled, nothing is lost.
2. A sample has one task. What waits for a label has one, up to a number; who answers elsewhere takes the untouched task
   away. A task with an annotation or a draft is never deleted.
3. If one run was killed while the server was still making its tasks, the next may make them a second time; the run
   after sees both and deletes the untouched one. Annotations of either count.
4. A task's link is renewed before it ends while the task is open, and for one length of a link after its annotation.
   Copies of images that no task needs are deleted.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from data.catalog.models import SampleRow
from data.inspections import Inspection, get_inspection
from data.workspace import Workspace
from flows.connect.annotations import pull
from flows.connect.label_studio_api import LabelStudioApi, LabelStudioError
from flows.connect.labelling import IMAGE, marker, project_fields, task_of
from flows.connect.links import Links, wants_renewal
from flows.connect.waiting import waiting_samples
from flows.exclusive import only_one

_log = logging.getLogger("andon.label_studio")
_BATCH = 25  # tasks made at a time: a killed run has made most of them
_WAIT_SECONDS = 600.0


@dataclass(slots=True, kw_only=True)
class Synced:
    """What one run saw and did.

    Attributes:
        project: Label Studio's number of it.
        tasks: Tasks there are now.
        annotated: Of these, with an annotation.
        labels: Label events recorded.
        undone: Label events undone, since their annotation was deleted.
        problems: What could not be taken over, and why.
    """

    inspection: str
    project: int = 0
    tasks: int = 0
    annotated: int = 0
    labels: int = 0
    undone: int = 0
    made: int = 0
    renewed: int = 0
    deleted: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        words = f"{self.inspection}: {self.labels} labels taken over, {self.tasks} tasks ({self.annotated} annotated)"
        rest = {"undone": self.undone, "made": self.made, "links renewed": self.renewed, "deleted": self.deleted}
        return ", ".join([words, *(f"{n} {what}" for what, n in rest.items() if n), *self.problems[:3]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done with tasks: samples to make one for, tasks to renew and to delete."""

    make: tuple[str, ...]
    renew: tuple[Mapping[str, Any], ...]
    delete: tuple[Mapping[str, Any], ...]
    keep_copies: frozenset[str]


def plan_tasks(
    tasks: Sequence[Mapping[str, Any]], waiting: Sequence[str], *, now: datetime, link_holds: timedelta
) -> Plan:
    """Rules 2 to 4. Pure."""
    of_sample: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for task in tasks:
        sample = str((task.get("data") or {}).get("sample_id") or "")
        if sample:  # others are people's own
            of_sample[sample].append(task)
    wanted = set(waiting)
    renew, delete, keep = [], [], set(wanted)
    for sample, own in of_sample.items():
        touched = [task for task in own if task.get("annotations") or task.get("drafts")]
        untouched = [task for task in own if task not in touched]
        if touched or sample not in wanted:
            delete += untouched
            untouched = []
        in_order = sorted(untouched, key=lambda task: int(task["id"]))
        delete += in_order[1:]
        for task in [*touched, *in_order[:1]]:
            open_still = not task.get("annotations") or _newest(task) > now - link_holds
            if open_still:
                keep.add(sample)
                if wants_renewal(task["data"].get(IMAGE), now):
                    renew.append(task)
    make = tuple(sample for sample in waiting if sample not in of_sample)
    return Plan(make=make, renew=tuple(renew), delete=tuple(delete), keep_copies=frozenset(keep))


def sync_once(
    workspace: Workspace,
    inspection: str,
    *,
    api: LabelStudioApi,
    most: int = 500,
    bucket_url: str = "",
    link_hours: float = 48.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait_seconds: float = _WAIT_SECONDS,
) -> Synced:
    """Do one run (rule 1).

    Args:
        workspace: The installation.
        inspection: Its name.
        api: The server.
        most: Tasks that wait there at a time.
        bucket_url: The bucket's address as browsers reach it; "" for the cloud's own.
        link_hours: How long a link to an image holds.
        clock: Aware time.
        wait_seconds: For another run of the same inspection to end.

    Raises:
        Busy: Another run was at it for all of `wait_seconds`.
        LabelStudioError: Label Studio is away or refuses; run it again.
        BucketError: The bucket is away; run it again.
    """
    catalog = workspace.catalog()
    info = get_inspection(catalog, inspection)
    links = Links(workspace, inspection, public_url=bucket_url, hours=link_hours)
    done = Synced(inspection=inspection)
    with only_one(workspace.home, f"label-studio-{inspection}", wait_seconds=wait_seconds):
        done.project = _project(api, info, workspace.bucket_settings.bucket)
        people = api.people()
        tasks = list(api.tasks(done.project))
        pulled = pull(catalog, tasks, people, info.class_names, clock())
        done.labels, done.undone, done.problems = pulled.recorded, pulled.undone, pulled.problems
        waiting = {row.sample_id: row for row in waiting_samples(catalog, inspection, most)}
        plan = plan_tasks(tasks, list(waiting), now=clock(), link_holds=timedelta(hours=link_hours))
        for task in plan.delete:
            api.delete_task(int(task["id"]))
            done.deleted += 1
        _renew(workspace, api, links, plan.renew, done)
        for start in range(0, len(plan.make), _BATCH):
            rows = [waiting[sample] for sample in plan.make[start : start + _BATCH]]
            _make(workspace, api, links, done.project, rows, info, done)
        for copy in links.copies() - plan.keep_copies:
            links.delete(copy)
        done.annotated = sum(1 for task in tasks if task.get("annotations"))
        done.tasks = len(tasks) - done.deleted + done.made
    _log.info("%s", done)
    return done


def _project(api: LabelStudioApi, inspection: Inspection, bucket: str) -> int:
    """The project, made if there is none, its labelling page in line with the classes."""
    mark, wanted = marker(inspection.name, bucket), project_fields(inspection, bucket)
    found = [project for project in api.projects() if mark in str(project.get("description") or "")]
    if not found:
        return int(api.make_project(wanted)["id"])
    project = min(found, key=lambda each: int(each["id"]))
    if str(project.get("label_config") or "").strip() != wanted["label_config"].strip():
        api.change_project(int(project["id"]), {"label_config": wanted["label_config"]})
    return int(project["id"])


def _make(
    workspace: Workspace,
    api: LabelStudioApi,
    links: Links,
    project: int,
    rows: Sequence[SampleRow],
    inspection: Inspection,
    done: Synced,
) -> None:
    lake, tasks = workspace.lake(), []
    for row in rows:
        image, media_type = lake.image(row.lake_path, row.lake_row)
        links.put(row.sample_id, image, media_type)
        tasks.append(
            task_of(
                row.sample_id,
                links.link(row.sample_id),
                facts_of(row),
                classes=row.classes,
                probabilities=row.probabilities,
                engine_id=row.engine_id,
                known=inspection.class_names,
            )
        )
    api.make_tasks(project, tasks)
    done.made += len(tasks)


def _renew(
    workspace: Workspace, api: LabelStudioApi, links: Links, tasks: Sequence[Mapping[str, Any]], done: Synced
) -> None:
    if not tasks:
        return
    there = links.copies()
    lake = workspace.lake()
    for task in tasks:
        sample = str(task["data"]["sample_id"])
        if sample not in there:
            with workspace.catalog().reading() as session:
                row = session.get(SampleRow, sample)
            if row is None or row.erased_at is not None:
                continue
            links.put(sample, *lake.image(row.lake_path, row.lake_row))
        try:
            api.change_task(int(task["id"]), {**task["data"], IMAGE: links.link(sample)})
        except LabelStudioError as error:
            done.problems.append(f"task {task['id']} of sample {sample}: its link was not renewed: {error}")
        else:
            done.renewed += 1


def facts_of(row: SampleRow) -> str:
    """What a person should know of a sample, in a line."""
    facts = {"part": row.part_id, "station": row.station, "device": row.device}
    said = [f"{what} {value}" for what, value in facts.items() if value]
    return ", ".join([*said, f"{row.captured_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"])


def _newest(task: Mapping[str, Any]) -> datetime:
    """When the newest annotation of a task was last changed."""
    instants = [str(each.get("updated_at") or each.get("created_at") or "") for each in task["annotations"]]
    known = [datetime.fromisoformat(text) for text in instants if text]
    aware = [at if at.tzinfo else at.replace(tzinfo=UTC) for at in known]
    return max(aware, default=datetime.min.replace(tzinfo=UTC))
