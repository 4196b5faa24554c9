"""``andon up``, ``down``, ``status`` and ``doctor``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, home_of, print_json
from infra.cli.first_link import first_link, print_first_link

if TYPE_CHECKING:
    from data.loop_status import LoopStatus
    from infra.stack.status import StackStatus


def add_parser(sub: Any) -> None:
    """Add the commands."""
    up = command(
        sub,
        "up",
        "start the stack on this machine and wait until everything was tried",
        "Starts bucket, MLflow, Prefect, the serving process and the console on loopback, supervised, and waits "
        "until each was "
        "tried. Running already: harmless. Ports are chosen free once and remembered. A bucket, a database or servers "
        "elsewhere are named in services.toml in the home directory (docs/production.md).",
    )
    up.add_argument("--timeout", type=_seconds, default=300.0, metavar="SECONDS", help="how long to wait (default 300)")
    up.add_argument(
        "--database",
        metavar="URL",
        help="keep catalog, MLflow and Prefect on this PostgreSQL server (postgresql://USER@HOST/NAME; its databases: "
        "NAME, NAME_mlflow, NAME_prefect); said once, for a new home directory: it is noted in services.toml there",
    )
    down = command(sub, "down", "end the stack", "Ends all processes of the stack and waits until none is left.")
    down.add_argument("--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="then kill (default 60)")
    command(
        sub,
        "status",
        "what runs, where, since when, and how the loop is doing",
        "Tries every process anew. Exit code 1 when something does not work.",
    )
    command(
        sub,
        "doctor",
        "look for what is wrong, and say what to do",
        "Checks machine, keys, processes, bucket, clock and releases. Exit code 1 when something is wrong.",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command that was called."""
    return {"up": _up, "down": _down, "status": _status, "doctor": _doctor}[args.command](args)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError("expected a number of seconds above 0")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _up(args: argparse.Namespace) -> int:
    from data.services import load_services
    from infra.stack.bring_up import bring_up
    from infra.stack.stated import state_database
    from infra.stack.status import addresses

    home = home_of(args)
    if args.database:
        state_database(home, args.database)
    outcome = bring_up(home, timeout=args.timeout, report=_say)
    where = addresses(outcome.state, load_services(home))
    link = first_link(home)
    if args.json:
        urls = {name.lower(): url.removesuffix(" (S3)") for name, url in where.items()}
        seconds = round(outcome.seconds, 1)
        told = {"home": str(home), "already_running": outcome.already, "seconds": seconds, "urls": urls}
        print_json({**told, "sign_in": link})
        return 0
    word = "was up already" if outcome.already else f"is up after {outcome.seconds:.0f} s"
    print(f"The stack in {home} {word}.")
    for name, url in where.items():
        print(f"  {name:<8} {url}")
    print_first_link(link)
    print(
        "Next: `andon init NAME --from FOLDER` makes an inspection; `andon status` tells how it goes; `andon "
        "down` ends it."
    )
    return 0


def _down(args: argparse.Namespace) -> int:
    from infra.stack.bring_up import take_down

    home = home_of(args)
    ran = take_down(home, timeout=args.timeout, report=_say)
    if args.json:
        print_json({"home": str(home), "ran": ran})
    else:
        print(f"The stack in {home} {'is down' if ran else 'was not running'}.")
    return 0


def _status(args: argparse.Namespace) -> int:
    from infra.stack.status import stack_status

    home = home_of(args)
    status = stack_status(home)
    loops, trouble = _loops(home)
    link = None if trouble else first_link(home)
    if args.json:
        told = {**status.to_json(), "loops": [loop.to_dict() for loop in loops], "loops_error": trouble}
        print_json({**told, "sign_in": link})
    else:
        _print_status(status)
        print_first_link(link)
        for loop in loops:
            _print_loop(loop)
        if trouble:
            print(f"The catalog cannot be read: {trouble}")
    return 0 if status.healthy else 1


def _print_status(status: StackStatus) -> None:
    if not status.running:
        print(f"The stack in {status.home} does not run; `andon up` starts it.")
    else:
        print(f"The stack in {status.home} runs (supervisor {status.supervisor_pid}).")
    for process in status.processes:
        since = "" if process.uptime_seconds is None else f"up {_duration(process.uptime_seconds)}"
        times = f"{process.restarts} restarts" if process.restarts else ""
        where = process.url or ""
        head = f"  {process.name:<8} {process.pid or '-':>8}  {where:<24} {since:<12} {times:<12}".rstrip()
        print(f"{head}  {process.health}")


def _print_loop(loop: LoopStatus) -> None:
    from infra.cli.report import in_words

    labelled = sum(loop.labelled.values())
    print(f"{loop.inspection}: {loop.device_total:,} devices, {loop.frames:,} frames seen, {loop.captured:,} captured, "
          f"{labelled:,} labelled, {loop.waiting:,} wait for a label; defect rate "
          f"{in_words(loop.defect_rate)}")  # fmt: skip


def _loops(home: Path) -> tuple[list[LoopStatus], str | None]:
    """The loops' figures, or why there are none: a status must come out whatever is broken."""
    from sqlalchemy.exc import SQLAlchemyError

    from data.loop_status import loop_statuses
    from data.workspace import Workspace
    from edge_client.contract.errors import AndonError

    try:
        return loop_statuses(Workspace.open(home).catalog()), None
    except (AndonError, SQLAlchemyError, OSError) as error:
        return [], str(error)


def _doctor(args: argparse.Namespace) -> int:
    from infra.doctor import Level, examine

    findings = examine(home_of(args))
    wrong = sum(finding.level is Level.WRONG for finding in findings)
    if args.json:
        print_json({"wrong": wrong, "findings": [finding.to_json() for finding in findings]})
    else:
        for finding in findings:
            print(f"{finding.level.value:<6} {finding.check:<10} {finding.text}")
            if finding.action:
                print(f"{'':<17} -> {finding.action}")
        print("Nothing is wrong." if not wrong else f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.")
    return 1 if wrong else 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
