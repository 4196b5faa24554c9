"""Arguments that every command has."""

import argparse
from pathlib import Path


def common(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and ``--json``."""
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("andon.toml"),
        metavar="FILE",
        help="the device's configuration, as enrolment wrote it (default: ./andon.toml)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
