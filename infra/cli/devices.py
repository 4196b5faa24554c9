"""``andon enroll`` and ``revoke``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.devices import Device
    from data.workspace import Workspace


def add_parser(sub: Any) -> None:
    """Add the commands."""
    enroll = command(
        sub,
        "enroll",
        "make a device's account, key and bundle",
        "Makes the device's account in the bucket, its signing key, and the folder that goes to the device: "
        "configuration, credentials, key, trust anchor and the engine it starts with. "
        "With --as file or --as qr the bundle can be used once: the device makes its own key and claims the bundle "
        "with `andon-edge enroll`; a copy of it is worth nothing afterwards, and using one is reported.",
    )
    enroll.add_argument("device", help="its name, such as aoi-3")
    enroll.add_argument("--inspection", help="what it inspects (default: the only inspection there is)")
    enroll.add_argument("--site", help="plant (default: plant)")
    enroll.add_argument("--station", help="place on the line (default: the device's name)")
    enroll.add_argument("--channel", help="the channel it follows (default: stable)")
    enroll.add_argument(
        "--out", type=Path, metavar="DIR", help="the bundle's folder (default: devices/DEVICE in the home directory)"
    )
    enroll.add_argument(
        "--as",
        dest="form",
        choices=("folder", "file", "qr"),
        default="folder",
        help="folder: with the device's key in it, for a device that is set up from here (default); file: one file, "
        "usable once; qr: a code, usable once, its bundle sealed in the bucket",
    )
    enroll.add_argument("--qr", type=Path, metavar="FILE", help="with --as qr: draw it (.svg, .png, .pdf)")
    enroll.add_argument(
        "--days", type=float, default=14.0, metavar="N", help="an unused file or code is void after so many days (14)"
    )
    enroll.add_argument(
        "--replace",
        action="store_true",
        help="the name is a device's already, which the new one replaces: its history goes on, and what is not said "
        "(inspection, site, station, channel) stays as it was; with --as file or qr",
    )
    enroll.add_argument("--engine", type=Path, metavar="FILE", help="engine to start with (default: the champion)")
    enroll.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="another value for its andon.toml, such as capture.byte_budget=500000",
    )
    revoke = command(
        sub,
        "revoke",
        "end a device's account and key",
        "Ends a device's account in the bucket and its key: it sends and receives nothing more, and what it "
        "still had is set aside.",
    )
    revoke.add_argument("device", help="its name")
    revoke.add_argument("--reason", default="", help="why, for the record")


def run(args: argparse.Namespace) -> int:
    """Run the command that was called."""
    return _enroll(args) if args.command == "enroll" else _revoke(args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a device is, and what it follows."""

    inspection: str
    site: str
    station: str
    channel: str


def place_of(args: argparse.Namespace, workspace: Workspace) -> Place:
    """As the command says; what it leaves out is as with the device that is replaced, else the default.

    Raises:
        DeviceError: There is none of that name to replace.
        ConfigError: The inspection is not named, and there are several.
    """
    from data.devices import get_device

    old: Device | None = get_device(workspace.catalog(), args.device) if args.replace else None
    runs = dict(old.inspections) if old is not None else {}
    inspection = the_inspection(workspace, args.inspection or (next(iter(runs)) if len(runs) == 1 else None))
    return Place(
        inspection=inspection,
        site=args.site or (old.site if old is not None else "plant"),
        station=args.station or (old.station if old is not None else args.device),
        channel=args.channel or runs.get(inspection, "stable"),
    )


def _enroll(args: argparse.Namespace) -> int:
    from edge_client.contract.names import check_name
    from infra.enrolment import enroll

    check_name(args.device, "device")  # before anything is opened
    settings = parse_settings(args.set)
    if args.replace and args.form == "folder":
        raise ConfigError("--replace is for --as file or --as qr: the old device goes on until the new one claims it")
    workspace = open_workspace(args)
    place = place_of(args, workspace)
    if args.form != "folder":
        return _invite(args, workspace, place, settings)
    bundle = enroll(
        workspace,
        args.device,
        site=place.site,
        station=place.station,
        inspection=place.inspection,
        out_dir=args.out,
        channel=place.channel,
        engine=args.engine,
        settings=settings,
    )
    if args.json:
        print_json(
            {
                "device": bundle.device,
                "inspection": bundle.inspection,
                "channel": bundle.channel,
                "bundle": str(bundle.path),
                "config": str(bundle.config),
                "engine_id": bundle.engine_id,
                "public_key": bundle.public_key_hex,
                "access_key_id": bundle.access_key_id,
            }
        )
        return 0
    print(f"{bundle.device} is enrolled. Its bundle, with secrets in it: {bundle.path}")
    print(f"Copy it to the device, then there: andon-edge run --config {bundle.config} --source FOLDER --follow")
    return 0


def _invite(args: argparse.Namespace, workspace: Workspace, place: Place, settings: Any) -> int:
    from infra.invitation import invite, write_qr

    invitation = invite(
        workspace,
        args.device,
        site=place.site,
        station=place.station,
        inspection=place.inspection,
        as_code=args.form == "qr",
        out=args.out,
        days=args.days,
        replace=args.replace,
        channel=place.channel,
        engine=args.engine,
        settings=settings,
    )
    if args.form == "qr" and args.qr is not None:
        write_qr(invitation.code, args.qr)
    if args.json:
        print_json(
            {
                "device": invitation.device,
                "inspection": invitation.inspection,
                "channel": invitation.channel,
                "bundle": invitation.path,
                "code": invitation.code or None,
                "qr": args.qr if args.form == "qr" else None,
                "engine_id": invitation.engine_id,
                "until": invitation.until,
            }
        )
        return 0
    what = str(invitation.path or args.qr or "the code below")
    print(f"{invitation.device} is invited until {invitation.until:%Y-%m-%d %H:%M} UTC, once, by {what}")
    print(f"  for {place.inspection}, site {place.site}, station {place.station}, channel {place.channel}")
    if invitation.code:
        print(f"On the device: andon-edge enroll CODE --into DIR, with the code\n{invitation.code}")
    else:
        print(f"On the device: andon-edge enroll {Path(what).name} --into DIR")
    return 0


def parse_settings(texts: list[str]) -> dict[str, dict[str, str | int | float | bool]]:
    """Read ``table.key=value`` texts.

    Raises:
        ConfigError: A text is not of that form.

    >>> parse_settings(["capture.byte_budget=500000", "mode.advisory=true"])
    {'capture': {'byte_budget': 500000}, 'mode': {'advisory': True}}
    """
    import tomllib

    settings: dict[str, dict[str, str | int | float | bool]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        table, dot, key = name.partition(".")
        if not (equals and dot and table.isidentifier() and key.isidentifier()):
            raise ConfigError(f"--set {text!r}: expected TABLE.KEY=VALUE, such as capture.byte_budget=500000")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value  # a text without its quotes
        if not isinstance(parsed, str | int | float | bool):
            raise ConfigError(f"--set {text!r}: expected a number, a text, true or false")
        settings.setdefault(table, {})[key] = parsed
    return settings


def _revoke(args: argparse.Namespace) -> int:
    from infra.enrolment import revoke

    device = revoke(open_workspace(args), args.device, reason=args.reason)
    if args.json:
        print_json({"device": device.name, "revoked_at": device.revoked_at, "reason": device.revoked_reason})
    else:
        print(f"{device.name} is revoked: its account and its key are ended; what it still had waiting is set aside.")
    return 0
