"""How the first admin gets in: a link that a terminal shows, as long as no admin can sign in otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def first_link(home: Path) -> str | None:
    """The link; None: an admin can sign in without it."""
    from data.users.links import ensure_first_link
    from data.workspace import Workspace
    from infra.cli.user import link_of

    workspace = Workspace.open(home)
    token = ensure_first_link(workspace.catalog(), home, at=datetime.now(UTC))
    return None if token is None else link_of(workspace, token)


def print_first_link(link: str | None) -> None:
    """Show it to a person."""
    if link is not None:
        print("Sign in to the console as its first admin; the link works once (`andon status` prints a new one):")
        print(f"  {link}")
