"""``andon software``: which version of the client devices run and should run."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_client.contract.software import Software, SoftwareRelease
    from flows.releases.repository import ReleaseRepository
    from flows.software import DeviceSoftware


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "software",
        help="which version of the client devices run and should run",
        description="Devices that were started with `andon-edge launch` upgrade their client by themselves: to a "
        "version that a person approved (publish) and that is named for them (set). Each tries it first, and goes "
        "back by itself.",
        epilog="Each action takes --home DIR and --json too. "
        "In order: `andon software publish dist/andon_edge-0.2.0-py3-none-any.whl`, `andon software set 0.2.0 "
        "--percent 10`, `andon software show`, `andon software set 0.2.0`.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    publish = command(
        actions,
        "publish",
        "approve a version: sign its wheels",
        "Inspects the wheels, shows what is signed and signs their digests with the key of a person that also approves "
        "engines. No device takes the version before it is set.",
    )
    publish.add_argument(
        "wheels",
        nargs="+",
        type=Path,
        metavar="WHEEL",
        help="the client's own (`make wheel`), and those of packages that it newly needs",
    )
    chosen = command(
        actions,
        "set",
        "name the version that devices should run",
        "Without options: for every device. With options: for a share or cohort of them, beside those that have it "
        "already; a device's share is a hash of its name, so that a higher percentage only adds devices.",
    )
    chosen.add_argument("version", help="an approved version")
    chosen.add_argument("--percent", type=_percent, metavar="P", help="of the devices, or of those named here")
    for name in ("site", "station", "hardware", "device"):
        chosen.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=f"only this {name}; again")
    command(
        actions,
        "halt",
        "take the staged version back",
        "Devices that took it return to the version set for all, or keep what they have where none is.",
    )
    require = command(
        actions,
        "require",
        "state the least version that engines or settings need",
        "A device below it takes none of them, keeps what it has, and says so.",
    )
    require.add_argument("version", help='least client version, or "none"')
    require.add_argument(
        "targets",
        nargs="?",
        default="engines/*",
        metavar="PATTERN",
        help="such as engines/solder-joints/* or settings/*",
    )
    command(actions, "show", "versions approved, named, and run", "Shows all three, device by device.")


def run(args: argparse.Namespace) -> int:
    """Run the action that was called."""
    workspace = open_workspace(args)
    from flows import software
    from flows.stack import repository_of

    repository = repository_of(workspace, lambda: datetime.now(UTC))
    now = datetime.now(UTC)
    if args.action == "publish":
        return _publish(args, repository)
    if args.action == "set":
        document = _set(args, repository, now)
    elif args.action == "halt":
        document = software.halt(repository, now)
    elif args.action == "require":
        version = "" if args.version == "none" else args.version
        document = software.need(repository, args.targets, version, now)
    else:
        return _show(args, repository, workspace.catalog())
    if args.json:
        print_json(asdict(document))
    else:
        print("\n".join(named_lines(document)))
    return 0


def named_lines(document: Software | None) -> list[str]:
    """What a document names, for people."""
    if document is None:
        return ["no version is named: every device keeps the client it has"]
    base = document.base.version if document.base is not None else "what it has"
    lines = [f"every device: {base}"]
    if document.staged is not None:
        for cohort in document.staged.cohorts:
            where = [
                f"{what} {', '.join(names)}"
                for what, names in (
                    ("site", cohort.sites),
                    ("station", cohort.stations),
                    ("hardware", cohort.hardware),
                    ("device", cohort.devices),
                )
                if names
            ]
            share = "" if cohort.percent >= 100 and where else f"{cohort.percent:g} %"
            lines.append(f"staged: {document.staged.release.version} for {' of '.join(filter(None, [share, *where]))}")
    lines += [f"{pattern} needs client {version} or newer" for pattern, version in sorted(document.needs.items())]
    return lines


def _publish(args: argparse.Namespace, repository: ReleaseRepository) -> int:
    from flows.software import approve

    wheels: dict[str, bytes] = {}
    for path in args.wheels:
        try:
            wheels[path.name] = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"wheel {path} cannot be read: {error}") from error
    facts = approve(repository, wheels)
    if args.json:
        print_json([asdict(f) for f in facts])
        return 0
    for f in facts:
        print(f"signed {f.name}: {f.bytes} bytes, {f.files} files, SHA-256 {f.sha256}")
        if f.needs:
            print(f"  needs {', '.join(f.needs)}")
    return 0


def _set(args: argparse.Namespace, repository: ReleaseRepository, now: datetime) -> Software:
    from edge_client.contract.names import check_name
    from edge_client.contract.releases import Cohort
    from flows.software import choose, stage

    named = {
        what: tuple(check_name(name, what) for name in getattr(args, what))
        for what in ("site", "station", "hardware", "device")
    }
    if args.percent is None and not any(named.values()):
        return choose(repository, args.version, now)
    cohort = Cohort(
        percent=100.0 if args.percent is None else args.percent,
        sites=named["site"],
        stations=named["station"],
        hardware=named["hardware"],
        devices=named["device"],
    )
    return stage(repository, args.version, cohort, now)


def _show(args: argparse.Namespace, repository: ReleaseRepository, catalog: Any) -> int:
    from data.devices import device_statuses
    from flows.software import approved, counts, fleet, read

    document = read(repository)
    known = approved(repository)
    rows = fleet(document, device_statuses(catalog))
    if args.json:
        print_json(
            {
                "named": None if document is None else asdict(document),
                "approved": {version: asdict(release) for version, release in known.items()},
                "versions": counts(rows),
                "devices": [asdict(row) for row in rows],
            }
        )
        return 0
    print("\n".join([*named_lines(document), *_approved_lines(known), *_fleet_lines(rows)]))
    return 0


def _approved_lines(known: Mapping[str, SoftwareRelease]) -> list[str]:
    if not known:
        return ["no version is approved: `andon software publish WHEEL`"]
    return ["approved: " + ", ".join(f"{v} ({len(r.wheels)} wheels)" for v, r in known.items())]


def _fleet_lines(rows: list[DeviceSoftware]) -> list[str]:
    from flows.software import counts

    if not rows:
        return ["no device has reported yet"]
    lines = [", ".join(f"{n} on {version}" for version, n in counts(rows).items())]
    width = max(len(row.device) for row in rows)
    for row in rows:
        behind = f" -> {row.wanted}" if row.wanted and row.wanted != row.runs else ""
        told = f"  {row.told}" if row.told and (behind or "left" in row.told) else ""
        lines.append(f"  {row.device:<{width}}  {row.runs}{behind}{told}")
    return lines


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage: expected a number from 0 to 100")
    return value
