"""``andon shadow``: let a challenger answer frames unseen, and see where it would differ."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from edge_client.contract.shadow import MOST_CPU_SHARE
from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from edge_client.contract.shadow import Shadow
    from flows.shadow import ShadowResult


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = sub.add_parser(
        "shadow",
        help="let a challenger answer frames unseen, and see where it would differ",
        description="A challenger runs beside the engine in service, on a share of the frames and within a share of a "
        "core. Its answers reach nobody; where they differ, the frame is more likely to be captured, and counted.",
        epilog="Each action takes --home DIR and --json too. "
        "In order: `andon shadow start solder-joints --share 0.1`, `andon shadow show solder-joints`, `andon "
        "shadow stop solder-joints`.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    begin = command(
        actions,
        "start",
        "let a version run unseen",
        "Approves the version's engine (the key of a person) and names it as the challenger of a channel. Takes the "
        "place of the shadow before it.",
    )
    begin.add_argument("--version", metavar="N", help="model version (default: the one with the alias challenger)")
    begin.add_argument("--share", type=_share, default=0.1, help="of the frames, 0 to 1 (default: 0.1)")
    begin.add_argument(
        "--cpu-share", type=_share, default=0.1, metavar="SHARE", help="most of a core's time (default: 0.1)"
    )
    begin.add_argument("--days", type=float, default=7.0, help="after which it ends by itself (default: 7)")
    begin.add_argument("--percent", type=float, default=100.0, metavar="P", help="of the devices (default: 100)")
    for name in ("site", "station", "hardware", "device"):
        begin.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=f"only this {name}; again")
    end = command(actions, "stop", "end it", "Devices let the challenger go; what they counted stays.")
    show = command(actions, "show", "where the challenger differs", "What devices report of it, with 95 % intervals.")
    for each in (begin, end, show):
        each.add_argument("inspection", nargs="?", help="its name (default: the only inspection there is)")
        each.add_argument("--channel", default="stable", help="whose devices (default: stable)")


def run(args: argparse.Namespace) -> int:
    """Run the action that was called."""
    workspace = open_workspace(args)
    inspection = the_inspection(workspace, args.inspection)
    from flows import shadow
    from flows.stack import registry_of, repository_of

    now = datetime.now(UTC)
    repository = repository_of(workspace, lambda: datetime.now(UTC))
    if args.action == "start":
        document = shadow.start(
            registry_of(workspace),
            repository,
            inspection,
            version=args.version,
            channel=args.channel,
            share=args.share,
            cpu_share=min(args.cpu_share, MOST_CPU_SHARE),
            cohort=cohort_of(args),
            life=timedelta(days=args.days),
            now=now,
        )
        _tell(args, document, f"{inspection}: {named_line(document, now)}")
        return 0
    if args.action == "stop":
        ended = shadow.stop(repository, inspection, args.channel, now)
        words = "no shadow runs" if ended is None else f"the shadow of version {ended.version} is ended"
        _tell(args, ended, f"{inspection}: {words}")
        return 0
    from data.devices import device_statuses

    found = shadow.read(repository, inspection, args.channel)
    heartbeats = [status.heartbeat for status in device_statuses(workspace.catalog(), inspection).values()]
    result = None if found is None else shadow.result_of(found.engine.engine_sha256, heartbeats)
    if args.json:
        print_json({"shadow": _plain(found), "result": None if result is None else asdict(result)})
    else:
        print("\n".join(shown_lines(inspection, found, result, now)))
    return 0


def cohort_of(args: argparse.Namespace) -> Any:
    """The cohort that the options name.

    Raises:
        InvalidName: A name is none.
    """
    from edge_client.contract.names import check_name
    from edge_client.contract.releases import Cohort

    return Cohort(
        percent=max(0.0, min(100.0, args.percent)),
        **{
            f"{what}s" if what != "hardware" else what: tuple(check_name(name, what) for name in getattr(args, what))
            for what in ("site", "station", "hardware", "device")
        },
    )


def named_line(document: Shadow, now: datetime) -> str:
    """What a document names, for people."""
    if document.share == 0:
        return f"the shadow of version {document.version} was ended"
    if now >= document.expires_at:
        return f"the shadow of version {document.version} ended at {document.expires_at:%Y-%m-%d %H:%M} UTC"
    return (
        f"version {document.version} ({document.engine.engine_id}) runs unseen on {100 * document.share:g} % of the "
        f"frames of channel {document.channel}, in at most {100 * document.cpu_share:g} % of a core, until "
        f"{document.expires_at:%Y-%m-%d %H:%M} UTC"
    )


def shown_lines(inspection: str, document: Shadow | None, result: ShadowResult | None, now: datetime) -> list[str]:
    """The table, for people."""
    if document is None:
        return [f"{inspection}: no shadow was ever started: `andon shadow start {inspection}`"]
    lines = [f"{inspection}: {named_line(document, now)}"]
    if result is None:
        return [*lines, "no device has reported of it yet"]
    lines += [f"disagrees on {result.disagreed}", f"other verdict on {result.verdicts}"]
    width = max([len("device"), *(len(d.device) for d in result.devices)])
    lines.append(f"{'device':<{width}}  {'state':<8} {'seen':>8} {'skipped':>8} {'failed':>7} {'ms':>6}  disagrees")
    for d in result.devices:
        told = f"  {d.reason}" if d.reason else ""
        lines.append(
            f"{d.device:<{width}}  {d.state:<8} {d.seen:>8} {d.skipped:>8} {d.failed:>7} {d.cpu_ms_per_frame:>6.1f}  "
            f"{d.disagreed}{told}"
        )
    if result.pairs:
        lines.append("ours > theirs")
        lines += [f"  {pair}: {rate.count}  {rate}" for pair, rate in result.pairs.items()]
    return lines


def _tell(args: argparse.Namespace, document: Shadow | None, words: str) -> None:
    if args.json:
        print_json(_plain(document))
    else:
        print(words)


def _plain(document: Shadow | None) -> dict[str, Any] | None:
    return None if document is None else asdict(document)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.001 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: expected a number from 0.001 to 1")
    return value
