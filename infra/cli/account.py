"""``andon account``: devices' accounts in the bucket."""

from __future__ import annotations

import argparse
from typing import Any

from edge_client.contract.errors import AndonError, ConfigError
from infra.cli.arguments import command, open_workspace, print_json


def add_parser(sub: Any) -> None:
    """Add the command and what it can do."""
    account = sub.add_parser(
        "account",
        help="devices' accounts in the bucket: show them, replace them without a visit",
        description="Each device has an account of its own in the bucket, and a key of its own with which it signs.",
        epilog="Each ACTION takes [--home DIR] and [--json]; `andon account ACTION --help` tells of it.",
    )
    actions = account.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = command(
        actions,
        "show",
        "invitations, accounts, keys that are being replaced, and what was used of each quota today",
    )
    show.add_argument("device", nargs="*", help="only these devices")
    rotate = command(
        actions,
        "rotate",
        "replace devices' accounts without a visit",
        "Makes a new account, seals it to the device's own key and offers it as a signed target. The old one ends when "
        "a heartbeat names the new one; until then both work. A device that is away takes it over when it is back.",
    )
    rotate.add_argument("device", nargs="*", help="the devices")
    rotate.add_argument(
        "--key", action="store_true", help="the device makes itself a new signing key too, in force from its next start"
    )
    rotate.add_argument("--all", action="store_true", help="every device that is not revoked")


def run(args: argparse.Namespace) -> int:
    """Run the action that was called."""
    return _show(args) if args.action == "show" else _rotate(args)


def _show(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from data.device_accounts import account_of, list_accounts
    from data.devices import list_devices
    from data.quotas import usage_of

    workspace = open_workspace(args)
    catalog, policy = workspace.catalog(), workspace.policy().quota
    known = {device.name: device for device in list_devices(catalog)}
    names = args.device or sorted({*known, *(account.device for account in list_accounts(catalog))})
    rows: list[dict[str, Any]] = []
    for name in names:
        account, device = account_of(catalog, name), known.get(name)
        used = usage_of(catalog, name, datetime.now(UTC))
        rows.append(
            {
                "device": name,
                "state": "revoked" if device is not None and device.revoked else account.state,
                "account": account.access_key_id,
                "next_account": account.next_access_key_id,
                "since": account.replaced_at,
                "invited_until": account.invited_until,
                "bytes_today": used.bytes,
                "windows_today": used.windows,
                "over_quota": used.over(policy),
            }
        )
    if args.json:
        print_json({"accounts": rows, "quota": {"bytes": policy.bytes_per_day, "windows": policy.windows_per_day}})
        return 0
    print(f"{'device':<24} {'state':<10} {'account':<22} {'since':<16} {'today':>12}")
    for row in rows:
        since = row["invited_until"] or row["since"]
        when = f"{'until ' if row['invited_until'] else ''}{since:%Y-%m-%d}" if since else ""
        over = " over its quota" if row["over_quota"] else ""
        size = f"{row['bytes_today'] / 1e6:,.1f} MB"
        print(f"{row['device']:<24} {row['state']:<10} {row['account'] or '':<22} {when:<16} {size:>12}{over}")
    return 0


def _rotate(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from data.devices import list_devices
    from flows.accounts import Settler

    workspace = open_workspace(args)
    if bool(args.device) == args.all:
        raise ConfigError("name devices, or --all")
    names = args.device or [d.name for d in list_devices(workspace.catalog()) if not d.revoked]
    settler = Settler.of(workspace, lambda: datetime.now(UTC))
    done: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            done[name] = settler.replace_account(name, key=args.key)
        except AndonError as error:
            failed[name] = str(error)
    if args.json:
        print_json({"offered": done, "failed": failed})
    else:
        for line in done.values():
            print(line)
    if failed:
        raise ConfigError("; ".join(failed.values()))
    return 0
