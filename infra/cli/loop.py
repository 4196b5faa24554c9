"""``andon ingest``, ``retrain``, ``release``, ``rollback`` and ``watch``: the flows' steps, without a flow server."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import AndonError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.workspace import Workspace
    from flows.release import ReleaseOutcome


def add_parser(sub: Any) -> None:
    """Add the commands."""
    command(
        sub,
        "ingest",
        "take over what devices have uploaded",
        "Verifies, decrypts, checks and commits what waits in the inbox, then deletes it there. Bad uploads are "
        "set aside.",
    )
    retrain = command(
        sub,
        "retrain",
        "train a challenger and let the gate judge it",
        "Takes a snapshot of what is labelled, trains, judges and registers a challenger. Exit code 1 when the "
        "gate refuses it.",
    )
    retrain.add_argument("inspection", nargs="?", help="default: the only one there is")
    retrain.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default 0)")
    retrain.add_argument(
        "--tier",
        choices=("head", "finetune", "auto"),
        default="head",
        help="what learns: a head over embeddings (seconds; the default), the trunk itself (minutes), or, after both "
        "were measured on frames that no trunk has seen, the one that is worth it",
    )
    release = command(
        sub,
        "release",
        "bring the signed channels in line with the aliases in MLflow",
        "Publishes what the aliases champion and canary name. Exit code 1 when a version is refused.",
    )
    release.add_argument("inspection", nargs="?", help="default: all")
    release.add_argument(
        "--promote", metavar="VERSION", help="first make this version champion (needs the inspection's name)"
    )
    rollback = command(
        sub,
        "rollback",
        "send devices back to an older version",
        "Makes an older version champion and releases it: devices take it as they take any release.",
    )
    rollback.add_argument("inspection", nargs="?", help="default: the only one there is")
    rollback.add_argument("--to", metavar="VERSION", help="default: the version released before the present one")
    command(
        sub,
        "watch",
        "read what devices report, write it to MLflow, see what is wanted",
        "Takes over heartbeats, writes the rollouts' state to MLflow's tags, and keeps the signed metadata fresh.",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command that was called."""
    return {"ingest": _ingest, "retrain": _retrain, "release": _release, "rollback": _rollback, "watch": _watch}[
        args.command
    ](args)


def _ingest(args: argparse.Namespace) -> int:
    workspace = open_workspace(args)
    from flows.ingest import ingest_once, told

    report = ingest_once(workspace)
    if args.json:
        print_json(asdict(report))
    else:
        print(told(report))
        for key, reason in report.quarantined:
            print(f"  set aside: {key}: {reason}")
    return 1 if report.stopped else 0


def _retrain(args: argparse.Namespace) -> int:
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    from flows.approval import REJECT
    from flows.retrain import retrain_once

    outcome = retrain_once(workspace, name, seed=args.seed, tier=args.tier)
    if args.json:
        print_json(asdict(outcome))
    else:
        print(outcome)
        for label, count in outcome.label_more.items():
            print(f"  label {count} more of class {label}")
        if outcome.alias == "challenger":
            print("  Read the gate report in MLflow; the alias champion there, moved to this version, releases it.")
    return 1 if outcome.decision == REJECT else 0


def _release(args: argparse.Namespace) -> int:
    workspace = open_workspace(args)
    from flows.release import release_once

    name = None if args.inspection is None and args.promote is None else the_inspection(workspace, args.inspection)
    if args.promote is not None:
        assert name is not None
        _make_champion(workspace, name, args.promote)
    return _told(args, release_once(workspace, name))


def _rollback(args: argparse.Namespace) -> int:
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    from flows.release import release_once

    _make_champion(workspace, name, args.to or base_of_rollout(workspace, name) or released_before(workspace, name))
    return _told(args, release_once(workspace, name))


def _told(args: argparse.Namespace, outcome: ReleaseOutcome) -> int:
    if args.json:
        print_json(asdict(outcome))
    else:
        print(outcome)
    return 1 if outcome.refused else 0


def _make_champion(workspace: Workspace, inspection: str, version: str) -> None:
    from flows.stack import registry_of
    from flows.wanted import CHAMPION

    api = registry_of(workspace).api
    known = {found.number for found in api.versions(inspection)}
    if version not in known:
        listed = ", ".join(sorted(known, key=_number)) or "none"
        raise AndonError(f"inspection {inspection!r} has no version {version!r}; it has {listed}")
    api.set_alias(inspection, CHAMPION, version)


def base_of_rollout(workspace: Workspace, inspection: str, channel: str = "stable") -> str:
    """The version that most devices run while a newer one is on its way to them; "" when none is."""
    from data.rollouts.stored import newest_rollout

    newest = newest_rollout(workspace.catalog(), inspection, channel)
    return newest.base_version if newest is not None and newest.open else ""


def released_before(workspace: Workspace, inspection: str, channel: str = "stable") -> str:
    """The newest version below the one that the channel carries which it carried once.

    Raises:
        AndonError: There is none.
    """
    from data.decisions import list_releases
    from flows.stack import registry_of
    from flows.tags import channel_tag

    model = registry_of(workspace).api.model(inspection)
    current = model.tags.get(channel_tag(channel)) if model else None
    carried = {
        entry.version
        for entry in list_releases(workspace.catalog(), inspection)
        if entry.channel == channel and entry.action in ("release", "rollback") and entry.version
    }
    older = [version for version in carried if current is not None and _number(version) < _number(current)]
    if not older:
        raise AndonError(
            f"channel {channel!r} of {inspection!r} carries {f'version {current}' if current else 'nothing'}, "
            "and no older version "
            "was ever released to it: there is nothing to go back to; name one with --to VERSION"
        )
    return max(older, key=_number)


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else -1


def _watch(args: argparse.Namespace) -> int:
    workspace = open_workspace(args)
    from flows.watch import watch_once

    outcome = watch_once(workspace)
    if args.json:
        print_json(asdict(outcome))
    else:
        print(outcome)
    return 1 if outcome.failed else 0
