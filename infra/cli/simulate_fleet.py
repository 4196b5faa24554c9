"""``andon simulate fleet``: what a fleet of so many devices does, and what it costs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import home_of, print_json

if TYPE_CHECKING:
    from edge_client.contract.bucket import Bucket
    from infra.simulation.plan import Plan

SUMMARY = "what a fleet of so many devices does and costs"
DESCRIPTION = (
    "Runs the client's own updater and heartbeat for each device, and the cloud's own ingest, rollout rules and "
    "alarms, in virtual time: a day takes minutes. Each device first runs one engine for --warm-up hours; then "
    "version 2 is released to all of them, good or bad, by the [rollout] rules of the policy. Not simulated: "
    "pictures, capture and uploads; trials run in this process (but for --children). Exit code 1 if a bad version "
    "was not stopped, a good one was, or a device was left without an engine."
)
_MEMORY = Path("/dev/shm")  # noqa: S108 - files that a thousand devices sync would wear a disk for nothing


def add_arguments(fleet: argparse.ArgumentParser) -> None:
    """Add the options."""
    fleet.add_argument("--devices", type=int, default=100, metavar="N", help="how many (default 100; about 1 MB each)")
    fleet.add_argument("--sites", type=int, default=0, metavar="N", help="plants (default: one for 100 devices)")
    released = fleet.add_argument_group("the release")
    released.add_argument(
        "--bad",
        default="none",
        choices=("none", "selftest", "crash", "slow", "shift"),
        help="what is wrong with version 2: nothing; it fails its self-test; it fails on a fifth of frames; it takes "
        "90 ms instead of 12; it calls a quarter of good parts defective",
    )
    released.add_argument("--engine-bytes", type=int, default=0, metavar="N", help="weight of each engine file")
    times = fleet.add_argument_group("times")
    times.add_argument("--warm-up", dest="warm_up_hours", type=float, default=4.0, metavar="HOURS", help="default 4")
    times.add_argument("--most", dest="most_hours", type=float, default=24.0, metavar="HOURS", help="default 24")
    times.add_argument("--settle", dest="settle_hours", type=float, default=0.5, metavar="HOURS", help="default 0.5")
    times.add_argument("--poll", dest="poll_seconds", type=float, metavar="SECONDS", help="default: the policy's")
    times.add_argument("--heartbeat", dest="heartbeat_seconds", type=float, metavar="SECONDS", help="likewise")
    times.add_argument("--fps", dest="frames_per_second", type=float, default=0.5, help="of each line (default 0.5)")
    troubles = fleet.add_argument_group("troubles")
    troubles.add_argument("--loss", type=float, default=0.0, metavar="SHARE", help="of requests that are lost")
    troubles.add_argument("--lag", dest="lag_seconds", type=float, default=0.0, metavar="SECONDS", help="of heartbeats")
    troubles.add_argument(
        "--skew", dest="skew_seconds", type=float, default=0.0, metavar="SECONDS", help="of clocks, sd"
    )
    troubles.add_argument(
        "--without-clock", type=float, default=0.0, metavar="SHARE", help="of devices whose clock begins at 1970"
    )
    troubles.add_argument(
        "--reboots", dest="reboots_per_day", type=float, default=0.0, metavar="N", help="a device, day"
    )
    troubles.add_argument("--stolen", type=int, default=0, metavar="N", help="devices whose keys a thief uses")
    troubles.add_argument("--poisoned", type=int, default=0, metavar="N", help="devices that say each release failed")
    troubles.add_argument("--dark", type=int, default=0, metavar="N", help="devices that go silent at the release")
    how = fleet.add_argument_group("how")
    how.add_argument("--children", type=int, default=0, metavar="N", help="devices whose trials run in a child process")
    how.add_argument(
        "--real-bucket", action="store_true", help="use the bucket of --home's stack, which must be empty, not a folder"
    )
    how.add_argument(
        "--work", type=Path, metavar="DIR", help="folder for files (default: in memory, where there is one)"
    )
    how.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Simulate, and print the report."""
    from data.policy import Policy
    from infra.simulation.report import lines_of
    from infra.simulation.run import simulate

    policy = Policy.load(home_of(args) / "policy.toml")
    plan = plan_of(args, poll=policy.fleet.poll_seconds, heartbeat=policy.fleet.heartbeat_seconds)
    where = args.work or (_MEMORY if _MEMORY.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="andon-fleet-", dir=where) as folder:
        report = simulate(
            plan,
            bucket=_bucket(args, Path(folder)),
            folder=Path(folder) / "fleet",
            policy=policy,
            tell=lambda line: None if args.json else print(line, file=sys.stderr),
        )
    if args.json:
        print_json(report.to_dict())
    else:
        print("\n".join(lines_of(report)))
    wanted = ("done",) if plan.bad == "none" else ("reverted", "halted")
    return 0 if report.course.state in wanted and not report.without_engine else 1


def plan_of(args: argparse.Namespace, *, poll: float, heartbeat: float) -> Plan:
    """The plan that the arguments ask for.

    Raises:
        ConfigError: A number out of range.
    """
    from infra.simulation.plan import Plan

    given = {spec.name: getattr(args, spec.name) for spec in fields(Plan)}
    given["poll_seconds"] = poll if args.poll_seconds is None else args.poll_seconds
    given["heartbeat_seconds"] = heartbeat if args.heartbeat_seconds is None else args.heartbeat_seconds
    return Plan(**given)


def _bucket(args: argparse.Namespace, folder: Path) -> Bucket:
    from edge_client.contract.bucket import DirectoryBucket

    if not args.real_bucket:
        return DirectoryBucket(folder / "bucket")
    from data.workspace import Workspace

    bucket = Workspace.open(args.home).bucket()
    for prefix in ("fleet/", "releases/"):
        if any(True for _ in bucket.list(prefix)):
            raise ConfigError(
                f"the bucket {bucket.name!r} holds objects under {prefix}: a simulation would write over a plant's "
                "own; use the bucket of an installation made for this"
            )
    return bucket
