"""``andon keys``: show, rotate, spare, renew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json
from infra.cli.person import add_key_arguments, parse_signers, passphrase_source, repository_with, stated_passphrase

if TYPE_CHECKING:
    from data.workspace import Workspace

_ROLES = "root, targets, engines (a person's); rollouts, snapshot, timestamp (online)"


def add_parser(sub: Any) -> None:
    """Add the command and what it can do."""
    keys = sub.add_parser(
        "keys",
        help="the keys that sign releases: show, rotate, spare, renew",
        description=f"The keys that sign releases. Roles: {_ROLES}. docs/keys.md has a page for each mishap.",
        epilog="Each ACTION takes [--home DIR] and [--json]; `andon keys ACTION --help` tells of it.",
    )
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = command(actions, "show", "which keys are in force, where they are, and when what they signed ends")
    add_key_arguments(show)
    rotate = command(
        actions,
        "rotate",
        "replace the keys of roles by new ones",
        "Makes new keys, and signs the change with the keys that name them: `root` for root, targets, snapshot and "
        "timestamp; `targets` for engines and rollouts. Devices follow with their next look. Old key files go to "
        "retired/ beside them.",
    )
    rotate.add_argument("role", nargs="+", help=_ROLES)
    add_key_arguments(rotate)
    _add_new_key_arguments(rotate)
    rotate.add_argument("--public", type=Path, metavar="FILE", help="with --new-signer: its public key, PEM")
    rotate.add_argument(
        "--new-signer", metavar="URI", help="the new key is this signer's (a KMS), instead of a new file; one role"
    )
    rotate.add_argument(
        "--stolen",
        action="store_true",
        help="somebody else may have the old keys: snapshot and timestamp are replaced too, and of what a stolen "
        "`engines` or `rollouts` key signed only what the release log knows stays in force",
    )
    spare = command(
        actions,
        "spare",
        "make a second root key, to be locked away elsewhere",
        "With a spare, losing the root key costs one command instead of a visit to every device.",
    )
    spare.add_argument("role", choices=["root"], help="root")
    add_key_arguments(spare)
    _add_new_key_arguments(spare)
    renew = command(
        actions,
        "renew",
        "sign anew what a person signs, before it ends",
        "Signs the targets and engines metadata anew, for two years, and brings the delegations up to date.",
    )
    add_key_arguments(renew)


def _add_new_key_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("new keys")
    group.add_argument("--into", type=Path, metavar="DIR", help="folder for a person's new keys, such as a stick")
    group.add_argument("--new-passphrase-file", type=Path, metavar="FILE", help="their passphrase, from a file")
    group.add_argument("--new-passphrase-env", metavar="NAME", help="their passphrase, from a variable")
    group.add_argument("--no-passphrase", action="store_true", help="leave them open: mode 600 is all that guards them")


def run(args: argparse.Namespace) -> int:
    """Run the action that was called."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "show": _show, "rotate": _rotate, "spare": _spare, "renew": _renew,
    }  # fmt: skip
    return actions[args.action](args)


def _show(args: argparse.Namespace) -> int:
    from flows.releases.keys import PERSONAL_ROLES, ROLES

    workspace = open_workspace(args)
    repository = repository_with(args, workspace)
    state = repository.state()
    expiry, outdated = repository.expiry(), list(state.outdated())
    rows = [
        {
            "role": role,
            "whose": "a person's" if role in PERSONAL_ROLES else "online",
            "keys": [key.keyid[:16] for key in state.keys_of(role)],
            "at_hand": repository.key_at_hand(role, state),
            "version": (state.root if role == "root" else getattr(state, role)).signed.version,
            "expires": expiry[role].isoformat(),
        }
        for role in ROLES
    ]
    if args.json:
        print_json({"roles": rows, "outdated_delegations": outdated})
        return 0
    print(f"{'role':<10} {'whose':<11} {'key':<34} {'at hand':<8} {'version':>7}  signed until")
    for row in rows:
        keys = ", ".join(row["keys"])  # type: ignore[arg-type]
        at_hand = "yes" if row["at_hand"] else "no"
        until = str(row["expires"])[:10]
        print(f"{row['role']:<10} {row['whose']:<11} {keys:<34} {at_hand:<8} {row['version']:>7}  {until}")
    if outdated:
        print(
            f"The delegations of {', '.join(outdated)} are older than this version: sign them with `andon keys renew`."
        )
    return 0


def _rotate(args: argparse.Namespace) -> int:
    from flows.releases.ceremony import Places, rotate_keys
    from flows.releases.keys import PERSONAL_ROLES, ROLES

    unknown = [role for role in args.role if role not in ROLES]
    if unknown:
        raise ConfigError(f"there is no role {unknown[0]!r}: {_ROLES}")
    workspace = open_workspace(args)
    repository = repository_with(args, workspace)
    given = _new_signer(args)
    new_files = [role for role in args.role if role in PERSONAL_ROLES and role not in given]
    person = args.into or args.keys or workspace.keys
    places = Places(
        online=workspace.keys,
        person=person,
        before=[args.keys] if args.keys else [],
        passphrase=_new_passphrase(args, person, workspace) if new_files else None,
    )
    vouches, dropped = _vouching(args, workspace, repository) if args.stolen else (None, [])
    rotated = rotate_keys(repository, args.role, places, given=given, stolen=args.stolen, vouches=vouches)
    versions = repository.versions()
    if args.json:
        print_json({"rotated": rotated, "person": str(person), "dropped": dropped, "versions": versions})
        return 0
    print(f"New keys are in force for {', '.join(rotated)}. Devices follow with their next look.")
    if new_files:
        print(f"Yours are in {person}: {', '.join(f'{role}.pem' for role in new_files)}. Make a copy and put it away.")
    for path in dropped:
        print(f"no longer signed: {path}")
    print("Old key files are in retired/; destroy them when the fleet has followed (`andon keys show`, heartbeats).")
    return 0


def _new_signer(args: argparse.Namespace) -> dict[str, Any]:
    if args.new_signer is None:
        return {}
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    from flows.releases.keyring import KeyRing

    if len(args.role) != 1 or args.public is None:
        raise ConfigError("--new-signer is for one role, and needs its public key with --public FILE")
    role = args.role[0]
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(args.public.read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--public {args.public} cannot be read as a public key ({error})") from error
    uris = parse_signers([f"{role}={args.new_signer}"])
    return {role: KeyRing(Path(), uris=uris, passphrase=passphrase_source(args)).signer(role, [key])}


def _new_passphrase(args: argparse.Namespace, person: Path, workspace: Workspace) -> bytes | None:
    if args.no_passphrase:
        return None
    given = stated_passphrase(args.new_passphrase_file, args.new_passphrase_env)
    if given is None and person == workspace.keys:
        return None  # the one-machine default, which `andon doctor` tells of
    given = given or stated_passphrase(args.passphrase_file, args.passphrase_env)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise ConfigError("a passphrase for the new keys is needed: --new-passphrase-file FILE, or --no-passphrase")
    first, again = getpass(f"New passphrase for the keys in {person}: "), getpass("Once more: ")
    if first != again or not first:
        raise ConfigError("the passphrases differ or are empty: nothing was changed")
    return first.encode()


def _vouching(args: argparse.Namespace, workspace: Workspace, repository: Any) -> tuple[Any, list[str]]:
    """What stays signed after a theft: engines that the release log knows, and nothing that was named."""
    from data.decisions import list_releases
    from data.inspections import list_inspections

    catalog = workspace.catalog()
    known = {
        entry.engine_sha256
        for inspection in list_inspections(catalog)
        for entry in list_releases(catalog, inspection.name, limit=100_000)
        if entry.action != "refused"
    }
    state = repository.state()
    engines = state.engines.signed.targets
    good = {path.rpartition(".")[0] for path, file in engines.items() if file.hashes.get("sha256") in known}

    def vouches(path: str, _: object) -> bool:
        return path.startswith("engines/") and path.rpartition(".")[0] in good

    touched = [role for role in ("engines", "rollouts") if role in args.role]
    dropped = sorted(path for role in touched for path in state.of(role).signed.targets if not vouches(path, None))
    return vouches, dropped


def _spare(args: argparse.Namespace) -> int:
    from flows.releases.ceremony import add_spare_root

    workspace = open_workspace(args)
    if args.into is None:
        raise ConfigError("--into DIR: a spare key beside the first one is lost together with it; name another place")
    repository = repository_with(args, workspace)
    path = add_spare_root(repository, args.into, _new_passphrase(args, args.into, workspace))
    if args.json:
        print_json({"spare": str(path)})
    else:
        print(f"{path} can do all that the root key can. Lock it away, apart from the first.")
    return 0


def _renew(args: argparse.Namespace) -> int:
    roles = list(repository_with(args, open_workspace(args)).renew())
    if args.json:
        print_json({"signed": roles})
    elif roles:
        print(f"Signed anew: {', '.join(roles)}.")
    if not roles:
        raise ConfigError("neither `targets` nor `engines` is at hand: bring them with --keys DIR")
    return 0
