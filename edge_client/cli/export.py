"""``andon-edge export``: the spool to a folder, such as a USB stick, for a device without a network."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.config import Config
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import ConfigError
from edge_client.loop import CaptureLoop


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "export",
        help="write all that waits in the spool to a folder, such as a USB stick",
        description="Writes the windows that wait for upload to DIR, sealed and signed as they would go to the "
        "bucket, and counts them as uploaded once they are durably written there. Copy DIR/inbox into the bucket that "
        "this device uploads to: it has the shards of a window whose upload was under way. The running client must be "
        "stopped first, since a spool has one owner.",
    )
    common(parser)
    parser.add_argument("directory", type=Path, metavar="DIR", help="an existing folder")


def run(args: argparse.Namespace) -> int:
    """Export."""
    config = Config.load(args.config)
    if not args.directory.is_dir():
        raise ConfigError(f"{args.directory} is not a folder: mount the stick, or make the folder first")
    loop = CaptureLoop(config, DirectoryBucket(args.directory))
    try:
        assert loop.uploader is not None
        while loop.uploader.send_next():
            pass
        sent = {
            "windows": loop.uploader.windows_sent,
            "samples": loop.uploader.samples_sent,
            "bytes": loop.uploader.bytes_sent,
        }
    finally:
        loop.close()
    if args.json:
        print(json.dumps({"device": config.device.name, "directory": str(args.directory), **sent}))
    else:
        print(
            f"{sent['windows']} windows, {sent['samples']} samples, {sent['bytes']} bytes written to {args.directory}"
        )
    return 0
