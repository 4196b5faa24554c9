"""``andon audit``: does the catalog have everything that devices acknowledged, once?"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import AndonError, ConfigError
from infra.cli.arguments import command, open_workspace, print_json

if TYPE_CHECKING:
    from data.audit import LedgerEntry

_LEDGER_SECONDS = 120
_SHOWN = 10


def add_parser(sub: Any) -> None:
    """Add the command."""
    audit = command(
        sub,
        "audit",
        "compare what devices acknowledged with what the catalog has",
        "Reads the devices' ledgers and looks for each sample in the catalog. Exit code 1 when one is lost, "
        "double or of unknown "
        "origin. By default the devices whose bundles run from this home directory.",
    )
    audit.add_argument(
        "--config",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="andon.toml of a device on this machine",
    )
    audit.add_argument(
        "--ledger",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="what `andon-edge ledger --json` printed elsewhere",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, and tell."""
    workspace = open_workspace(args)
    from data.audit import audit

    configs = args.config
    if not configs and not args.ledger:
        configs = [c for c in sorted(workspace.home.glob("devices/*/andon.toml")) if (c.parent / "state").exists()]
    if not configs and not args.ledger:
        raise ConfigError(
            f"no device has run from a bundle in {workspace.home / 'devices'}: give --config or --ledger for the "
            "devices to audit"
        )
    ledgers: dict[str, list[LedgerEntry]] = {}
    for device, entries in (*map(ledger_of, configs), *map(read_ledger_file, args.ledger)):
        ledgers.setdefault(device, []).extend(entries)
    found = audit(workspace.catalog(), ledgers, bucket=workspace.bucket())
    if args.json:
        print_json({**asdict(found), "clean": found.clean, "devices": sorted(ledgers)})
    else:
        print(
            f"{found.acknowledged} samples acknowledged by {len(ledgers)} devices: {found.in_catalog} in the catalog, "
            f"{found.kept} still on a device, {found.evicted} evicted, {found.waiting} in the inbox, "
            f"{len(found.quarantined)} quarantined; lost {len(found.lost)}, double {len(found.double)}, "
            f"of unknown origin {len(found.unacknowledged)}"
        )
        _list("lost", found.lost)
        _list("double", found.double)
        _list("of unknown origin", found.unacknowledged)
    return 0 if found.clean else 1


def _list(what: str, samples: Sequence[str]) -> None:
    for sample in samples[:_SHOWN]:
        print(f"  {what}: {sample}")
    if len(samples) > _SHOWN:
        print(f"  and {len(samples) - _SHOWN} more")


def ledger_of(config: Path) -> tuple[str, list[LedgerEntry]]:
    """Ask a device on this machine for its ledger.

    Raises:
        AndonError: It cannot be read.
    """
    command_line = [sys.executable, "-P", "-m", "edge_client.cli.main", "ledger", "--config", str(config), "--json"]
    try:
        answer = subprocess.run(command_line, capture_output=True, text=True, timeout=_LEDGER_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise AndonError(f"the ledger of {config} was not read within {_LEDGER_SECONDS} s: try again") from error
    if answer.returncode != 0:
        raise AndonError(f"the ledger of {config} cannot be read: {answer.stderr.strip() or answer.stdout.strip()}")
    return _parsed(answer.stdout, str(config))


def read_ledger_file(path: Path) -> tuple[str, list[LedgerEntry]]:
    """Read a ledger that was printed elsewhere.

    Raises:
        AndonError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}; expected the output of `andon-edge ledger --json`"
        ) from error
    return _parsed(text, str(path))


def _parsed(text: str, where: str) -> tuple[str, list[LedgerEntry]]:
    from data.audit import parse_ledger

    try:
        document = json.loads(text)
        device, entries = document["device"], document["entries"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{where} is not a ledger ({error!r}): expected the output of `andon-edge ledger --json`"
        ) from error
    return str(device), parse_ledger(entries)
