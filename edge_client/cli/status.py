"""``andon-edge status``: how this device is doing, read from its state folder; works while the client runs."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.config import Config
from edge_client.figures import read_figures


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "status",
        help="show engine, requests and spool of this device",
        description="Shows what the device runs, what it answered and what waits for upload. Reads the state folder "
        "only: it works "
        "while the client runs and when it does not. `run` is what `andon-edge run` wrote last (null if it never ran).",
    )
    common(parser)


def run(args: argparse.Namespace) -> int:
    """Print the status."""
    config = Config.load(args.config)
    state = config.device.state
    figures = read_figures(state / "spool")
    told = _read_json(state / "run.json")
    status: dict[str, Any] = {
        "device": config.device.name,
        "site": config.device.site,
        "station": config.device.station,
        "inspection": config.inspection.name,
        "channel": config.inspection.channel,
        "state": str(state),
        "spool": {**asdict(figures), "limit_bytes": config.capture.spool_bytes} if figures is not None else None,
        "run": told,
    }
    if args.json:
        print(json.dumps(status))
        return 0
    print(f"device      {status['device']} at {status['site']}/{status['station']}, inspects {status['inspection']}")
    if told:
        print(
            f"engine      {told['engine_id']} ({told['slot']}), channel {status['channel']}, {told['swaps']} swaps "
            f"since start"
        )
        print(
            f"requests    {told['requests']} asked, {told['answered']} answered, {told['refused']} refused, "
            f"{told['lost']} lost"
        )
        if (upload := _upload(told)) is not None:
            print(f"upload      {upload}")
        for problem in told["problems"]:
            print(f"problem     {problem}")
    else:
        print("engine      `andon-edge run` has not run here yet")
    if figures is not None:
        print(
            f"spool       {figures.bytes} of {config.capture.spool_bytes} bytes, {figures.waiting_windows} windows "
            f"wait for upload"
        )
        print(
            f"samples     {figures.kept} kept, {figures.uploaded} uploaded, {figures.evicted} evicted, "
            f"{figures.damaged} damaged"
        )
    return 0


def _upload(told: Any) -> str | None:
    """Say when windows are uploaded next; None where the client does not upload."""
    upload = (told.get("capture") or {}).get("upload")
    if upload is None:
        return None
    following = upload["next"]
    if following["reason"] == "":
        return "now"
    wait = following["in_seconds"]
    when = "" if wait is None else f"in {wait / 3600:.1f} h: " if wait >= 3600 else f"in {wait:.0f} s: "
    return f"{when}{following['reason']}"


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
