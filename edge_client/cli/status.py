"""``andon-edge status``: how this device is doing, read from its state folder; works while the client runs."""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_client.cli.arguments import common
from edge_client.clock import Clock, SystemClock
from edge_client.config import Config
from edge_client.contract.errors import AndonError
from edge_client.figures import read_figures
from edge_client.remedies import remedy_for


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "status",
        help="show engine, requests, cost and spool of this device",
        description="Shows what the device runs, what it answered, what that cost (processor seconds and, where the "
        "processor's energy counters can be read, joules for each frame), what waits, and each problem with its "
        "remedy. Reads the state folder only: it works while the client runs and when it does not.",
        epilog="With --json: `run` is what `andon-edge run` wrote last (null if it never ran), `running` whether that "
        "process is there, `waits` what is not done yet, `problems` a list of {problem, remedy}.",
    )
    common(parser)


def run(args: argparse.Namespace) -> int:
    """Print the status."""
    status = read_status(Config.load(args.config))
    if args.json:
        print(json.dumps(status))
    else:
        for name, text in _lines(status):
            print(f"{name:<11} {text}")
    return 0


def read_status(config: Config, *, clock: Clock | None = None) -> dict[str, Any]:
    """Return the status as plain JSON values.

    Args:
        config: The device's configuration.
        clock: Tells how old what was told is.
    """
    clock = clock or SystemClock()
    state = config.device.state
    told = _read_json(state / "run.json")
    problems = [str(p) for p in told["problems"]] if told else []
    if told and (told.get("source") or {}).get("problem"):
        problems.append(told["source"]["problem"])
    try:
        figures = read_figures(state / "spool")
    except AndonError as error:
        figures = None
        problems.append(str(error))
    if told and not told["done"] and not _is_alive(told["pid"]):
        problems.append(f"the client (process {told['pid']}) ended without finishing")
    return {
        "device": config.device.name,
        "site": config.device.site,
        "station": config.device.station,
        "inspection": config.inspection.name,
        "channel": config.inspection.channel,
        "state": str(state),
        "spool": {**asdict(figures), "limit_bytes": config.capture.spool_bytes} if figures is not None else None,
        "run": told,
        "running": bool(told and not told["done"] and _is_alive(told["pid"])),
        "told_seconds_ago": _age(told, clock),
        "waits": _waits(told, asdict(figures) if figures is not None else None),
        "problems": [{"problem": p, "remedy": remedy_for(p)} for p in problems],
    }


def _waits(told: Mapping[str, Any] | None, figures: Mapping[str, Any] | None) -> dict[str, int]:
    """What is not done yet, from the source to the bucket."""
    capture = (told or {}).get("capture") or {}
    return {
        "source_frames": int((told or {}).get("waiting", 0)),
        "capture_candidates": int(capture.get("waiting_candidates", 0)),
        "upload_windows": int(figures["waiting_windows"]) if figures else 0,
        "upload_bytes": int(figures["bytes"]) if figures else 0,
    }


def _lines(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    told, spool, waits = status["run"], status["spool"], status["waits"]
    yield "device", f"{status['device']} at {status['site']}/{status['station']}, inspects {status['inspection']}"
    if told:
        yield "engine", f"{told['engine_id']} ({told['slot']}), channel {status['channel']}, {told['swaps']} swaps"
        process = told.get("process") or {}
        if status["running"]:
            since = f", up {_duration(process['uptime_seconds'])}" if process else ""
            yield "client", f"runs as process {told['pid']}{since}, told {status['told_seconds_ago']:.0f} s ago"
        else:
            yield "client", f"does not run; told {_duration(status['told_seconds_ago'])} ago"
        skipped = f", {told['skipped']} of them skipped as unchanged" if told.get("skipped") else ""
        yield (
            "requests",
            (
                f"{told['requests']} asked, {told['answered']} answered{skipped}, {told['refused']} refused, "
                f"{told['lost']} lost"
            ),
        )
        yield from _cost(told, process)
        if source := told.get("source"):
            yield "source", f"{source['kind']}: {source['read']} frames read, {source['dropped']} dropped"
        if (upload := _upload(told)) is not None:
            yield "upload", upload
        yield from _settings(told)
    else:
        yield "client", "`andon-edge run` has not run here yet"
    if spool is not None:
        yield "spool", f"{spool['bytes']} of {spool['limit_bytes']} bytes"
        yield "samples", ", ".join(f"{spool[s]} {s}" for s in ("kept", "uploaded", "evicted", "damaged"))
    yield (
        "waits",
        (
            f"{waits['source_frames']} frames for inspection, {waits['capture_candidates']} for encoding, "
            f"{waits['upload_windows']} windows ({waits['upload_bytes']} bytes) for upload"
        ),
    )
    for item in status["problems"]:
        yield "problem", item["problem"]
        yield "", f"→ {item['remedy']}"


def _settings(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell which signed settings hold, and which campaigns are followed."""
    settings = told.get("settings") or {}
    if versions := settings.get("versions"):
        yield "settings", ", ".join(f"{name} {version}" for name, version in versions.items())
        for key, value in sorted(settings.get("values", {}).items()):
            yield "", f"{key} = {value}"
    if settings.get("campaigns"):
        yield "campaigns", ", ".join(settings["campaigns"])


def _cost(told: Mapping[str, Any], process: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not process:
        return
    frame = process["cpu_seconds_per_frame"]
    each = f", {frame * 1e3:.2f} ms a frame" if frame is not None else ""
    yield "latency", f"{told['latency_ms_p50']:.2f} ms (median), {told['latency_ms_p99']:.2f} ms (99 %)"
    yield "processor", f"{process['cpu_seconds']:.1f} s since the start{each}"
    yield "memory", f"{process['memory_bytes'] / 1e6:.0f} MB, at most {process['memory_peak_bytes'] / 1e6:.0f} MB"
    joules = process["energy_joules_per_frame"]
    if joules is not None:
        yield "energy", f"{joules:.3f} J a frame (the whole package, everything that ran on it)"
    else:
        yield "energy", process["energy_note"] or "no frame yet"


def _duration(seconds: float | None) -> str:
    """Write a duration in its two largest units.

    >>> [_duration(s) for s in (7.2, 65, 7260, 200_000)]
    ['7 s', '1 min 5 s', '2 h 1 min', '2 d 7 h']
    """
    if seconds is None:
        return "some time"
    whole = int(seconds)
    for size, name, below, lower in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // below} {lower}"
    return f"{whole} s"


def _age(told: Mapping[str, Any] | None, clock: Clock) -> float | None:
    try:
        return max(0.0, (clock.now() - datetime.fromisoformat((told or {})["updated_at"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError, OverflowError):
        return True  # another user's, or a number that can't be asked about: what it wrote last holds
    return True


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
