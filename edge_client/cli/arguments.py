"""Arguments that commands share."""

import argparse
from pathlib import Path

from edge_client.logs import FORMATS, LEVELS


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


def logging_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--log-format`` and ``--log-level``; `main` does it for every command, and follows them."""
    parser.add_argument(
        "--log-format", choices=FORMATS, default="text", help="log lines on standard error (default: text)"
    )
    parser.add_argument("--log-level", choices=LEVELS, default="warning", help="least level logged (default: warning)")
