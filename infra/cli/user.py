"""``andon user``: who may sign in to the console, and what they may do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from getpass import getpass, getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json

if TYPE_CHECKING:
    from data.catalog import Catalog
    from data.users import User
    from data.workspace import Workspace

_ROLES = ("viewer", "labeller", "approver", "admin")
_ABOUT = (
    "Roles, each with all that the one before may do: viewer sees; labeller also labels; approver also decides "
    "(promote, hold, roll back, settings, other people's labels); admin also manages users and reads the audit log."
)


def add_parser(sub: Any) -> None:
    """Add the command with its actions."""
    user = sub.add_parser(
        "user",
        help="who may sign in to the console, and what they may do",
        description=f"Says who may sign in to the console, and what they may do. {_ABOUT}",
    )
    actions = user.add_subparsers(dest="action", metavar="ACTION", required=True)
    command(actions, "list", "all users: role, how they sign in, when they last did")
    add = command(
        actions,
        "add",
        "add a user and print a one-time link for them",
        f"Adds a user. Without --password-file, prints a link that signs in once; they then set a password. {_ABOUT}",
    )
    _name(add)
    add.add_argument("--role", choices=_ROLES, default="labeller", help="what they may do (default: labeller)")
    _password(add)
    link = command(
        actions,
        "link",
        "make a new one-time link: for a forgotten password",
        "Prints a link that signs a user in once, within 24 hours. Used, it takes their old password away.",
    )
    _name(link)
    role = command(actions, "role", "give a user another role; it signs them out", _ABOUT)
    _name(role)
    role.add_argument("role", choices=_ROLES, help="what they may do from now on")
    disable = command(
        actions,
        "disable",
        "keep a user out, at once; what was done in their name stays",
        "Ends a user's sessions and links and lets them in no more. With --again it lets them in again.",
    )
    _name(disable)
    disable.add_argument("--again", action="store_true", help="let them in again")
    join = command(
        actions,
        "join",
        "let an account that is there be somebody at the identity provider",
        "Joins an account with a person of the identity provider that services.toml states: they sign in there from "
        "now on, and the password of the account ends. The subject is the id there, not the name; after a sign-in "
        "that was refused because the name is taken, the audit log tells it.",
    )
    _name(join)
    join.add_argument("subject", help="the person's id at the provider (the claim `sub`)")
    password = command(
        actions,
        "password",
        "set a user's password, from a prompt or a file",
        "Sets a password: asked for at the terminal, or read from a file. It is never an argument, which others on the "
        "machine could read. It signs the user out everywhere.",
    )
    _name(password)
    _password(password)


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="the user's name")


def _password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password, `-` for stdin")


def run(args: argparse.Namespace) -> int:
    """Run the action that was called."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list, "add": _add, "link": _link, "role": _role, "disable": _disable, "join": _join,
        "password": _set_password,
    }  # fmt: skip
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from data.users.accounts import list_users

    users = list_users(open_workspace(args).catalog())
    if args.json:
        print_json({"users": [user.to_dict() for user in users]})
        return 0
    if not users:
        print("There is no user yet: `andon up` prints the first admin's link.")
    for user in users:
        how = user.issuer or ("password" if user.has_password else "link only")
        seen = "never" if user.seen_at is None else f"{user.seen_at:%Y-%m-%d %H:%M} UTC"
        state = " disabled" if user.disabled_at else ""
        print(f"{user.name:<24} {user.role:<9} {how:<12} last signed in: {seen}{state}")
    return 0


def _add(args: argparse.Namespace) -> int:
    from data.users import Role
    from data.users.accounts import add_user
    from data.users.links import new_link

    workspace = open_workspace(args)
    catalog, at = workspace.catalog(), datetime.now(UTC)
    password = None if args.password_file is None else read_password(args.password_file)
    user = add_user(catalog, args.name, Role(args.role), at=at, password=password)
    _record(catalog, "user.add", user.name, role=args.role)
    link = None if password is not None else link_of(workspace, new_link(catalog, user.name, at=at))
    if args.json:
        print_json({**user.to_dict(), "link": link})
        return 0
    print(f"{user.name} is {user.role}.")
    if link is not None:
        print(f"Give them this link; it signs in once, within 24 hours:\n  {link}")
    return 0


def _link(args: argparse.Namespace) -> int:
    from data.users.links import new_link

    workspace = open_workspace(args)
    token = new_link(workspace.catalog(), args.name, at=datetime.now(UTC))
    _record(workspace.catalog(), "user.link", args.name)
    link = link_of(workspace, token)
    if args.json:
        print_json({"name": args.name, "link": link})
    else:
        print(f"Give {args.name} this link; it signs in once, within 24 hours:\n  {link}")
    return 0


def _role(args: argparse.Namespace) -> int:
    from data.users import Role
    from data.users.accounts import set_role

    catalog = open_workspace(args).catalog()
    user = set_role(catalog, args.name, Role(args.role))
    _record(catalog, "user.role", user.name, role=args.role)
    return _told(args, user, f"{user.name} is {user.role} now.")


def _disable(args: argparse.Namespace) -> int:
    from data.users.accounts import set_disabled

    catalog = open_workspace(args).catalog()
    user = set_disabled(catalog, args.name, not args.again, at=datetime.now(UTC))
    _record(catalog, "user.disable", user.name, disabled=not args.again)
    return _told(args, user, f"{user.name} {'may sign in again' if args.again else 'is kept out'}.")


def _join(args: argparse.Namespace) -> int:
    from data.users.identities import join

    workspace = open_workspace(args)
    provider = workspace.identity_provider
    if provider is None:
        raise ConfigError("services.toml states no identity provider ([oidc]); docs/access.md shows one")
    user = join(workspace.catalog(), args.name, issuer=provider.issuer, subject=args.subject)
    _record(workspace.catalog(), "user.join", user.name, issuer=provider.issuer, subject=args.subject)
    return _told(args, user, f"{user.name} signs in with {provider.name} from now on; their password ended.")


def _set_password(args: argparse.Namespace) -> int:
    from data.users.accounts import get_user, set_password

    catalog = open_workspace(args).catalog()
    get_user(catalog, args.name)  # before anybody types
    password = ask_password(args.name) if args.password_file is None else read_password(args.password_file)
    user = set_password(catalog, args.name, password)
    _record(catalog, "user.password", user.name)
    return _told(args, user, f"The password of {user.name} is changed; they are signed out everywhere.")


def _told(args: argparse.Namespace, user: User, text: str) -> int:
    if args.json:
        print_json(user.to_dict())
    else:
        print(text)
    return 0


def _record(catalog: Catalog, what: str, about: str, **facts: Any) -> None:
    from data.users import record

    record(catalog, what, who=getuser(), at=datetime.now(UTC), about=about, facts=facts)


def link_of(workspace: Workspace, token: str) -> str:
    """The address that signs in with a one-time token."""
    return f"{workspace.console_url or ''}/login#link={token}"


def read_password(path: Path) -> str:
    """A password from a file, or from standard input for ``-``: its first line.

    Raises:
        ConfigError: It cannot be read, or is empty.
    """
    try:
        text = sys.stdin.readline() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"password file {path} cannot be read ({error})") from error
    password = text.splitlines()[0] if text.splitlines() else ""
    if not password:
        raise ConfigError(f"password file {path} is empty: expected the password in its first line")
    return password


def ask_password(name: str) -> str:
    """A new password, asked for twice.

    Raises:
        ConfigError: There is no terminal, or the two differ.
    """
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask for the password: name a file with --password-file FILE")
    first, again = getpass(f"New password of {name}: "), getpass("Once more: ")
    if first != again:
        raise ConfigError("the two passwords differ: nothing was changed")
    return first
