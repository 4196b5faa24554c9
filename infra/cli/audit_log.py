"""``andon audit-log``: who did what, when, from where."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json


def add_parser(sub: Any) -> None:
    """Add the command."""
    log = command(
        sub,
        "audit-log",
        "who did what in the console or with `andon user`, when, from where",
        "Prints the audit log, the newest first: sign-ins and failed ones, decisions, changes of users, labels of "
        "others that were taken back. Nothing changes or deletes its lines. A log collector calls it with --json "
        "and --since.",
    )
    log.add_argument("--limit", type=int, default=50, metavar="N", help="lines, at most (default 50)")
    log.add_argument("--who", help="only this person's")
    log.add_argument("--what", metavar="ACT", help="only acts that begin so: sign-in, user, rollout.hold")
    log.add_argument("--since", metavar="TIME", help="only from then on, such as 2031-05-06 or 2031-05-06T07:08+02:00")


def run(args: argparse.Namespace) -> int:
    """Print the log."""
    from data.users.audit_log import list_audit_log

    if not 1 <= args.limit <= 1_000_000:
        raise ConfigError(f"--limit {args.limit}: expected 1 to 1,000,000")
    since = None if args.since is None else _time(args.since)
    entries = list_audit_log(
        open_workspace(args).catalog(), limit=args.limit, who=args.who, what=args.what, since=since
    )  # fmt: skip
    if args.json:
        print_json({"entries": [entry.to_dict() for entry in entries]})
        return 0
    for entry in entries:
        facts = ", ".join(f"{key}: {value}" for key, value in entry.facts.items())
        words = " · ".join(part for part in (entry.detail, facts) if part)
        head = f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.who:<16} {entry.what:<20} {entry.about:<24} {entry.outcome:<8}"
        print(f"{head} from {entry.address}  {words}".rstrip())
    if not entries:
        print("The audit log has no such line.")
    return 0


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--since {text!r}: expected a time such as 2031-05-06 or 2031-05-06T07:08+02:00") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)
