"""``andon rehearse``: what would the loop have brought on our own archive?"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from edge_client.contract.errors import ConfigError
from edge_client.contract.names import check_name
from infra.cli.first_link import first_link, print_first_link

DEMO_NAME = "demo"
DEMO_FAULTS = ("sabotage@2", "bucket-away@3")
_EPILOG = """\
INDEX.csv has the columns path and label, and optionally group, station, time and stage (factory, stream or holdout).
Without stages the earliest part (with times), or a drawn part, is what the factory knows; a third of the rest is held
out.

examples:
  andon rehearse tiles/index.csv --column station=exposure
  andon rehearse archive.csv --rounds 8 --label-budget 0.05 --devices 2 --byte-budget 0.2
  andon rehearse --demo                    the story of make demo: a line that changes its product
  andon rehearse archive.csv --fault device@2 --fault serving-retrain@3
"""


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "rehearse",
        help="play a labelled archive through the real loop and report what it brought",
        description="Plays a labelled archive through the real parts (device processes, bucket, flows, registry, "
        "signed releases), faster than life. Labels are given only for captured samples and only within the budget. "
        "Ends with a table, report.html and report.json under .andon/rehearsals/NAME/.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("index", nargs="?", type=Path, metavar="INDEX.csv", help="the archive")
    parser.add_argument("--demo", action="store_true", help="rehearse the demo's story on the ELPV solar cells")
    parser.add_argument("--name", help="name of the rehearsal (default: from the file's name)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="times that people label (default: 5)")
    parser.add_argument("--devices", type=int, default=3, metavar="N", help="device processes (default: 3)")
    parser.add_argument(
        "--label-budget", type=float, default=0.1, metavar="SHARE", help="share of frames to label (default: 0.1)"
    )
    parser.add_argument(
        "--byte-budget",
        type=float,
        default=0.3,
        metavar="B",
        help="share of the streamed bytes that may be sent, or above 1 the bytes of a device in a round (default: 0.3)",
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS", help="a column's name in the file"
    )
    parser.add_argument("--ok-class", action="append", default=[], metavar="NAME", help="a class that means: no fault")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every draw (default: 0)")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND@ROUND", help="let something go wrong (repeat at will)"
    )
    parser.add_argument("--no-faults", action="store_true", help="the demo without what goes wrong in it")
    parser.add_argument("--once", action="store_true", help="stop the stack at the end")
    parser.add_argument("--home", type=Path, default=None, help="home directory (default: $ANDON_HOME, else .andon)")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Rehearse."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # devices are ended then too
    from data.workspace import Workspace, home_directory
    from infra.rehearsal.archive import read_archive, write_demo_index
    from infra.rehearsal.session import Options, plan_of, rehearse
    from infra.rehearsal.table import render_table
    from infra.stack.bring_up import bring_up, take_down

    home = home_directory(args.home)
    name = _name(args, home)
    if args.demo:
        index = write_demo_index(home / "rehearsals" / name / "archive.csv", args.seed)
    elif args.index is None:
        raise ConfigError("which archive? give INDEX.csv (columns path and label), or --demo")
    else:
        index = args.index
    frames = read_archive(index, _columns(args.column))
    faults = tuple(args.fault) or (DEMO_FAULTS if args.demo and not args.no_faults and args.rounds >= 3 else ())
    options = Options(
        name=name,
        inspection=check_name(name, "inspection"),
        rounds=args.rounds,
        devices=args.devices,
        byte_budget=_share(args.byte_budget, "--byte-budget", most=float("inf")),
        label_budget=_share(args.label_budget, "--label-budget", most=1.0),
        seed=args.seed,
        ok_classes=tuple(args.ok_class),
        faults=faults,
        setup_seconds=_setup_seconds(),
    )
    plan = plan_of(home, frames, options)
    bring_up(home, report=lambda text: print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True))
    try:
        report = rehearse(Workspace.open(home), plan, options, began)
    finally:
        if args.once:
            take_down(home)
    folder = home / "rehearsals" / name
    if args.json:
        print(json.dumps(report.to_json()))
    else:
        print(f"\n{render_table(report)}\n\nreport: {folder / 'report.html'}\n        {folder / 'report.json'}")
        if not args.once:
            print("\n".join(f"{what}: {url}" for what, url in report.addresses.items()))
            print_first_link(first_link(home))
            print("the stack is still up; stop it with: andon down")
    return 0


def _name(args: argparse.Namespace, home: Path) -> str:
    given = args.name or (DEMO_NAME if args.demo else args.index.resolve().parent.name if args.index else "rehearsal")
    name = re.sub(r"[^a-z0-9-]+", "-", given.lower()).strip("-")[:40] or "rehearsal"
    if args.name:
        return check_name(args.name, "rehearsal")
    number, free = 1, name
    while (home / "rehearsals" / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _columns(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise ConfigError(f"--column {text!r}: expected OURS=THEIRS, such as station=exposure")
        found[ours] = theirs
    return found


def _share(value: float, option: str, *, most: float) -> float:
    if not 0 < value <= most:
        raise ConfigError(
            f"{option} {value}: expected a number above 0" + (f" and at most {most:g}" if most < 2 else "")
        )
    return value


def _setup_seconds() -> float:
    """Return how long the environment's set-up took, where it noted that."""
    try:
        return float((Path(sys.prefix) / ".setup-seconds").read_text())
    except (OSError, ValueError):
        return 0.0
