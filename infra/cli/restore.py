"""``andon restore``: make an installation of a backup."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, home_of, print_json
from infra.cli.backup import add_place, passphrase_of, store_of


def add_parser(sub: Any) -> None:
    """Add the command."""
    restore = command(
        sub,
        "restore",
        "make an installation of a backup, in an empty home directory",
        "Restores into --home, which must be empty, on this machine or another. Every object and file is checked "
        "first; a "
        "changed one ends it, by name. Killed, run it again: it goes on. Afterwards `andon up` starts it and `andon "
        "audit` "
        "compares it with what devices acknowledged. Never run it while the old installation still runs.",
    )
    add_place(restore, "source", "FROM")


def run(args: argparse.Namespace) -> int:
    """Restore, and say what is different now."""
    from infra.backup.manifest import read_manifest
    from infra.backup.restore import restore_backup
    from infra.backup.sealing import open_identity
    from infra.stack.layout import Home

    if args.home is None:
        raise ConfigError("name the new, empty home directory: --home DIR")
    home, store = Home(home_of(args)), store_of(args, args.source)
    manifest = read_manifest(store, args.id, digest=args.digest)
    identity = open_identity(store, passphrase=passphrase_of(args), identity=args.identity_file)
    done = restore_backup(home, store, manifest, identity, report=lambda text: print(text, file=sys.stderr, flush=True))
    if args.json:
        print_json({
            "home": str(home.path), "id": manifest.id, "at": manifest.at, "objects": done.objects + done.skipped,
            "put": done.objects, "seconds": round(done.seconds, 2), "ports_moved": done.moved,
            "waiting_for_a_person": list(done.waiting), "metadata_versions": done.versions,
        })  # fmt: skip
        return 0
    print(
        f"Backup {manifest.id} is restored in {home.path} after {done.seconds:.1f} s: {done.objects + done.skipped} "
        "objects. "
        f"It is of {manifest.at:%Y-%m-%d %H:%M:%S} UTC; what the cloud took over later is not in it."
    )
    if "bucket" in done.moved:
        before, now = done.moved["bucket"]
        print(
            f"  The bucket's port was {before} and is taken here; it is {now} now. Devices look where "
            "`endpoint_url` in "
            "their andon.toml says: bring your name or proxy to the new port, or change it there."
        )
    if done.waiting:
        print(
            f"  Devices take nothing new until {' and '.join(done.waiting)} are signed anew with the person's keys: "
            "`andon "
            f"keys renew --home {home.path} --keys DIR`. They go on with what they run."
        )
    print(f"Next: `andon up --home {home.path}`, then `andon audit --home {home.path}`.")
    return 0
