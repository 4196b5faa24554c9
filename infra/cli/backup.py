"""``andon backup``: take, verify and list backups."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, home_of, print_json

if TYPE_CHECKING:
    from edge_client.contract.bucket import Bucket

_SHOWN = 10


def add_parser(sub: Any) -> None:
    """Add the command."""
    backup = command(
        sub,
        "backup",
        "copy everything that a restore needs to a folder or another bucket",
        "Takes the catalog, MLflow's database, all of the bucket, keys, secrets, policy and devices' accounts, of one "
        "moment, while the stack runs. What did not change since the last backup is not copied again. Databases, "
        "keys and "
        "secrets are sealed: the first backup into a place asks for a passphrase or a recipient, later ones for "
        "neither. "
        "Killed, run it again: it goes on. Exit code 1 when something is missing or was changed.",
    )
    add_place(backup, "to", "TO")
    backup.add_argument("--recipient", metavar="age1…", help="seal to this age recipient instead of a passphrase")
    backup.add_argument("--keep", type=_positive, metavar="N", help="then remove all but the newest N backups")
    backup.add_argument("--verify", action="store_true", help="take none; read one back and compare every digest")
    backup.add_argument("--list", action="store_true", help="take none; tell which there are")


def add_place(parser: argparse.ArgumentParser, name: str, metavar: str) -> None:
    """Add what says where backups lie and how they are opened."""
    parser.add_argument(name, metavar=metavar, help="folder, or s3://BUCKET/PREFIX of another store than Andon's own")
    parser.add_argument("--id", metavar="ID", help="of a backup (default: the newest)")
    parser.add_argument("--digest", metavar="SHA256", help="of its manifest, as `andon backup` told it")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="file with the passphrase")
    parser.add_argument(
        "--identity-file", type=Path, metavar="FILE", help="age identity, if it was sealed to a recipient"
    )
    parser.add_argument("--endpoint-url", metavar="URL", help="of an S3 store that is not AWS (or AWS_ENDPOINT_URL)")
    parser.add_argument("--region", default="us-east-1", help="of the bucket")
    parser.add_argument("--ca-bundle", metavar="FILE", help="certificates that the S3 store is checked with")
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="access_key_id and secret_access_key in TOML (default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
    )


def store_of(args: argparse.Namespace, where: str) -> Bucket:
    """Open the place."""
    from infra.backup.store import open_store

    return open_store(
        where,
        endpoint_url=args.endpoint_url,
        region=args.region,
        ca_bundle=args.ca_bundle,
        credentials=args.credentials,
    )


def passphrase_of(args: argparse.Namespace) -> str | None:
    """The passphrase in its file, without the end of its line.

    Raises:
        ConfigError: It cannot be read, or is empty.
    """
    if args.passphrase_file is None:
        return None
    try:
        text = str(args.passphrase_file.read_text(encoding="utf-8")).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{args.passphrase_file} cannot be read ({error}): expected a file with a passphrase"
        ) from error
    if not text:
        raise ConfigError(f"{args.passphrase_file} is empty: expected a passphrase")
    return text


def run(args: argparse.Namespace) -> int:
    """Take one, verify one or list them."""
    if args.list:
        return _list(args)
    return _verify(args) if args.verify else _take(args)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("expected a whole number above 0")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _take(args: argparse.Namespace) -> int:
    from infra.backup.take import take_backup
    from infra.stack.layout import Home

    taken = take_backup(
        Home(home_of(args)),
        store_of(args, args.to),
        passphrase=passphrase_of(args),
        recipient=args.recipient,
        keep=args.keep,
        report=_say,
    )
    manifest = taken.manifest
    if args.json:
        print_json({
            "id": manifest.id, "digest": taken.digest, "at": manifest.at, "objects": len(manifest.objects),
            "files": [file.name for file in manifest.files], "bytes": manifest.total_bytes, "read_bytes":
            taken.read_bytes, "written_bytes": taken.written_bytes, "unchanged": taken.reused, "seconds":
            round(taken.seconds, 2), "removed": list(taken.pruned), "facts": dict(manifest.facts),
        })  # fmt: skip
        return 0
    print(
        f"Backup {manifest.id}: {len(manifest.objects)} objects ({taken.reused} unchanged), {len(manifest.files)} "
        "sealed "
        f"files, {manifest.total_bytes:,} bytes; {taken.written_bytes:,} written in {taken.seconds:.1f} s."
    )
    for removed in taken.pruned:
        print(f"  removed: {removed}")
    print(f"Digest of its manifest: {taken.digest}\nNext: `andon backup {args.to} --verify` reads it back.")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from infra.backup.manifest import read_manifest
    from infra.backup.sealing import open_identity
    from infra.backup.verify import verify_backup

    store, passphrase = store_of(args, args.to), passphrase_of(args)
    manifest = read_manifest(store, args.id, digest=args.digest)
    identity = None
    if passphrase or args.identity_file:
        identity = open_identity(store, passphrase=passphrase, identity=args.identity_file)
    found = verify_backup(store, manifest, identity=identity, report=_say)
    if args.json:
        print_json({
            "id": manifest.id, "whole": not found.faults, "objects": found.objects, "files": found.files,
            "bytes": found.bytes, "opened": found.opened, "faults": list(found.faults),
        })  # fmt: skip
        return 1 if found.faults else 0
    how = "digests and contents" if found.opened else "digests (give --passphrase-file to open what is sealed too)"
    print(f"Backup {manifest.id}: {found.objects} objects and {found.files} sealed files read, {how}.")
    for fault in found.faults[:_SHOWN]:
        print(f"  {fault}")
    if len(found.faults) > _SHOWN:
        print(f"  and {len(found.faults) - _SHOWN} more")
    print(
        "Nothing is missing or changed." if not found.faults else f"{len(found.faults)} faults: take a new backup now."
    )
    return 1 if found.faults else 0


def _list(args: argparse.Namespace) -> int:
    from infra.backup.manifest import backup_ids, read_manifest

    store = store_of(args, args.to)
    found = [read_manifest(store, backup_id) for backup_id in backup_ids(store)]
    if args.json:
        print_json([
            {"id": m.id, "at": m.at, "objects": len(m.objects), "bytes": m.total_bytes, "version": m.version} for m in
            found
        ])  # fmt: skip
        return 0
    for manifest in found:
        print(
            f"{manifest.id}  {len(manifest.objects):>8} objects  {manifest.total_bytes:>16,} bytes  Andon "
            f"{manifest.version}"
        )
    if not found:
        print("There is no finished backup in this place.")
    return 0
