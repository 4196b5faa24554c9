"""``andon campaign``: ask devices to send more frames of a kind, for a while, and see what came of it."""

from __future__ import annotations

import argparse
import getpass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection
from infra.cli.fleet_settings import read_time, some

if TYPE_CHECKING:
    from data.campaigns import Brought
    from data.workspace import Workspace
    from edge_client.contract.campaigns import Campaign
    from flows.fleet_settings.campaigns import CampaignBook

_COHORTS = ("device", "site", "station", "hardware")
_DAYS = 14


def add_parser(sub: Any) -> None:
    """Add the command."""
    campaign = command(
        sub,
        "campaign",
        "ask devices for more frames of a kind, and see what came of it",
        "`add --like SAMPLE...` asks for frames like a few that devices captured; `add --class C --margin-below M` for "
        "frames that the engine called C without being sure. A campaign raises the sampling weight of what matches, up "
        "to --share of it all: it takes that part of the bytes from other frames, never more bytes, and what is "
        "estimated from the sample stays right. It ends by its date; one with examples rests where an engine of "
        "another trunk runs. Devices begin and end by themselves, within their poll interval.",
    )
    verbs = campaign.add_subparsers(dest="verb", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="begin one", description="Begins a campaign.")
    what = add.add_mutually_exclusive_group(required=True)
    what.add_argument("--like", nargs="+", metavar="SAMPLE", help="ids of captured samples; about five are enough")
    what.add_argument("--class", dest="of_class", metavar="CLASS", help="frames that the engine decides to be CLASS")
    add.add_argument(
        "--margin-below",
        type=float,
        default=None,
        metavar="M",
        help="with --class: only where the two most probable classes differ by less than M (default: 1, all)",
    )
    add.add_argument("--inspection", help="default: the only one there is")
    for kind in _COHORTS:
        add.add_argument(
            f"--{kind}", action="append", default=[], metavar="NAME", help=f"only this {kind}; repeat for more"
        )
    add.add_argument("--share", type=float, default=0.2, help="of the sampling weight, 0.01 to 0.5 (default: 0.2)")
    add.add_argument("--until", metavar="DATE", help=f"when it ends (default: in {_DAYS} days)")
    add.add_argument("--name", metavar="ID", help="default: after what it asks for")
    add.add_argument("--wanted", metavar="CLASS", help="what you hope to get, for its precision (default: the labels')")
    add.add_argument("--note", default="", help="for people")
    listing = verbs.add_parser("list", help="those that run", description="Lists campaigns.")
    listing.add_argument("--all", action="store_true", help="those that ended too")
    show = verbs.add_parser("show", help="what one brought so far", description="Shows what a campaign brought.")
    show.add_argument("id")
    end = verbs.add_parser("end", help="end one before its time", description="Ends a campaign.")
    end.add_argument("id")
    for verb in (add, listing, show, end):
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
        verb.add_argument("--home", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=argparse.SUPPRESS)
    for verb in (add, end):
        verb.add_argument("--why", default="", help="for the record")
        verb.add_argument("--who", default=None, help="who does it (default: the account's name)")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    workspace = open_workspace(args)
    from flows.fleet_settings.campaigns import CampaignBook
    from flows.fleet_settings.signing import Signer
    from flows.stack import repository_of

    book = CampaignBook(Signer(workspace.catalog(), repository_of(workspace, lambda: datetime.now(UTC))))
    verbs = {"add": _add, "list": _list, "show": _show, "end": _end}
    return verbs[args.verb](args, workspace, book)


def _add(args: argparse.Namespace, workspace: Workspace, book: CampaignBook) -> int:
    from data.inspections import get_inspection
    from edge_client.contract.campaigns import LEAST_SHARE, MOST_SHARE, Campaign, Like, OfClass
    from edge_client.contract.matching import Match
    from flows.fleet_settings.signing import By

    if args.margin_below is not None and args.of_class is None:
        raise ConfigError("--margin-below goes with --class: leave it out with --like")
    if not LEAST_SHARE <= args.share <= MOST_SHARE:
        raise ConfigError(f"--share {args.share:g}: expected {LEAST_SHARE} to {MOST_SHARE}")
    if args.margin_below is not None and not 0 < args.margin_below <= 1:
        raise ConfigError(f"--margin-below {args.margin_below:g}: expected above 0 to 1")
    inspection = the_inspection(workspace, args.inspection)
    described = get_inspection(workspace.catalog(), inspection)
    wanted, query = args.wanted or args.of_class or "", None
    for option, name in (("--class", args.of_class), ("--wanted", args.wanted)):
        if name is not None and name not in described.class_names:
            raise ConfigError(f"{option} {name!r}: inspection {inspection!r} has the classes {described.class_names}")
    if args.like:
        query, labelled = _like(workspace, inspection, args.like)
        wanted = wanted or labelled
    else:
        query = OfClass(name=args.of_class, margin_below=args.margin_below or 1.0)
    until = read_time("--until", args.until) or datetime.now(UTC).replace(microsecond=0) + timedelta(days=_DAYS)
    wish = args.name or ("like-" if isinstance(query, Like) else "class-") + (_plain(wanted) or "examples")
    campaign = Campaign(
        id=wish if args.name else book.free_id(wish),
        share=args.share,
        until=until,
        match=Match(**{kind: tuple(getattr(args, kind)) for kind in _COHORTS}, inspection=(inspection,)),
        query=query,
        wanted=wanted,
        note=args.note,
    )
    signed = book.begin(campaign, By(who=args.who or getpass.getuser(), why=args.why, action=f"campaign {campaign.id}"))
    following = _devices(workspace, campaign)
    if args.json:
        print_json(
            {
                "campaign": campaign.id,
                "version": signed.version,
                "until": until,
                "share": args.share,
                "wanted": wanted,
                "devices": [name for name, fits in following.items() if fits],
                "resting": [name for name, fits in following.items() if not fits],
                "bytes": len(signed.to_json()),
            }
        )
        return 0
    fitting = [name for name, fits in following.items() if fits]
    resting = [name for name, fits in following.items() if not fits]
    print(f"{campaign.id} is signed (campaigns, version {signed.version}): until {until:%Y-%m-%d %H:%M} UTC")
    print(f"  for {len(fitting)} devices: {some(fitting)}" if fitting else "  no device is there to follow it now")
    if resting:
        print(f"  it rests, for an engine of another trunk, on {some(resting)}")
    print(f"  see what comes of it: andon campaign show {campaign.id}")
    return 0


def _like(workspace: Workspace, inspection: str, samples: list[str]) -> tuple[Any, str]:
    from flows.fleet_settings.campaigns import examples_of
    from flows.fleet_settings.likeness import like

    examples, labelled = examples_of(workspace.catalog(), workspace.lake(), inspection, samples)
    return like(examples), labelled


def _devices(workspace: Workspace, campaign: Campaign) -> dict[str, bool]:
    """Devices that a campaign is for, and whether the engine that each last told of can follow it."""
    from data.devices import device_statuses
    from edge_client.contract.campaigns import Like
    from flows.fleet_settings.fleet import FleetSettings
    from flows.fleet_settings.signing import Signer
    from flows.stack import repository_of

    signer = Signer(workspace.catalog(), repository_of(workspace, lambda: datetime.now(UTC)))
    statuses, lake = device_statuses(workspace.catalog()), workspace.lake()
    found = {}
    for place in FleetSettings(signer).places():
        if not campaign.match.takes(place):
            continue
        status, fits = statuses.get(place.device), True
        if isinstance(campaign.query, Like) and status is not None and status.heartbeat.engine_id:
            space = lake.space_of(place.inspection, status.heartbeat.engine_id)
            fits = space in ("", campaign.query.embedding_id)
        found[place.device] = fits
    return found


def _list(args: argparse.Namespace, workspace: Workspace, book: CampaignBook) -> int:
    running = {campaign.id for campaign in book.running()}
    known = {name: found for name, found in book.known().items() if args.all or name in running}
    if args.json:
        print_json([_facts(campaign, began, running=name in running) for name, (campaign, began) in known.items()])
        return 0
    for name, (campaign, began) in known.items():
        state = f"until {campaign.until:%Y-%m-%d %H:%M} UTC" if name in running else "ended"
        print(f"{name}: {asks(campaign)}; share {campaign.share:g}, {state}, since {began:%Y-%m-%d %H:%M} UTC")
        print(f"  for {campaign.match}{f': {campaign.note}' if campaign.note else ''}")
    if not known:
        print("no campaign is running" if not args.all else "there never was a campaign")
    return 0


def _show(args: argparse.Namespace, workspace: Workspace, book: CampaignBook) -> int:
    from data.campaigns import brought
    from data.devices import device_statuses

    known = book.known()
    if args.id not in known:
        raise ConfigError(f"there is no campaign {args.id!r}: `andon campaign list --all` names them")
    campaign, began = known[args.id]
    running = args.id in {each.id for each in book.running()}
    found = brought(workspace.catalog(), args.id, since=began, wanted=campaign.wanted)
    follow = [n for n, status in device_statuses(workspace.catalog()).items() if args.id in status.heartbeat.campaigns]
    if args.json:
        print_json({**_facts(campaign, began, running=running), "followed_by": follow, **found.to_dict()})
        return 0
    print("\n".join(brought_lines(campaign, found, running=running, follow=follow)))
    return 0


def _end(args: argparse.Namespace, workspace: Workspace, book: CampaignBook) -> int:
    from flows.fleet_settings.signing import By

    by = By(who=args.who or getpass.getuser(), why=args.why, action=f"end of campaign {args.id}"[:64])
    signed = book.end(args.id, by)
    if args.json:
        print_json({"campaign": args.id, "version": signed.version, "running": [c.id for c in signed.campaigns]})
    else:
        print(f"{args.id} is ended (campaigns, version {signed.version}): devices stop at their next look")
    return 0


def brought_lines(campaign: Campaign, found: Brought, *, running: bool, follow: list[str]) -> list[str]:
    """What a campaign brought, in lines."""
    state = f"runs until {campaign.until:%Y-%m-%d %H:%M} UTC" if running else "has ended"
    lines = [
        f"{campaign.id}: {asks(campaign)}; {state}",
        f"  followed by {len(follow)} devices{f': {some(follow)}' if follow else ''}",
        f"  samples that match: {found.samples}, {found.image_bytes:,} bytes of images; it paid for "
        f"{found.paid_samples:.1f} of them, {100 * found.paid_share:.1f} % of what these devices sent (its share is "
        f"{100 * campaign.share:g} %)",
    ]
    if found.frames.n:
        lines.append(
            f"  frames of the line that match: {found.frames.value:.0f} (95 %: {found.frames.low:.0f} to "
            f"{found.frames.high:.0f}, n = {found.frames.n})"
        )
    precision = found.precision
    if precision is None:
        lines.append("  precision: nobody said what was wanted (--wanted), and no example was labelled")
    elif not precision.n:
        lines.append(f"  precision: none of them is labelled yet (wanted: {campaign.wanted})")
    else:
        lines.append(
            f"  precision: {100 * precision.value:.0f} % are {campaign.wanted} (95 %: {100 * precision.low:.0f} to "
            f"{100 * precision.high:.0f} %, n = {precision.n} labelled of {precision.population})"
        )
    return lines


def asks(campaign: Campaign) -> str:
    """What a campaign asks for."""
    from edge_client.contract.campaigns import Like, OfClass

    if isinstance(campaign.query, Like):
        return f"frames like some examples{f' of {campaign.wanted}' if campaign.wanted else ''}"
    if isinstance(campaign.query, OfClass):
        sure = f" with a margin below {campaign.query.margin_below:g}" if campaign.query.margin_below < 1 else ""
        return f"frames of class {campaign.query.name}{sure}"
    return "a query that this version does not know"


def _facts(campaign: Campaign, began: datetime, *, running: bool) -> dict[str, Any]:
    return {
        "campaign": campaign.id,
        "asks": asks(campaign),
        "running": running,
        "began": began,
        "until": campaign.until,
        "share": campaign.share,
        "match": campaign.match.to_payload(),
        "wanted": campaign.wanted,
        "note": campaign.note,
    }


def _plain(name: str) -> str:
    import re

    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
