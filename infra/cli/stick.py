"""``andon export-stick``: the signed releases on a USB stick, for devices without a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser = command(
        sub,
        "export-stick",
        "copy the signed releases to a USB stick or a folder",
        "Copies the releases in force to DIR. On a device `andon-edge update --from DIR` takes them from there, as it "
        "would from the bucket; as a folder on a web server DIR is a mirror. Nothing on it is secret but the engines "
        "themselves, and nothing has to be trusted: everything is signed. They are good until the signatures end, 30 "
        "days from the last renewal.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="an existing folder; releases/ is made in it")
    parser.add_argument("--everything", action="store_true", help="all approved engines, not only those of channels")
    parser.add_argument(
        "--inspection", action="append", default=[], metavar="NAME", help="only of this inspection; may be repeated"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from edge_client.contract.bucket import DirectoryBucket
    from edge_client.contract.mirror import mirror_releases

    if not args.directory.is_dir():
        raise ConfigError(f"{args.directory} is not a folder: mount the stick, or make the folder first")
    report = mirror_releases(
        open_workspace(args).bucket(),
        DirectoryBucket(args.directory),
        everything=args.everything,
        inspections=args.inspection,
        engine_keys=True,
    )
    if args.json:
        print_json({"directory": str(args.directory), **report.to_json()})
        return 0
    print(f"{report.files} files, {report.bytes} bytes in {args.directory}; {report.fetched_bytes} fetched now")
    print(f"On the device: andon-edge update --config andon.toml --from {args.directory}")
    return 0
