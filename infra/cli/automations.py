"""``andon automations``: what happens at the Prefect server when a flow fails, as code."""

from __future__ import annotations

import argparse
from typing import Any

from infra.cli.arguments import command, open_workspace, print_json


def add_parser(sub: Any) -> None:
    """Add the command."""
    group = sub.add_parser(
        "automations",
        help="what happens at the Prefect server when a flow fails, as code",
        description="Automations at the Prefect server, as code: a flow that fails or crashes is told of by the ways "
        "that policy.toml, section [notify], names.",
    )
    actions = group.add_subparsers(dest="action", metavar="ACTION", required=True)
    command(
        actions,
        "apply",
        "bring the server's automations in line",
        "Makes the automations that are missing and brings changed ones back in line; those that people made are left "
        "alone. Needs the serving process, which `andon up` starts.",
    )


def run(args: argparse.Namespace) -> int:
    """Apply them."""
    open_workspace(args)
    from flows.automations import apply

    done = apply()
    if args.json:
        print_json(done)
    else:
        for name, what in done.items():
            print(f"{name}: {what}")
    return 0
