"""``andon-edge enroll``: make a bundle this device's own, once."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edge_client.contract.errors import ConfigError
from edge_client.enrolment import CONFIG_FILE, claim_bundle, claimed, read_bundle, unpack_into


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "enroll",
        help="make a bundle this device's own, once",
        description="Unpacks the bundle that `andon enroll` made (a file, or the code that a QR code shows), makes "
        "this device's keys, claims the bundle, and waits for the device's own account. A bundle can be claimed once. "
        "Cut at any point, the same command goes on.",
    )
    parser.add_argument("bundle", nargs="?", help="the file, or the code; '-' reads the code from standard input")
    parser.add_argument(
        "--into", type=Path, default=Path("andon"), metavar="DIR", help="the device's folder (default: ./andon)"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for the cloud (default: 600)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace) -> int:
    """Enrol; 0 when the device has its own account."""
    folder: Path = args.into
    config_file = folder / CONFIG_FILE
    if not config_file.exists():
        if args.bundle is None:
            raise ConfigError(f"{folder} holds no bundle yet: name the file or the code")
        source = sys.stdin.read(8192).strip() if args.bundle == "-" else args.bundle
        unpack_into(read_bundle(source), folder)
    already = claimed(folder)
    tell = (lambda _: None) if args.json else print
    config = claim_bundle(folder, wait_seconds=args.timeout, tell=tell)
    if args.json:
        print(json.dumps({"device": config.device.name, "config": str(config_file), "already": already}))
    elif already:
        print(f"{config.device.name} is enrolled already: {config_file}")
    else:
        print(f"{config.device.name} is enrolled. Start it: andon-edge run --config {config_file} --source FOLDER")
    return 0
