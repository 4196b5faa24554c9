"""``andon drift``: whether the line still looks as it did, what is likely the matter, and what is done about it."""

from __future__ import annotations

import argparse
import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.drift.alarms import DriftAlarm
    from data.drift.watches import WatchedDevice

_SHOWN = 10


def add_parser(sub: Any) -> None:
    """Add the command."""
    drift = command(
        sub,
        "drift",
        "whether the line still looks as it did, and what is likely the matter",
        "Shows what each device is compared with and the alarms of drift. The watch flow looks by itself; with --look "
        "it is done now. An alarm is closed as mended (the reference stays) or as the new normal (it begins anew). "
        "Exit code 1 while an alarm is open.",
    )
    drift.add_argument("inspection", nargs="?", help="default: the only one there is")
    drift.add_argument("--look", action="store_true", help="look at what was ingested since, now")
    closing = drift.add_mutually_exclusive_group()
    closing.add_argument("--mended", type=int, metavar="ALARM", help="close this alarm: the line is as it was")
    closing.add_argument("--new-normal", type=int, metavar="ALARM", help="close this alarm: from now on this is usual")
    drift.add_argument("--who", default=None, help="who closes it (default: the account's name)")
    drift.add_argument("--note", default="", help="what was found")


def run(args: argparse.Namespace) -> int:
    """Close, look, and show."""
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    from data.drift.alarms import list_alarms
    from data.drift.watches import close_alarm, watched_devices

    catalog = workspace.catalog()
    closed = args.mended if args.mended is not None else args.new_normal
    if closed is not None:
        who = args.who or getpass.getuser()
        now = datetime.now(UTC)
        close_alarm(
            catalog, closed, inspection=name, who=who, at=now, new_normal=args.new_normal is not None, note=args.note
        )
    if args.look:
        from flows.drift import watch_drift
        from flows.exclusive import only_one

        with only_one(workspace.home, "watch", wait_seconds=60.0):
            watch_drift(workspace, name)
    alarms, devices = list_alarms(catalog, name, limit=_SHOWN), watched_devices(catalog, name)
    if args.json:
        print_json(
            {
                "inspection": name,
                "alarms": [alarm.to_dict() for alarm in alarms],
                "devices": [device.to_dict() for device in devices],
            }
        )
    else:
        print("\n".join(lines_of(name, devices, alarms)))
    return 1 if any(alarm.closed_at is None for alarm in alarms) else 0


def lines_of(name: str, devices: list[WatchedDevice], alarms: list[DriftAlarm]) -> list[str]:
    """One inspection in lines."""
    still = sum(1 for alarm in alarms if alarm.closed_at is None)
    lines = [f"{name}: {still or 'no'} open {'alarms' if still > 1 else 'alarm'} of drift"]
    lines += [f"  {device.name} {device.kind}: compared with {device.reference}" for device in devices]
    if not devices:
        lines.append("  nothing was looked at yet: the watch flow looks once windows are ingested (or use --look)")
    for alarm in alarms:
        state = f"closed by {alarm.closed_by}: {alarm.note}" if alarm.closed_at else "OPEN"
        done = f", {alarm.asked} labels asked for" if alarm.asked else ""
        since = f" since about {alarm.began_at:%Y-%m-%d %H:%M}" if alarm.began_at else ""
        lines.append(
            f"  alarm {alarm.id}, {alarm.device} ({alarm.station}), {alarm.window_at:%Y-%m-%d %H:%M}: {state}{done}"
        )
        lines.append(f"    {alarm.words}{since}")
    return lines
