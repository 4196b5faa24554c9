"""A rehearsal from start to end: set up, play the rounds, compare, audit, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.audit import audit, parse_ledger
from data.imports import import_samples
from data.inspections import create_inspection
from data.loop_status import loop_status
from data.sources.sample import SourceSample, media_type_of
from data.workspace import Workspace
from edge_client.contract.engine_metadata import Kind
from edge_client.contract.errors import ConfigError
from flows.ingest import ingest_once
from flows.watch import watch_once
from infra.enrolment import enroll
from infra.rehearsal.calls import FlowCalls
from infra.rehearsal.comparisons import compare
from infra.rehearsal.faults import Faults, parse_faults
from infra.rehearsal.lines import Line, make_reference
from infra.rehearsal.measures import HoldoutMeasure
from infra.rehearsal.page import write_page
from infra.rehearsal.pictures import choose_pictures
from infra.rehearsal.plan import Frame, LineDevice, Plan, make_plan
from infra.rehearsal.results import Report
from infra.rehearsal.rounds import Rehearsal

SITE = "rehearsal"
REFERENCE_PARTS = 8
WINDOW_SECONDS = 3600.0  # a window ends when its round's frames have passed, not by the clock
IDLE_CLOSE_SECONDS = 1.0
POLL_SECONDS = 2.0  # devices look for releases so often: a rehearsal is faster than life
PROBATION_FRAMES = 12
#: A round brings some twenty labels: they cannot prove a gain over the round before, nor rule out a loss below 0.15 at
#: the level that a line is protected by; nothing but a rehearsal's own devices is at stake.
GATE = {"require_better": False, "field_margin": 0.15, "harm_series": 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a rehearsal is asked to do.

    Attributes:
        byte_budget: Share of the streamed bytes that devices may send (up to 1), or bytes a device and round.
        label_budget: Share of the streamed frames that may be labelled.
        faults: ``KIND@ROUND`` each.
        random_draws: How many independent draws the random comparison averages.
    """

    name: str
    inspection: str
    rounds: int = 5
    devices: int = 3
    byte_budget: float = 0.3
    label_budget: float = 0.1
    seed: int = 0
    ok_classes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    random_draws: int = 3
    setup_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return what the report tells of them."""
        return {
            "rounds": self.rounds,
            "devices": self.devices,
            "byte_budget": self.byte_budget,
            "label_budget": self.label_budget,
            "faults": list(self.faults),
            "gate": dict(GATE),
        }


@dataclass(slots=True)
class _Told:
    """Progress lines with the seconds since the start."""

    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)


def plan_of(home: Path, frames: Sequence[Frame], options: Options) -> Plan:
    """Plan the rehearsal of an archive: whatever is wrong with what was asked for shows before anything is started.

    Args:
        home: The stack's home directory.
        frames: The archive.
        options: What to do.

    Raises:
        ConfigError: The archive cannot be rehearsed so, or the name is taken.
    """
    plan = make_plan(
        frames, rounds=options.rounds, devices=options.devices, seed=options.seed, ok_classes=options.ok_classes
    )
    parse_faults(options.faults, plan.rounds)
    folder = _folder_of(home, options)
    if (folder / "report.json").exists() or (folder / "devices").exists():
        raise ConfigError(f"{folder} holds a rehearsal already; choose another name with --name, or move it away")
    return plan


def _folder_of(home: Path, options: Options) -> Path:
    return home / "rehearsals" / options.name


def rehearse(workspace: Workspace, plan: Plan, options: Options, began: float | None = None) -> Report:
    """Rehearse an archive and write the report's files.

    Args:
        workspace: A stack that is up.
        plan: From `plan_of`.
        options: What to do.
        began: Monotonic time from which the loop's seconds count; default now.

    Raises:
        AndonError: A part does not get on.
    """
    told = _Told() if began is None else _Told(began=began)
    faults_planned = parse_faults(options.faults, plan.rounds)
    folder = _folder_of(workspace.home, options)
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []

    def check_lines() -> None:
        for line in lines:
            line.check()

    calls = FlowCalls(workspace, say=told.say, tick=check_lines)
    first_version = _set_up_inspection(workspace, plan, options, calls, told.say)
    lines += _set_up_lines(workspace, plan, options, folder)
    faults = Faults(
        planned=faults_planned,
        stack_file=workspace.home / "stack.json",
        lines=lines,
        runs=calls.runs,
        say=told.say,
    )
    measure = HoldoutMeasure(workspace, options.inspection, plan.classes, plan.holdout, options.seed)
    rehearsal = Rehearsal(
        workspace=workspace,
        inspection=options.inspection,
        plan=plan,
        lines=lines,
        calls=calls,
        faults=faults,
        measure=measure,
        label_share=options.label_budget,
        seed=options.seed,
        say=told.say,
    )
    try:
        for line in lines:
            line.start()
        told.say(f"{len(lines)} devices inspect, with engine v{first_version}")
        before = measure.of_version(first_version)
        told.say(f"before: average precision on the holdout {before.average_precision}")
        for number in range(plan.rounds):
            rehearsal.play(number)
        faults.wait()
        rehearsal.note_engines()
    finally:
        faults.give_back()
        for line in lines:
            line.stop()
    told.say("comparisons: the same budget at random, and every frame labelled")
    random, everything = compare(
        workspace,
        options.inspection,
        plan,
        measure,
        version=rehearsal.champion_version(),
        labels=rehearsal.labels,
        captured=loop_status(workspace.catalog(), options.inspection).captured,
        draws=options.random_draws,
        seed=options.seed,
    )
    told.say("audit: what devices acknowledged, against the catalog")
    ingest_once(workspace)  # what the devices flushed at their end
    watch_once(workspace)  # the registry's tags tell the end of the last rollout too
    counts = _summed([line.counts() for line in lines])
    report = Report(
        name=options.name,
        inspection=options.inspection,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=options.seed,
        options=options.to_json(),
        classes=tuple({"name": c.name, "kind": c.kind.value} for c in plan.classes),
        archive={"factory": len(plan.factory), "streamed": len(plan.streamed()), "holdout": len(plan.holdout)},
        setup_seconds=options.setup_seconds,
        loop_seconds=time.monotonic() - told.began,
        before=before,
        before_version=first_version,
        rounds=tuple(rehearsal.rounds),
        random=random,
        all_labels=everything,
        refused=rehearsal.refusals(),
        requests=counts["requests"],
        requests_lost=counts["lost"],
        swaps=counts["swaps"],
        audit=_audited(workspace, lines),
        faults=faults.all_told(),
        addresses=_addresses(workspace, options.inspection),
    )
    report.write(folder)
    last = rehearsal.champion_version()
    write_page(report, choose_pictures(measure, first_version, last, plan.classes), folder)
    return report


def _set_up_inspection(
    workspace: Workspace, plan: Plan, options: Options, calls: FlowCalls, say: Callable[[str], None]
) -> str:
    """Create the inspection, import the factory's frames, train and release the first model; returns its version."""
    catalog = workspace.catalog()
    create_inspection(
        catalog,
        options.inspection,
        [(c.name, c.kind) for c in plan.classes],
        {
            "auto_promote": True,  # the gate alone decides
            "auto_retrain": False,  # the rehearsal says when
            "gate": dict(GATE),
            "rollout": {"stages": "100%"},  # every device of a round has the round's engine
        },
    )
    say(f"{len(plan.factory)} factory frames are imported")
    report = import_samples(catalog, workspace.lake(), options.inspection, (_as_sample(f) for f in plan.factory))
    for problem in report.problems[:5]:
        say(f"left out: {problem.path}: {problem.reason}")
    say("the factory's model is trained")
    calls.run("retrain", {"inspection": options.inspection, "seed": options.seed})
    model = calls.await_release(options.inspection)
    if "champion" not in model.aliases:
        raise ConfigError(
            f"the gate let no first model of {options.inspection} pass: look at its report in MLflow; the factory "
            "part of the archive may be too small"
        )
    return model.aliases["champion"]


def _set_up_lines(workspace: Workspace, plan: Plan, options: Options, folder: Path) -> list[Line]:
    ok = {c.name for c in plan.classes if c.kind is Kind.OK}
    parts = [f for f in plan.factory if f.label in ok][:REFERENCE_PARTS] or list(plan.factory[:REFERENCE_PARTS])
    reference = make_reference(parts, folder / "reference")
    return [_enrolled(workspace, device, plan, options, folder, reference) for device in plan.devices]


def _enrolled(
    workspace: Workspace, device: LineDevice, plan: Plan, options: Options, folder: Path, reference: Path
) -> Line:
    budget = byte_budget(plan, options.byte_budget)
    bundle = enroll(
        workspace,
        f"{options.name}-{device.name}",
        site=SITE,
        station=device.station,
        inspection=options.inspection,
        out_dir=folder / "devices" / device.name,
        settings={
            "device": {"heartbeat_seconds": 5.0},
            "capture": {
                "byte_budget": budget,
                "window_seconds": WINDOW_SECONDS,
                "idle_close_seconds": IDLE_CLOSE_SECONDS,
            },
            "update": {"poll_seconds": POLL_SECONDS, "probation_frames": PROBATION_FRAMES},
        },
    )
    return Line(
        name=bundle.device,
        device=device,
        bundle=bundle.path,
        incoming=folder / "camera" / device.name,
        reference=reference,
    )


def byte_budget(plan: Plan, given: float) -> int:
    """Return the bytes that one device may send a round.

    A value up to 1 is a share of the streamed bytes, dealt out evenly; a larger one is the bytes themselves.
    """
    if given > 1:
        return int(given)
    streamed = sum(frame.path.stat().st_size for frame in plan.streamed())
    return int(given * streamed / (plan.rounds * len(plan.devices)))


def _audited(workspace: Workspace, lines: Sequence[Line]) -> dict[str, Any]:
    ledgers = {line.name: parse_ledger(line.ask("ledger")["entries"]) for line in lines}
    found = audit(workspace.catalog(), ledgers, bucket=workspace.bucket())
    return {
        "acknowledged": found.acknowledged,
        "in_catalog": found.in_catalog,
        "evicted": found.evicted,
        "kept": found.kept,
        "waiting": found.waiting,
        "quarantined": len(found.quarantined),
        "lost": len(found.lost),
        "double": len(found.double),
    }


def _addresses(workspace: Workspace, inspection: str) -> dict[str, str]:
    found = {}
    if workspace.console_url:
        found["the loop, in the console"] = f"{workspace.console_url}/loop"
        found["labelling"] = f"{workspace.console_url}/label/{inspection}"
    if workspace.mlflow_url:
        found["the model's versions, in MLflow"] = f"{workspace.mlflow_url}/#/models/{inspection}"
    if workspace.prefect_url:
        found["the flows, in Prefect"] = f"{workspace.prefect_url}/deployments"
    return found


def _as_sample(frame: Frame) -> SourceSample:
    return SourceSample(
        path=str(frame.path),
        image=frame.path.read_bytes(),
        media_type=media_type_of(frame.path) or "image/png",
        label=frame.label,
        group=frame.group,
        station=frame.station,
        time=frame.time,
    )


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {key: sum(c[key] for c in counts) for key in counts[0]}
