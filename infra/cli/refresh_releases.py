"""``andon refresh-releases``: sign the online metadata anew."""

from __future__ import annotations

import argparse
import threading
from typing import Any

from infra.cli.arguments import command, print_json


def add_parser(sub: Any) -> None:
    """Add the command."""
    refresh = command(
        sub,
        "refresh-releases",
        "sign the online metadata anew, once or for ever",
        "Devices take nothing new from release metadata that is older than 30 days. The stack's process `releases` "
        "signs it anew every day; where there is no such process (a cron job, a timer of systemd), this command does. "
        "It needs the bucket and the online keys, neither MLflow nor Prefect.",
    )
    refresh.add_argument("--every", type=float, metavar="SECONDS", help="go on for ever, and look so often")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import logging

    from flows.releases.refresher import keep_fresh, repository_at

    repository = repository_at(args.home)
    if args.every is not None:
        logging.getLogger("andon").setLevel(logging.INFO)
        keep_fresh(repository, threading.Event().wait, look_seconds=args.every)
        return 0
    repository.refresh_timestamp()
    expiry = repository.expiry()
    if args.json:
        print_json({"expires": {role: at.isoformat() for role, at in sorted(expiry.items())}})
    else:
        print(f"Signed anew until {expiry['timestamp']:%Y-%m-%d %H:%M} UTC.")
    return 0
