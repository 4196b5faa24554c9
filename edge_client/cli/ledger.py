"""``andon-edge ledger``: every sample that was ever acknowledged, and what became of it."""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from edge_client.cli.arguments import common
from edge_client.config import Config
from edge_client.figures import read_ledger


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "ledger",
        help="list every sample that capture acknowledged, with its state",
        description="Lists every sample that capture acknowledged: kept (waits for upload), uploaded (its window's "
        "record is up), "
        "evicted (made room under the byte budget; accounted for in the window's threshold) or damaged. Works while "
        "the client "
        "runs. With --json: {device, entries: [{sample_id, state, epoch, window, sequence, extra, bytes, sha256}]}.",
    )
    common(parser)


def run(args: argparse.Namespace) -> int:
    """Print the ledger."""
    config = Config.load(args.config)
    entries = list(read_ledger(config.device.state / "spool"))
    if args.json:
        print(json.dumps({"device": config.device.name, "entries": [asdict(e) for e in entries]}))
        return 0
    for e in entries:
        print(
            f"{e.sample_id}  {e.state:<9} {e.epoch}-{e.window:08d}  {e.bytes:>9} "
            f"bytes{'  ' + e.extra if e.extra else ''}"
        )
    states = Counter(e.state for e in entries)
    print(
        f"{len(entries)} samples: " + (", ".join(f"{n} {state}" for state, n in sorted(states.items())) or "none yet")
    )
    return 0
