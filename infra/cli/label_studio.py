"""``andon label-studio``: people label in Label Studio, the labels are Andon's."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection


def add_parser(sub: Any) -> None:
    """Add the command."""
    group = sub.add_parser(
        "label-studio",
        help="keep a project in Label Studio in step with an inspection",
        description="Keeps a project in Label Studio in step with an inspection. See docs/connect.md.",
    )
    actions = group.add_subparsers(dest="action", metavar="ACTION", required=True)
    sync = command(
        actions,
        "sync",
        "annotations back as labels, what waits out as tasks",
        "Makes the project of an inspection if there is none, takes annotations over as labels in the names of who "
        "made them, and brings its tasks in line with what waits for a label. Safe to kill and to repeat. What is not "
        "said here is taken from policy.toml, section [label_studio]; with an address there it runs by itself. The "
        "exit code is 1 if an annotation could not be taken over.",
    )
    sync.add_argument("inspection", nargs="?", help="default: the only one there is")
    sync.add_argument("--url", help="Label Studio's address, such as https://labels.example.com")
    sync.add_argument("--token-file", type=Path, metavar="FILE", help="file with an access token, mode 600")
    sync.add_argument("--most", type=int, metavar="N", help="tasks that wait there at a time (default 500)")
    sync.add_argument("--bucket-url", metavar="URL", help="the bucket's address as people's browsers reach it")
    sync.add_argument("--link-hours", type=float, metavar="H", help="how long a link to an image holds (default 48)")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    from flows.connect.label_studio import sync_once
    from flows.connect.label_studio_api import LabelStudioApi
    from flows.connect.label_studio_flow import read_token, token_of

    policy = workspace.policy().label_studio
    url = args.url or policy.url
    if not url:
        raise ConfigError("which Label Studio? Say --url, or url in policy.toml, section [label_studio]")
    token = read_token(args.token_file) if args.token_file else token_of(workspace, policy)
    most = policy.most if args.most is None else args.most
    if most < 1:
        raise ConfigError(f"--most {most}: expected at least 1")
    done = sync_once(
        workspace,
        name,
        api=LabelStudioApi(url, token),
        most=most,
        bucket_url=args.bucket_url or policy.bucket_url,
        link_hours=policy.link_hours if args.link_hours is None else args.link_hours,
    )
    if args.json:
        print_json(asdict(done))
    else:
        print(done)
        for problem in done.problems:
            print(f"  {problem}")
    return 1 if done.problems else 0
