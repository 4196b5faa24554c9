"""``andon fleet``: how the devices are, for ten of them or ten thousand."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json

if TYPE_CHECKING:
    from data.fleet import FleetDevice, FleetPage, FleetSummary

_SHOWN = 50
_SITES = 20
_STATES = ("silent", "degraded", "unheard", "ok", "off", "revoked")
_SORTS = ("device", "site", "station", "state", "engine", "client", "outcome", "heard", "spool", "frames", "latency")
_OUTCOMES = ("none", "trial", "probation", "confirmed", "quarantined", "failed")


def add_parser(sub: Any) -> None:
    """Add the command."""
    fleet = command(
        sub,
        "fleet",
        "how the devices are: sites, versions, health, who is silent",
        "Shows how many devices there are of each state, site and engine, and a table of them, the ones that want a "
        "person first. What is shown is what the last watch run read (`andon watch` reads now). A device is silent "
        "when nothing was heard of it for three of its own intervals, unless the policy's [fleet] says otherwise.",
    )
    chosen = fleet.add_argument_group("which devices")
    chosen.add_argument("--site", default="", help="of this plant")
    chosen.add_argument("--station", default="", help="at this place on the line")
    chosen.add_argument("--state", default="", choices=_STATES, help=f"one of {', '.join(_STATES)}")
    chosen.add_argument("--engine", "--version", default="", metavar="ENGINE", help="that run this engine (its id)")
    chosen.add_argument("--client", default="", metavar="VERSION", help="with this version of the client software")
    chosen.add_argument("--outcome", default="", choices=_OUTCOMES, help="what became of the newest release there")
    chosen.add_argument("--inspection", default="", help="that run this inspection")
    chosen.add_argument("--search", default="", metavar="TEXT", help="a piece of a device, site, station or engine")
    shown = fleet.add_argument_group("what is shown")
    shown.add_argument(
        "--sort", default="state", choices=_SORTS, help="order of the table (default: state, worst first)"
    )
    shown.add_argument("--descending", action="store_true", help="the other way round")
    shown.add_argument("--limit", type=int, default=_SHOWN, metavar="N", help=f"rows (default {_SHOWN}, at most 1000)")
    shown.add_argument("--offset", type=int, default=0, metavar="N", help="rows to leave out first")
    shown.add_argument("--summary", action="store_true", help="only the counts")
    fleet.add_argument(
        "--check", action="store_true", help="exit code 1 if a device that is meant is silent, degraded or quarantined"
    )


def run(args: argparse.Namespace) -> int:
    """Print the fleet."""
    workspace = open_workspace(args)
    from data.fleet import FleetFilter, fleet_page, fleet_summary, list_silences
    from data.fleet.rows import reconcile

    catalog = workspace.catalog()
    reconcile(catalog, workspace.policy().fleet, at=datetime.now(UTC))  # who was enrolled or revoked just now
    wanted = FleetFilter(
        site=args.site,
        station=args.station,
        state=args.state,
        engine=args.engine,
        client=args.client,
        outcome=args.outcome,
        inspection=args.inspection,
        search=args.search,
    )
    summary = fleet_summary(catalog)
    page = fleet_page(
        catalog,
        wanted,
        sort=args.sort,
        descending=args.descending,
        offset=args.offset,
        limit=0 if args.summary else max(1, args.limit),
    )
    alarms = list_silences(catalog, open_only=True)
    wrong = _wrong(catalog, wanted)
    if args.json:
        print_json(
            {
                "summary": summary.to_dict(),
                "total": page.total,
                "offset": page.offset,
                "devices": [row.to_dict() for row in page.rows],
                "silences": [alarm.to_dict() for alarm in alarms],
                "wrong": wrong,
            }
        )
    else:
        print("\n".join(lines_of(summary, page, now=datetime.now(UTC), table=not args.summary)))
    return 1 if args.check and wrong else 0


def _wrong(catalog: Any, wanted: Any) -> int:
    """Devices among the wanted ones that a person should look at."""
    from dataclasses import replace

    from data.fleet import fleet_page

    def some(**more: str) -> int:
        clash = any(getattr(wanted, key) not in ("", value) for key, value in more.items())
        return 0 if clash else fleet_page(catalog, replace(wanted, **more), limit=0).total

    # one that is silent or degraded and has quarantined an engine counts once
    return some(state="silent") + some(state="degraded") + some(state="ok", outcome="quarantined")


def lines_of(summary: FleetSummary, page: FleetPage, *, now: datetime, table: bool = True) -> list[str]:
    """The fleet in lines."""
    if not summary.devices:
        return ["There is no device yet: `andon enroll NAME` makes one."]
    states = ", ".join(f"{count:,} {state}" for state, count in summary.states.items() if count)
    lines = [f"{summary.devices:,} {'device' if summary.devices == 1 else 'devices'}: {states}"]
    lines += [f"  engine   {_counts(summary.engines)}", f"  client   {_counts(summary.clients)}"]
    lines.append(f"  release  {_counts(summary.outcomes)}")
    if len(summary.sites) > 1:
        worst = sorted(summary.sites.items(), key=lambda item: (-item[1]["silent"] - item[1]["degraded"], item[0]))
        for site, of_site in worst[:_SITES]:
            told = ", ".join(f"{count:,} {state}" for state, count in of_site.items() if count)
            lines.append(f"  site     {site}: {told}")
        if len(worst) > _SITES:
            lines.append(f"  site     and {len(worst) - _SITES} more, no worse")
    if not table:
        return lines
    if not page.rows:
        return [*lines, "", "No device is as asked."]
    lines += ["", *_table(page.rows, now)]
    rest = page.total - page.offset - len(page.rows)
    if rest > 0:
        lines.append(
            f"… and {rest:,} more of {page.total:,}: --offset {page.offset + len(page.rows)}, or --search TEXT"
        )
    return lines


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, in one unit.

    >>> from datetime import timedelta
    >>> now = datetime(2026, 1, 2, tzinfo=UTC)
    >>> [ago(now - timedelta(seconds=s), now) for s in (4, 200, 9000, 400_000)], ago(None, now)
    (['4 s', '3 min', '2 h', '4 d'], 'never')
    """
    if at is None:
        return "never"
    seconds = max(0.0, (now - at).total_seconds())
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds // 86_400:.0f} d"


def _table(rows: tuple[FleetDevice, ...], now: datetime) -> list[str]:
    head = ("device", "site", "station", "state", "heard", "engine", "release", "client", "spool")
    cells = [head]
    for row in rows:
        spool = f"{row.spool_share:.0%}" if row.spool_bytes else ""
        told = (row.device, row.site, row.station, row.state, ago(row.heard_at, now), row.engine_id, row.outcome)
        cells.append((*told, row.client_version, spool))
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = []
    for i, line in enumerate(cells):
        text = "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip()
        problem = rows[i - 1].problem if i else ""
        lines.append(f"{text}  {problem[:100]}".rstrip() if problem else text)
    return lines


def _counts(counts: Any) -> str:
    found = list(counts.items())
    told = ", ".join(f"{count:,} {name or 'not said yet'}" for name, count in found[:6])
    return told + (f" and {len(found) - 6} more" if len(found) > 6 else "") if found else "none"
