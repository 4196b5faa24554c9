"""Entry point of ``andon-edge``. Each command is a module with `add_parser` and `run`; only the one that is called is
imported.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from edge_client.contract.errors import AndonError

COMMANDS = ("run", "status", "ledger", "doctor", "tune", "update", "export")


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
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 found a problem, 2 wrong use or configuration."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = [w for w in words[:1] if w in COMMANDS]
    args = build_parser(chosen or COMMANDS).parse_args(words)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        return int(import_module(f"edge_client.cli.{args.command}").run(args))
    except AndonError as error:
        if getattr(args, "json", False):
            print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        print(f"andon-edge {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
