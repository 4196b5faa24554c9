"""``andon-edge mirror``: the signed releases in a folder, once or kept up to date, and served to the devices nearby."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.config import Config
from edge_client.contract.bucket import Bucket, DirectoryBucket
from edge_client.contract.errors import AndonError, ConfigError
from edge_client.contract.mirror import MirrorReport, mirror_releases
from edge_client.updates.share import ShareServer, in_folder


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "mirror",
        help="copy the signed releases to a folder, and serve them on the local network",
        description="Copies the releases in force from the bucket to DIR, with this device's credentials. With --port "
        "DIR is kept up to date and served over HTTP: other devices name it under releases.mirrors and fetch engines "
        "from here, also while the bucket is away. A mirror need not be trusted: everything is signed. Without --port "
        "it copies once: onto a USB stick, or into a folder that a web server serves.",
    )
    common(parser)
    parser.add_argument("directory", type=Path, metavar="DIR", help="an existing folder; releases/ is made in it")
    parser.add_argument("--everything", action="store_true", help="all approved engines, not only those of channels")
    parser.add_argument(
        "--inspection", action="append", default=[], metavar="NAME", help="only of this inspection; may be repeated"
    )
    parser.add_argument(
        "--bytes-per-second", type=int, default=0, metavar="N", help="most from the bucket; 0 is no limit"
    )
    parser.add_argument("--port", type=int, metavar="PORT", help="serve the folder there; 0 chooses a port")
    parser.add_argument("--host", default="0.0.0.0", help="address to serve on (default: all)")  # noqa: S104 -- its purpose
    parser.add_argument(
        "--every",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how often it is brought up to date (default: 300)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Copy; with ``--port`` serve and go on until interrupted. A copy that fails then is tried again."""
    config = Config.load(args.config)
    bucket = config.open_bucket()
    if bucket is None:
        raise ConfigError(f"{args.config} names no bucket to mirror: add the table [bucket]")
    if not args.directory.is_dir():
        raise ConfigError(f"{args.directory} is not a folder: mount the stick, or make the folder first")
    if args.port is None:
        _tell(args, _copied(args, bucket))
        return 0
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    server = ShareServer(in_folder(args.directory), host=args.host, port=args.port)
    server.start()
    print(
        json.dumps({"port": server.port}) if args.json else f"serving {args.directory} on port {server.port}",
        flush=True,
    )
    try:
        while not ended.is_set():
            try:
                _tell(args, _copied(args, bucket))
            except AndonError as error:
                print(f"andon-edge mirror: {error}; tried again in {args.every:g} s", file=sys.stderr, flush=True)
            ended.wait(args.every)
    finally:
        server.stop()
    return 0


def _copied(args: argparse.Namespace, bucket: Bucket) -> MirrorReport:
    return mirror_releases(
        bucket,
        DirectoryBucket(args.directory),
        everything=args.everything,
        inspections=args.inspection,
        rest=lambda count: time.sleep(count / args.bytes_per_second) if args.bytes_per_second > 0 else None,
    )


def _tell(args: argparse.Namespace, report: MirrorReport) -> None:
    if args.json:
        print(json.dumps({"directory": str(args.directory), **report.to_json()}), flush=True)
        return
    print(
        f"{args.directory} holds the releases of timestamp {report.timestamp}: {report.files} files, {report.bytes} "
        f"bytes, {report.fetched_bytes} of them fetched now",
        flush=True,
    )
