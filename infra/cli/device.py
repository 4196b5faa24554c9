"""``andon device``: all that is known of a device, and help from far away: its log, a doctor's look, a restart."""

from __future__ import annotations

import argparse
import getpass
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json
from infra.cli.settings import in_words

if TYPE_CHECKING:
    from data.devices import DeviceStatus
    from data.workspace import Workspace
    from edge_client.contract.help import HelpReply
    from flows.fleet_settings.help import Progress

_VERBS = ("show", "logs", "doctor", "restart")


def add_parser(sub: Any) -> None:
    """Add the command."""
    device = command(
        sub,
        "device",
        "all that is known of a device; ask it for logs, a doctor's look or a restart",
        "Without a verb: who it is, what it last said, what is signed for it and whether it has taken that over. "
        "`logs`, `doctor` and `restart` sign a request that the device comes for within its poll interval, and wait "
        "for its answer, which is sealed and holds no secret and no image. No port of the device is open. Its own "
        "file may forbid it ([help] allow); a restart happens between two frames, at most once in ten minutes.",
    )
    device.add_argument("name", help="its name")
    device.add_argument("verb", nargs="?", default="show", choices=_VERBS, help="default: show")
    device.add_argument("--lines", type=int, default=200, metavar="N", help="last lines of the log (default: 200)")
    device.add_argument(
        "--timeout", type=float, default=180.0, metavar="S", help="how long to wait for its answer (default: 180)"
    )
    device.add_argument("--no-wait", action="store_true", help="sign the request and return; its answer is not read")
    device.add_argument("--why", default="", help="for the record")
    device.add_argument("--who", default=None, help="who asks (default: the account's name)")


def run(args: argparse.Namespace) -> int:
    """Show, or ask."""
    workspace = open_workspace(args)
    return _show(args, workspace) if args.verb == "show" else _ask(args, workspace)


def _ask(args: argparse.Namespace, workspace: Workspace) -> int:
    from data.devices import get_device
    from edge_client.contract.help import MOST_LINES
    from flows.fleet_settings.help import ask, wait_for
    from flows.fleet_settings.signing import By, Signer
    from flows.stack import repository_of

    device = get_device(workspace.catalog(), args.name)
    signer = Signer(workspace.catalog(), repository_of(workspace, lambda: datetime.now(UTC)))
    by = By(who=args.who or getpass.getuser(), why=args.why)
    request = ask(signer, device.name, args.verb, by, lines=min(max(1, args.lines), MOST_LINES))
    if args.no_wait:
        if args.json:
            print_json({"device": device.name, "verb": args.verb, "id": request.id, "expires_at": request.expires_at})
        else:
            print(f"asked {device.name} for {args.verb} ({request.id}); it ends at {request.expires_at:%H:%M} UTC")
        return 0
    if not args.json:
        print(f"asked {device.name} for {args.verb}; it looks within its poll interval", file=sys.stderr)
    reply = wait_for(
        workspace.bucket(),
        request,
        device.name,
        public_key_hex=device.public_key_hex,
        identity=workspace.identity(),
        seconds=args.timeout,
        tell=(lambda _: None) if args.json or not sys.stderr.isatty() else _tell,
    )
    if args.json:
        print_json(
            {
                "device": reply.device,
                "verb": reply.verb,
                "id": reply.id,
                "state": reply.state,
                "at": reply.at,
                **reply.content,
            }
        )
    else:
        print("\n".join(reply_lines(reply)))
    return 0 if reply.state == "done" else 1


def _tell(progress: Progress) -> None:
    doing = "accepted, under way" if progress.accepted else "waiting for the device"
    print(f"\r{doing}: {progress.seconds:3.0f} s ", end="", file=sys.stderr, flush=True)


def reply_lines(reply: HelpReply) -> list[str]:
    """An answer in lines."""
    content = reply.content
    if reply.state == "refused":
        return [f"{reply.device} refuses: {content.get('reason', 'it does not say why')}"]
    if reply.verb == "logs":
        lines = [str(line) for line in content.get("lines", [])]
        left = f"(the first {content['left_out']} lines are left out: too many)" if content.get("left_out") else ""
        return [*([left] if left else []), *(lines or ["(it has logged nothing since its start)"])]
    if reply.verb == "doctor":
        found = []
        for check in content.get("checks", []):
            found.append(f"{check['result']:<8} {check['check']:<14} {check['found']}")
            if check.get("remedy"):
                found.append(f"{'':<8} {'':<14} → {check['remedy']}")
        return found
    return [
        f"{reply.device} has begun anew after {content.get('seconds')} s, with client version "
        f"{content.get('client_version')} (before: {content.get('before')})"
    ]


def _show(args: argparse.Namespace, workspace: Workspace) -> int:
    from data.devices import device_statuses, get_device
    from edge_client.contract.setting_layers import DEFAULT
    from flows.fleet_settings.campaigns import CampaignBook
    from flows.fleet_settings.fleet import FleetSettings
    from flows.fleet_settings.signing import Signer
    from flows.stack import repository_of

    device = get_device(workspace.catalog(), args.name)
    status = device_statuses(workspace.catalog()).get(device.name)
    signer = Signer(workspace.catalog(), repository_of(workspace, lambda: datetime.now(UTC)))
    fleet = FleetSettings(signer)
    documents = {scope: fleet.document(scope) for scope in (DEFAULT, device.name)}
    signed = {scope: document.version for scope, document in documents.items() if document is not None}
    places = [place for place in fleet.places() if place.device == device.name]
    campaigns = [c.id for c in CampaignBook(signer).running() if any(c.match.takes(place) for place in places)]
    facts = {
        "device": device.name,
        "site": device.site,
        "station": device.station,
        "inspections": [{"inspection": name, "channel": channel} for name, channel in device.inspections],
        "registered_at": device.registered_at,
        "revoked_at": device.revoked_at,
        "revoked_reason": device.revoked_reason,
        "public_key": device.public_key_hex,
        "heartbeat": status.heartbeat.to_payload() if status is not None else None,
        "received_at": status.received_at if status is not None else None,
        "settings": fleet.holding(device.name),
        "settings_signed": signed,
        "settings_in_force": dict(status.heartbeat.settings_versions) if status is not None else {},
        "campaigns": campaigns,
        "campaigns_followed": list(status.heartbeat.campaigns) if status is not None else [],
    }
    if args.json:
        print_json(facts)
    else:
        print("\n".join(device_lines(facts, status)))
    return 0


def device_lines(facts: dict[str, Any], status: DeviceStatus | None) -> list[str]:
    """All that is known of a device, in lines."""
    lines = [
        f"{facts['device']}: site {facts['site']}, station {facts['station']}, enrolled "
        f"{facts['registered_at']:%Y-%m-%d %H:%M} UTC, key {facts['public_key'][:16]}…"
    ]
    if facts["revoked_at"] is not None:
        lines.append(
            f"  revoked {facts['revoked_at']:%Y-%m-%d %H:%M} UTC: {facts['revoked_reason'] or 'no reason told'}"
        )
    lines += [f"  inspects {each['inspection']}, channel {each['channel']}" for each in facts["inspections"]]
    if status is None:
        return [*lines, "  never heard of: it has not sent a heartbeat yet"]
    told = status.heartbeat
    lines += [
        f"  last heartbeat {told.sequence} at {told.sent_at:%Y-%m-%d %H:%M:%S} UTC by its clock, read "
        f"{status.received_at:%Y-%m-%d %H:%M:%S}: {told.health}",
        f"  client {told.client_version}, engine {told.engine_id} in slot {told.slot}"
        f"{f', hardware {told.hardware}' if told.hardware else ''}",
        f"  rollout: {told.rollout.outcome} {told.rollout.engine_id} {told.rollout.reason}".rstrip(),
        f"  {told.frames} frames, {told.requests_lost} lost, latency {told.latency_ms_p50:.1f} ms "
        f"(99 %: {told.latency_ms_p99:.1f}), spool {told.spool_bytes:,} of {told.spool_limit:,} bytes, "
        f"{told.spool_windows} windows wait",
    ]
    lines += [f"  problem: {problem}" for problem in told.problems]
    lines += [f"  will not run {each.engine_sha256[:16]}…: {each.reason}" for each in told.quarantined]
    for scope, version in facts["settings_signed"].items():
        held = facts["settings_in_force"].get(scope)
        state = "in force" if held == version else f"not yet taken over (it follows version {held or 'none'})"
        lines.append(f"  settings {scope!r}, version {version}: {state}")
    lines += [f"    {key} = {in_words(value)}" for key, value in sorted(facts["settings"].items())]
    for campaign in facts["campaigns"]:
        state = "followed" if campaign in facts["campaigns_followed"] else "not followed (not taken over, or it rests)"
        lines.append(f"  campaign {campaign}: {state}")
    return lines
