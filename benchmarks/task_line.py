"""The plant in which the tasks of `benchmarks.tasks` are done: everything real, on this machine.

1. Bucket, MLflow, Prefect and the serving process with its flows run as in production, as processes of their own; so
   does the console.
2. Eighteen days of a line are in the catalog (tests/integration/console/cast_lids.py): three stations, one of them
   bad, and five versions under the gate, of which it refused one. Each is registered in MLflow.
3. Six devices follow their channel with the real updater, and tell of it by signed heartbeats.
4. There are two more inspections: whoever wants to see this one has to find it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.console import ConsoleProcess
from data.ingest import ingest_heartbeats
from data.inspections import create_inspection
from data.rollouts.stored import newest_rollout
from data.rollouts.values import Rollout
from data.value import state_prices
from data.workspace import Workspace
from flows import environment
from flows.registry import Registry
from flows.release import release_once
from flows.stack import registry_of, repository_of
from tests.integration.console.cast_lids import CLASSES, DAYS, DEVICES, INSPECTION, Lids, build, create_lids
from tests.integration.flows.stack import Stack, free_port, wait_until
from tests.integration.flows.updating_fleet import Line

POLICY = """
[rollout]
stages = "1 device, 3 devices, 100%"
staged_from = 4
soak_minutes = 0.0
min_frames = 500

[labelling]
draw_size = 90                # what waits is offered once: enough for four tours, whatever the devices send meanwhile

[retrain]
min_new_labels = 1000000000   # the machine is for what is measured
"""
OTHERS = ("brake-discs", "valve-seats")
BESIDE = {"lid-4": "east", "lid-5": "north", "lid-6": "west"}
BAD_STATION = max(DEVICES.values(), key=lambda place: place[1])[0]
TURN_SECONDS = 1.0  # between two looks of a device for a release


@dataclass
class Plant:
    """What runs, and what is true in it."""

    stack: Stack
    workspace: Workspace
    registry: Registry
    lids: Lids
    lines: list[Line]
    console: ConsoleProcess
    stopping: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)

    def rollout(self) -> Rollout | None:
        """The newest to the channel that the devices follow."""
        return newest_rollout(self.workspace.catalog(), INSPECTION, "stable")

    def champion(self) -> str | None:
        """MLflow's alias."""
        return self.registry.api.aliases(INSPECTION).get("champion")

    def serve(self) -> None:
        """Let the devices look for releases, serve and tell, until it is over."""
        while not self.stopping.wait(TURN_SECONDS):
            try:
                for line in self.lines:
                    line.turn(defects=0.05)
            except Exception as error:  # noqa: BLE001 -- told by whoever waits for the devices
                self.failed.append(error)
                return

    def versions_served(self) -> set[str]:
        """Engines that the devices run now."""
        return {line.updater.status().engine_id for line in self.lines}


@contextmanager
def running_plant(folder: Path, say: Callable[[str], None]) -> Iterator[Plant]:
    """Start everything, and end it by its process ids."""
    stack = Stack(home=folder / "home", every=10)
    stack.prepare()
    before = dict(os.environ)
    say("bucket, MLflow and Prefect start")
    console = ConsoleProcess(stack.home, free_port())
    try:
        for name in ("mlflow", "prefect", "bucket"):
            stack.start(name)
        for name in ("bucket", "mlflow", "prefect"):
            wait_until(lambda name=name: stack.ready(name), name)  # type: ignore[misc]
        environment.point_at(stack.workspace)
        plant = _filled(stack, folder, console, say)
        stack.start("serving")
        console.start()
        serving = threading.Thread(target=plant.serve, name="devices")
        serving.start()
        try:
            yield plant
        finally:
            plant.stopping.set()
            serving.join(120)
    finally:
        console.kill()
        stack.stop()
        os.environ.clear()
        os.environ.update(before)


def _filled(stack: Stack, folder: Path, console: ConsoleProcess, say: Callable[[str], None]) -> Plant:
    workspace = stack.workspace
    catalog = workspace.catalog()
    (workspace.home / "policy.toml").write_text(POLICY)
    repository = repository_of(workspace, lambda: datetime.now(UTC))
    repository.create()
    registry = registry_of(workspace)
    for name in OTHERS:
        create_inspection(catalog, name, [("ok", "ok"), ("scratch", "defect")])
    create_lids(catalog, datetime.now(UTC) - timedelta(days=30))
    lines = [
        Line(
            workspace, workspace.bucket(), repository, folder, name, INSPECTION, site="foundry", station=station,
            classes=CLASSES,
        )
        for name, station in {**{name: place[0] for name, place in DEVICES.items()}, **BESIDE}.items()
    ]  # fmt: skip
    say("eighteen days of the line, and five versions under the gate")
    lids = build(workspace, registry, told=False)
    lids.day(DAYS, labelled=False)  # today's frames wait for people
    state_prices(catalog, INSPECTION, {"escape": 40.0, "false_alarm": 1.5, "label": 0.01, "gigabyte": 0.5})
    say("version 3 is signed, and reaches its devices")
    release_once(workspace, INSPECTION)
    for _ in range(2):
        for line in lines:
            line.turn(defects=0.05)
        ingest_heartbeats(catalog, workspace.bucket())
    return Plant(stack, workspace, registry, lids, lines, console)


__all__ = ["BAD_STATION", "INSPECTION", "OTHERS", "Plant", "running_plant"]
