"""Entry point of ``andon-edge``. Each command is a module with `add_parser` and `run`; only the one that is called is
imported.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from importlib import import_module

from edge_client.cli.arguments import logging_arguments
from edge_client.contract.errors import AndonError
from edge_client.logs import set_up_logging

COMMANDS = (
    "run",
    "serve",
    "launch",
    "status",
    "ledger",
    "doctor",
    "tune",
    "update",
    "upgrade",
    "mirror",
    "export",
    "enroll",
)


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser with the given commands."""
    parser = argparse.ArgumentParser(
        prog="andon-edge",
        description="Inspects on this device, keeps the frames worth learning from, and updates itself from signed "
        "releases.",
        epilog="First steps: `andon-edge doctor --config andon.toml`, then `andon-edge run --config andon.toml "
        "--source FOLDER`.",
    )
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in commands:
        import_module(f"edge_client.cli.{name}").add_parser(sub)
        logging_arguments(sub.choices[name])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 found a problem, 2 wrong use or configuration."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = [w for w in words[:1] if w in COMMANDS]
    args = build_parser(chosen or COMMANDS).parse_args(words)
    device, inspection = _names_of(args) if args.log_format == "json" else ("", "")
    set_up_logging(args.log_format, level=args.log_level, device=device, inspection=inspection)
    try:
        return int(import_module(f"edge_client.cli.{args.command}").run(args))
    except AndonError as error:
        if getattr(args, "json", False):
            print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        print(f"andon-edge {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _names_of(args: argparse.Namespace) -> tuple[str, str]:
    """Return device and inspection for log lines; what is wrong with the configuration is told by who reads it next."""
    try:
        (config,) = args.config if isinstance(args.config, list) else [args.config]  # several have no one name
        document = tomllib.loads(config.read_text(encoding="utf-8"))
        return str(document["device"]["name"]), str(document["inspection"]["name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", ""


if __name__ == "__main__":
    sys.exit(main())
