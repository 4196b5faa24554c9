"""Arguments with which a person brings keys: a folder, a passphrase, or a signer by URI."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client.contract.errors import ConfigError

if TYPE_CHECKING:
    from data.workspace import Workspace
    from flows.releases.keyring import KeyRing
    from flows.releases.repository import ReleaseRepository


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what brings the person's keys that are in force."""
    group = parser.add_argument_group("your keys")
    group.add_argument(
        "--keys", type=Path, metavar="DIR", help="folder of your keys (default: beside the online ones, HOME/keys)"
    )
    group.add_argument("--passphrase-file", type=Path, metavar="FILE", help="file with the passphrase, for scripts")
    group.add_argument("--passphrase-env", metavar="NAME", help="environment variable that holds the passphrase")
    group.add_argument(
        "--signer",
        action="append",
        default=[],
        metavar="ROLE=URI",
        help="a signer instead of a key file, as securesystemslib names it, such as engines=awskms:alias/andon",
    )


def ring_of(args: argparse.Namespace, workspace: Workspace) -> KeyRing:
    """The keys that the arguments bring."""
    from flows.releases.keyring import KeyRing

    uris = parse_signers(args.signer)
    person = args.keys
    if person is not None and not person.is_dir():
        raise ConfigError(f"--keys {person}: there is no such folder; is the medium with your keys attached?")
    return KeyRing(workspace.keys, person=person, uris=uris, passphrase=passphrase_source(args))


def repository_with(args: argparse.Namespace, workspace: Workspace) -> ReleaseRepository:
    """The release repository, with the keys that the arguments bring."""
    from datetime import UTC, datetime

    from flows.stack import repository_of

    return repository_of(workspace, lambda: datetime.now(UTC), ring_of(args, workspace))


def passphrase_source(args: argparse.Namespace) -> Callable[[str], bytes] | None:
    """Who is asked for a passphrase: the file, the variable, else the terminal, if there is one."""
    given = stated_passphrase(args.passphrase_file, args.passphrase_env)
    if given is not None:
        return lambda _: given
    if not sys.stdin.isatty():
        return None
    return lambda what: getpass(f"Passphrase of {what}: ").encode()


def stated_passphrase(file: Path | None, variable: str | None) -> bytes | None:
    """A passphrase from a file or a variable that was named; None when neither was.

    Raises:
        ConfigError: It is not there, or empty.
    """
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"passphrase file {file} cannot be read ({error})") from error
        where = str(file)
    elif variable is not None:
        text, where = os.environ.get(variable, "").strip(), f"the variable {variable}"
    else:
        return None
    if not text:
        raise ConfigError(f"{where} holds no passphrase")
    return text.encode()


def parse_signers(texts: list[str]) -> dict[str, str]:
    """Read ``ROLE=URI`` texts.

    >>> parse_signers(["engines=awskms:alias/andon"])
    {'engines': 'awskms:alias/andon'}
    """
    from flows.releases.keys import ROLES

    found: dict[str, str] = {}
    for text in texts:
        role, equals, uri = text.partition("=")
        if not equals or role not in ROLES or not uri:
            raise ConfigError(f"--signer {text!r}: expected ROLE=URI with a role of {', '.join(ROLES)}")
        found[role] = uri
    return found
