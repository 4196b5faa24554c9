"""The serving process, ``python -m flows.serving --home DIR``: the deployments with their schedules, and the sentinel.

1. Each flow runs one run at a time; a run that would be the second is cancelled, and runs that were missed while
   something was away collapse into one.
2. The process outlives an outage of Prefect, MLflow or the bucket: it waits, longer each time, and goes on.
3. Started anew after a kill, it first gives back what its predecessor's runs held. Flow runs are processes of their
   own, safe to kill and to run twice.
4. SIGTERM ends it; schedules stay as they are.
5. With a work pool it starts no runs itself: it hands the flows to the pool and watches for what is wanted. Runs then
   belong to the pool's worker, and are not ended when this process is started anew.
"""

import argparse
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.workspace import Workspace
from edge_client.contract.errors import AndonError
from flows import environment
from flows.work_pool import WorkPool, deploy

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

_log = logging.getLogger("andon.serving")
FLOWS = ("ingest", "watch", "release", "retrain")
LABEL_STUDIO = "label-studio"  # only where policy names a server
RETENTION = "retention"  # only where policy lets frames expire
EVERY_SECONDS = 60
WATCH_ROUNDS = 2  # watch runs every second time: a run costs seconds of a small machine's processor
RELEASE_SECONDS = 300
RETENTION_CRON = "30 2 * * *"
RETRAIN_CRON = "15 3 * * *"  # at night: the machine may be the plant's own
FIRST_WAIT_SECONDS = 0.3
MOST_WAIT_SECONDS = 60.0
SLOT_GRACE_SECONDS = 60  # the least that Prefect takes; a killed run's slot is free again after it


def deployments(
    *, seconds: int = EVERY_SECONDS, label_studio_minutes: float = 0.0, frames_expire: bool = False
) -> "list[RunnerDeployment]":
    """Return the deployments, as they are written to Prefect; ingest runs every `seconds`, watch half as often.

    With minutes for it, the connector to Label Studio is one of them; so is the erasure of frames where they expire.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    from flows.automations import tell
    from flows.ingest import ingest
    from flows.prefect_runs import DEPLOYMENT
    from flows.release import release
    from flows.retrain import retrain
    from flows.watch import watch

    one_at_a_time = ConcurrencyLimitConfig(
        limit=1,
        collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW,
        grace_period_seconds=SLOT_GRACE_SECONDS,
    )

    one_after_another = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)

    def served(flow: Any, tags: list[str], limit: Any = one_at_a_time, **schedule: Any) -> "RunnerDeployment":
        made: RunnerDeployment = flow.to_deployment(
            DEPLOYMENT,
            description=flow.description,
            tags=["andon", *tags],
            concurrency_limit=limit,
            entrypoint_type=EntrypointType.MODULE_PATH,
            **schedule,
        )
        return made

    all_of_them = [
        served(ingest, [f"every {seconds} s"], interval=seconds),
        served(watch, [f"every {WATCH_ROUNDS * seconds} s"], interval=WATCH_ROUNDS * seconds),
        served(release, ["every 5 minutes", "when an alias moves"], interval=RELEASE_SECONDS),
        served(retrain, ["every night", "when labels come in"], cron=RETRAIN_CRON),
        served(tell, ["when a flow fails"], limit=one_after_another),
    ]
    if label_studio_minutes:
        from flows.connect.label_studio_flow import label_studio

        every = [f"every {label_studio_minutes:g} min"]
        all_of_them.append(served(label_studio, every, interval=60 * label_studio_minutes))
    if frames_expire:
        from flows.retention import retention

        all_of_them.append(served(retention, ["every night"], cron=RETENTION_CRON))
    return all_of_them


def serve_for_ever(
    workspace: Workspace,
    *,
    seconds: int = EVERY_SECONDS,
    pool: WorkPool | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Serve until SIGTERM; see the rules above."""
    environment.point_at(workspace)
    from prefect import serve

    from flows.prefect_runs import PrefectRuns
    from flows.sentinel import Sentinel

    runs = PrefectRuns()
    stop = threading.Event()
    watcher = threading.Thread(target=Sentinel(workspace, runs).run, args=(stop,), name="sentinel", daemon=True)
    wait, first = 1.0, True
    connected = workspace.policy().label_studio
    minutes = connected.minutes if connected.url else 0.0
    expire = workspace.policy().retention.frames_days > 0
    flows = (*FLOWS, *([LABEL_STUDIO] if minutes else []), *([RETENTION] if expire else []))
    while True:
        began = time.monotonic()
        try:
            _await(runs, workspace.prefect_url, sleep)
            _tidy(runs, flows, ours=pool is None)
            if first:
                watcher.start()
                first = False
            if pool is not None:
                deploy(pool, deployments(seconds=seconds, label_studio_minutes=minutes, frames_expire=expire))
                _log.info("the flows are deployed to the work pool %s", pool.name)
                watcher.join()
                return
            serve(
                *deployments(seconds=seconds, label_studio_minutes=minutes, frames_expire=expire),
                pause_on_shutdown=False,
                print_starting_message=False,
                limit=len(flows),
            )
            return  # ended by a signal
        except Exception as error:  # noqa: BLE001 -- a worker's boundary: record, back off, go on
            if time.monotonic() - began > MOST_WAIT_SECONDS:
                wait = 1.0
            _log.warning("serving again in %.0f s: %s", wait, error)
            sleep(wait)
            wait = min(MOST_WAIT_SECONDS, wait * 2)


def _await(runs: Any, url: str | None, sleep: Callable[[float], None]) -> None:
    """Rule 2: wait until Prefect answers."""
    wait, told = FIRST_WAIT_SECONDS, False
    while not runs.reachable():
        if not told:
            _log.info("waiting for Prefect at %s", url)
            told = True
        sleep(wait)
        wait = min(MOST_WAIT_SECONDS, wait * 1.3)


def _tidy(runs: Any, flows: Sequence[str], *, ours: bool) -> None:
    """Rule 3, where runs are this process's, and the missed runs of rule 1."""
    for flow in flows:
        orphans, missed = runs.end_orphans(flow) if ours else 0, runs.collapse_missed(flow)
        if orphans or missed:
            _log.info("%s: %d runs of an earlier process ended, %d missed ones dropped", flow, orphans, missed)


def main(arguments: list[str] | None = None) -> int:
    """Run the process."""
    parser = argparse.ArgumentParser(prog="python -m flows.serving", description=__doc__)
    parser.add_argument("--home", type=Path, default=None, help="home directory; default $ANDON_HOME, else ./.andon")
    parser.add_argument(
        "--every", type=int, default=EVERY_SECONDS, metavar="SECONDS", help="between runs of ingest (watch: twice that)"
    )
    parser.add_argument("--pool", metavar="NAME", help="hand the flows to this work pool instead of running them here")
    parser.add_argument("--pool-kind", default="kubernetes", metavar="TYPE", help="its type (default: kubernetes)")
    parser.add_argument("--image", default="", help="the image of a run's container")
    parser.add_argument("--job-template", type=Path, metavar="FILE", help="JSON of the pool's jobs")
    given = parser.parse_args(arguments)
    pool = (
        WorkPool(name=given.pool, kind=given.pool_kind, image=given.image, template=given.job_template)
        if given.pool
        else None
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each poll otherwise
    try:
        workspace = Workspace.open(given.home)
        if not workspace.prefect_url:
            raise AndonError(f"{workspace.home}: its stack has no Prefect server; run `andon up`")
        serve_for_ever(workspace, seconds=given.every, pool=pool)
    except AndonError as error:
        _log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
