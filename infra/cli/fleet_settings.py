"""``andon fleet-settings``: what devices are told by signed settings, for whom, and who has taken it over."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json, values_anywhere
from infra.cli.settings import in_words, parse_values

if TYPE_CHECKING:
    from edge_client.contract.setting_layers import LayeredSettings
    from flows.fleet_settings.fleet import FleetSettings, Taken
    from flows.fleet_settings.layers import Change
    from flows.fleet_settings.preview import Affected

_VERBS = ("show", "keys", "preview", "set", "rollback", "history")
_SHOWN = 8  # names in a line
_COHORTS = ("site", "station", "hardware", "inspection")


def add_parser(sub: Any) -> None:
    """Add the command."""
    settings = command(
        sub,
        "fleet-settings",
        "show and change what devices are told: budgets, thresholds, advisory mode, schedules",
        "Settings of devices, signed. They are layers: values for all devices, for cohorts (--site, --station, "
        "--hardware, --inspection) or for one (--device), perhaps at some hours of the device's wall (--hours) or for "
        "a time (--since, --until). A later layer holds before an earlier one, a device's own before all. What no "
        "layer states holds as the device's own file says, and what that file pins ([settings] local_only) stays as it "
        "is. Devices take a change over within their poll interval, without a restart, and say so in their heartbeat. "
        "`preview` takes what `set` takes, signs nothing, and lists who would be affected.",
    )
    settings.add_argument("verb", nargs="?", default="show", choices=_VERBS, help="default: show")
    settings.add_argument(
        "values",
        nargs="*",
        metavar="KEY=VALUE",
        help="for set and preview, such as capture.byte_budget=500000, mode.advisory=true, threshold.defect=0.3 or "
        "'upload.hours=mon-fri 18:00-06:00; sat,sun 00:00-24:00'; `keys` lists all",
    )
    settings.add_argument("--device", metavar="NAME", help="settings of this device alone")
    for kind in _COHORTS:
        settings.add_argument(
            f"--{kind}", action="append", default=[], metavar="NAME", help=f"a layer for this {kind}; repeat for more"
        )
    settings.add_argument(
        "--hours",
        action="append",
        default=[],
        metavar="RANGE",
        help="a layer that holds at these hours, local to the device, such as 'mon-fri 06:00-14:00'; repeat for more",
    )
    settings.add_argument("--since", metavar="TIME", help="a layer that holds from then on (ISO 8601)")
    settings.add_argument("--until", metavar="TIME", help="a layer that holds until then (ISO 8601)")
    settings.add_argument("--layer", default="", metavar="NAME", help="name the layer (default: after its conditions)")
    settings.add_argument(
        "--unset", action="append", default=[], metavar="KEY", help="state this no more in that layer; repeat for more"
    )
    settings.add_argument("--drop", metavar="LAYER", help="take a whole layer out")
    settings.add_argument("--to", type=int, metavar="VERSION", help="for rollback: the version to go back to")
    settings.add_argument("--why", default="", help="for the record; a rollback or change without is recorded so")
    settings.add_argument("--who", default=None, help="who changes it (default: the account's name)")
    values_anywhere(settings)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.verb == "keys":
        return _keys(args)
    from flows.fleet_settings.fleet import FleetSettings
    from flows.fleet_settings.signing import Signer
    from flows.stack import repository_of

    if args.verb not in ("set", "preview") and (args.values or args.unset or args.drop):
        raise ConfigError(f"{args.verb} takes no KEY=VALUE, --unset or --drop: say `set` or `preview`")
    change = _change(args) if args.verb in ("set", "preview") else None
    workspace = open_workspace(args)
    signer = Signer(workspace.catalog(), repository_of(workspace, lambda: datetime.now(UTC)))
    fleet = FleetSettings(signer)
    if change is not None:
        return _set(args, fleet, change)
    return {"show": _show, "rollback": _rollback, "history": _history}[args.verb](args, fleet)


def _change(args: argparse.Namespace) -> Change:
    from edge_client.contract.matching import Match
    from flows.fleet_settings.layers import Change, Conditions, read_values

    if args.drop is not None:
        if args.values or args.unset:
            raise ConfigError("--drop takes a whole layer out: leave KEY=VALUE and --unset away")
        return Change(name=args.drop, drop=True)
    if not args.values and not args.unset:
        raise ConfigError(f"nothing to {args.verb}: give KEY=VALUE, --unset KEY or --drop LAYER")
    if args.device is not None and any(getattr(args, kind) for kind in _COHORTS if kind != "inspection"):
        raise ConfigError("--device is one device already: leave --site, --station and --hardware away")
    conditions = Conditions(
        match=Match(**{kind: tuple(getattr(args, kind)) for kind in _COHORTS}),
        hours=tuple(args.hours),
        since=read_time("--since", args.since),
        until=read_time("--until", args.until),
    )
    return Change(
        values=read_values(parse_values(args.values)), unset=args.unset, conditions=conditions, name=args.layer
    )


def read_time(option: str, text: str | None) -> datetime | None:
    """Read a time of an option; without an offset it is this machine's local time.

    Raises:
        ConfigError: It is not one.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r}: expected a date or time such as 2026-12-24 or 2026-12-24T18:00+01:00"
        ) from None


def _keys(args: argparse.Namespace) -> int:
    from edge_client.contract.setting_keys import NEVER_LOCAL, SETTING_KEYS

    if args.json:
        print_json(
            [
                {
                    "key": key.name,
                    "expected": key.expected,
                    "unit": key.unit,
                    "meaning": key.meaning,
                    "pinnable": key.name not in NEVER_LOCAL,
                }
                for key in SETTING_KEYS.values()
            ]
        )
        return 0
    width = max(len(name) for name in SETTING_KEYS)
    for key in SETTING_KEYS.values():
        print(f"{key.name:<{width}}  {key.meaning}\n{'':<{width}}  {key.expected}")
    return 0


def _set(args: argparse.Namespace, fleet: FleetSettings, change: Change) -> int:
    from edge_client.contract.setting_layers import DEFAULT
    from flows.fleet_settings.signing import By

    scope = args.device or DEFAULT
    affected = fleet.preview({scope: fleet.changed(scope, change)})
    document, new = None, False
    if args.verb == "set":
        document, new = fleet.change(scope, change, By(who=args.who or getpass.getuser(), why=args.why))
    return _tell_change(args, scope, affected, document, new)


def _rollback(args: argparse.Namespace, fleet: FleetSettings) -> int:
    from edge_client.contract.setting_layers import DEFAULT
    from flows.fleet_settings.signing import By

    if args.to is None:
        raise ConfigError("rollback: say which version with --to VERSION; `andon fleet-settings history` lists them")
    scope = args.device or DEFAULT
    affected = fleet.preview({scope: fleet.earlier(scope, args.to)})
    by = By(who=args.who or getpass.getuser(), why=args.why, action=f"rollback to {args.to}")
    document, new = fleet.rollback(scope, args.to, by)
    return _tell_change(args, scope, affected, document, new)


def _tell_change(
    args: argparse.Namespace, scope: str, affected: Sequence[Affected], document: LayeredSettings | None, new: bool
) -> int:
    from flows.fleet_settings.preview import grouped

    groups = grouped(affected)
    if args.json:
        print_json(
            {
                "scope": scope,
                "signed": new,
                "version": document.version if document is not None else None,
                "devices": len({each.place.device for each in affected}),
                "changes": [
                    {"devices": names, "differences": [difference.to_dict() for difference in differences]}
                    for differences, names in groups
                ],
            }
        )
        return 0
    for differences, names in groups:
        print(f"{len(names)} {'device' if len(names) == 1 else 'devices'}: {some(names)}")
        for each in differences:
            when = f"  ({each.when})" if each.when else ""
            print(f"  {each.key}: {_value(each.before)} -> {_value(each.after)}{when}")
    if not groups:
        print("no device is affected: none matches, or nothing differs for those that do")
    if document is None:
        print("nothing was signed: this is a preview")
    elif new:
        print(f"signed: settings {scope!r}, version {document.version}; devices take it over at their next look")
    else:
        print(f"settings {scope!r} say so already (version {document.version}): nothing was signed")
    return 0


def _show(args: argparse.Namespace, fleet: FleetSettings) -> int:
    from edge_client.contract.setting_layers import DEFAULT

    scope = args.device or DEFAULT
    document, taken = fleet.document(scope), fleet.taken(scope)
    holding = fleet.holding(args.device) if args.device is not None else None
    refused = fleet.refused(scope)
    if args.json:
        value: dict[str, Any] = {
            "scope": scope,
            "version": document.version if document is not None else None,
            "issued_at": document.issued_at if document is not None else None,
            "layers": [layer.to_payload() for layer in document.layers] if document is not None else [],
            "taken_over_by": list(taken.by) if taken is not None else [],
            "waiting": list(taken.waiting) if taken is not None else [],
            "silent": list(taken.silent) if taken is not None else [],
            "refused": refused,
        }
        print_json(value if holding is None else {**value, "values": holding})
        return 0
    if document is None:
        print(f"nothing is signed for {scope!r}: devices follow their own files")
    else:
        print("\n".join(layer_lines(scope, document)))
    if refused:
        print(f"what is signed now is refused by devices, which stay with the version before: {refused}")
        print("  sign another: andon fleet-settings rollback --to VERSION, or set")
    if taken is not None:
        print("\n".join(taken_lines(taken)))
    if holding is not None:
        print(f"what is signed for {scope} now, all layers together:")
        for key, held in sorted(holding.items()):
            print(f"  {key} = {in_words(held)}")
        if not holding:
            print("  nothing")
    elif scopes := fleet.scopes():
        print(f"devices with settings of their own: {some(scopes)}")
    return 0


def _history(args: argparse.Namespace, fleet: FleetSettings) -> int:
    from edge_client.contract.setting_layers import DEFAULT

    versions = fleet.history(args.device or DEFAULT)
    if args.json:
        print_json(
            [
                {"version": v.version, "at": v.at, "who": v.who, "action": v.action, "why": v.why, "content": v.content}
                for v in versions
            ]
        )
        return 0
    for v in versions:
        who = f" by {v.who}" if v.who else ""
        print(f"{v.version:>4}  {v.at:%Y-%m-%d %H:%M} UTC{who}: {v.action}{f' ({v.why})' if v.why else ''}")
    if not versions:
        print("nothing was ever signed here")
    return 0


def layer_lines(scope: str, document: LayeredSettings) -> list[str]:
    """A document in lines."""
    from edge_client.contract.setting_layers import DEFAULT
    from flows.fleet_settings.preview import conditions_in_words

    lines = [f"settings {scope!r}, version {document.version}, signed {document.issued_at:%Y-%m-%d %H:%M} UTC"]
    for layer in document.layers:
        when = conditions_in_words(layer)
        whom = "this device" if scope != DEFAULT and not layer.match.to_payload() else str(layer.match)
        lines.append(f"  {layer.name}: {whom}{f', {when}' if when else ''}")
        lines += [f"    {key} = {in_words(value)}" for key, value in sorted(layer.values.items())]
    return lines if document.layers else [*lines, "  no layers: devices follow their own files"]


def taken_lines(taken: Taken) -> list[str]:
    """Who has taken a document over, in lines."""
    total = len(taken.by) + len(taken.waiting) + len(taken.silent)
    lines = [f"taken over by {len(taken.by)} of {total} devices"]
    if taken.waiting:
        lines.append(f"  not yet: {some(taken.waiting)}")
    if taken.silent:
        lines.append(f"  do not tell (an older client, or never heard of): {some(taken.silent)}")
    return lines


def some(names: Sequence[str]) -> str:
    """Some of many names.

    >>> some(["a", "b"]), some([str(i) for i in range(10)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7 and 2 more')
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _value(value: Any) -> str:
    return "its own file" if value is None else in_words(list(value) if isinstance(value, tuple) else value)
