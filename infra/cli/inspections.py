"""``andon init`` and ``import``: from labelled images to a first model on its channel."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json, the_inspection
from infra.cli.sources import add_source, import_json, kinds_of, open_source, told

if TYPE_CHECKING:
    from data.imports import ImportReport
    from data.sources.sample import Source
    from data.workspace import Workspace


def add_parser(sub: Any) -> None:
    """Add the commands."""
    init = command(
        sub,
        "init",
        "make an inspection from labelled images and train its first model",
        "Makes an inspection from class folders or an index, imports the images, trains the first model, lets "
        "the gate judge it, "
        "and releases it to the channel `stable`. Interrupted, it is simply run again.",
    )
    init.add_argument("name", help="the inspection's name, such as solder-joints")
    add_source(init)
    init.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="CLASS=ok|defect",
        help="kind of a class; by default ok, good and normal are ok and all others defects",
    )
    init.add_argument("--seed", type=int, default=0, help="of everything that training draws (default 0)")
    init.add_argument("--no-train", action="store_true", help="only make the inspection and import")
    more = command(
        sub, "import", "add labelled images to an inspection", "Adds labelled images; those that are there are skipped."
    )
    more.add_argument("inspection", help="the inspection's name")
    add_source(more)


def run(args: argparse.Namespace) -> int:
    """Run the command that was called."""
    return _init(args) if args.command == "init" else _import(args)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _init(args: argparse.Namespace) -> int:
    from data.inspections import create_inspection
    from edge_client.contract.names import check_name

    check_name(args.name, "inspection")
    source = open_source(args)
    classes = kinds_of(source.classes, args.kind)
    workspace = open_workspace(args)
    began = time.monotonic()
    inspection = create_inspection(workspace.catalog(), args.name, classes)
    _say(f"inspection {args.name}: " + ", ".join(f"{name} ({kind})" for name, kind in classes))
    report = _bring_in(workspace, inspection.name, source)
    seconds = {"import": round(time.monotonic() - began, 1)}
    result: dict[str, Any] = {"inspection": args.name, "classes": dict(classes), "import": import_json(report)}
    if args.no_train:
        return _done(args, {**result, "seconds": seconds}, 0)
    _say("training the first model (half a minute to some minutes)")
    from flows.release import release_once
    from flows.retrain import retrain_once

    outcome = retrain_once(workspace, args.name, seed=args.seed)
    seconds["train"] = round(time.monotonic() - began - seconds["import"], 1)
    _say(str(outcome))
    released = release_once(workspace, args.name)
    _say(str(released))
    result |= {
        "version": outcome.version,
        "decision": outcome.decision,
        "reasons": list(outcome.reasons),
        "label_more": outcome.label_more,
        "alias": outcome.alias,
        "engine_id": outcome.engine_id,
        "released": [f"{r.channel}: version {r.version}" for r in released.released],
        "seconds": {**seconds, "all": round(time.monotonic() - began, 1)},
    }
    return _done(args, result, 0 if outcome.alias == "champion" else 1)


def _done(args: argparse.Namespace, result: dict[str, Any], code: int) -> int:
    if args.json:
        print_json(result)
    elif code:
        print(
            f"{args.name} has no champion: the gate says {result['decision']}. Read its report in MLflow; add "
            "images with "
            f"`andon import {args.name}` and run `andon retrain {args.name}`, or set the alias champion there yourself."
        )
    elif "version" in result:
        print(
            f"{args.name} is ready: version {result['version']} is champion and released after "
            f"{result['seconds']['all']:.0f} s. "
            f"Next: `andon enroll DEVICE --inspection {args.name}`."
        )
    else:
        print(f"{args.name} is made. Next: `andon retrain {args.name}`, then `andon release`.")
    return code


def _import(args: argparse.Namespace) -> int:
    source = open_source(args)
    workspace = open_workspace(args)
    report = _bring_in(workspace, the_inspection(workspace, args.inspection), source)
    if args.json:
        print_json({"inspection": args.inspection, "import": import_json(report)})
    return 0


def _bring_in(workspace: Workspace, inspection: str, source: Source) -> ImportReport:
    from data.imports import import_samples

    def progress(seen: int) -> None:
        _say(f"  {seen} of {len(source)} images")

    report = import_samples(
        workspace.catalog(), workspace.lake(), inspection, source, split=workspace.policy().split, progress=progress
    )
    for line in told(report):
        _say(line)
    return report
