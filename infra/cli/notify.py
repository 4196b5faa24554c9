"""``andon notify``: try the ways by which people are told, and see what was told."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from edge_client.contract.errors import AndonError, ConfigError
from infra.cli.arguments import command, open_workspace, print_json

if TYPE_CHECKING:
    from data.workspace import Workspace


def add_parser(sub: Any) -> None:
    """Add the command."""
    group = sub.add_parser(
        "notify",
        help="tell people by webhook or mail: try it, see what was told",
        description="Who is told of what is said in policy.toml, section [notify]. See docs/connect.md.",
    )
    actions = group.add_subparsers(dest="action", metavar="ACTION", required=True)
    command(
        actions,
        "test",
        "send a notice on every channel that policy names",
        "Sends a notice that says it is a test, now, on every channel that policy names. Exit code 1 if one of them "
        "does not take it.",
    )
    command(actions, "send", "note what wants a person and send what is due, as every watch run does")
    listed = command(actions, "list", "the newest notices: sent, waiting, or given up with the reason")
    listed.add_argument("--limit", type=int, default=20, metavar="N", help="how many (default 20)")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    workspace = open_workspace(args)
    return {"test": _test, "send": _send, "list": _list}[args.action](args, workspace)


def _test(args: argparse.Namespace, workspace: Workspace) -> int:
    from data.notices import Notice
    from flows.notify.channels import channels_of
    from flows.notify.delivery import wanted_kinds

    policy, now = workspace.policy().notify, datetime.now(UTC)
    channels = channels_of(policy)
    if not channels:
        raise ConfigError("policy.toml names no channel; set webhook_url or mail_to in its section [notify]")
    wanted_kinds(policy)
    notice = Notice(
        key=f"test:{uuid4()}",
        kind="test",
        at=now,
        subject="A test: this is how you are told",
        text="Somebody ran `andon notify test`. Nothing is wrong.",
        facts={},
    )
    results: dict[str, str] = {}
    for channel, send in channels.items():
        try:
            send(policy, workspace.home, notice, now)
        except AndonError as error:
            results[channel] = str(error)
        else:
            results[channel] = "sent"
    if args.json:
        print_json(results)
    else:
        for channel, result in results.items():
            print(f"{channel}: {result}")
    return 0 if set(results.values()) == {"sent"} else 1


def _send(args: argparse.Namespace, workspace: Workspace) -> int:
    from flows.notify.delivery import notify_once

    told = notify_once(workspace)
    if args.json:
        print_json({"noted": told.noted, "sent": told.sent, "failed": list(told.failed)})
    else:
        print(f"{told.noted} noted, {told.sent} sent, {len(told.failed)} could not be sent now")
        for failure in told.failed:
            print(f"  {failure}")
    return 1 if told.failed else 0


def _list(args: argparse.Namespace, workspace: Workspace) -> int:
    from data.notices import newest

    found = newest(workspace.catalog(), limit=args.limit)
    if args.json:
        rows = [
            {
                "at": each.notice.at,
                "kind": each.notice.kind,
                "subject": each.notice.subject,
                "channel": each.channel,
                "state": each.state,
                "attempts": each.attempts,
                "error": each.error,
            }
            for each in found
        ]
        print_json(rows)
        return 0
    for each in found:
        why = f" ({each.error})" if each.error else ""
        print(f"{each.notice.at:%Y-%m-%d %H:%M}  {each.channel:7}  {each.state:8}  {each.notice.subject}{why}")
    if not found:
        print("nothing was told yet")
    return 0
