"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError

if TYPE_CHECKING:
    from data.workspace import Workspace


def command(sub: Any, name: str, summary: str, description: str = "") -> argparse.ArgumentParser:
    """Add a command with ``--home`` and ``--json``."""
    parser: argparse.ArgumentParser = sub.add_parser(name, help=summary, description=description or summary)
    parser.add_argument(
        "--home", type=Path, default=None, metavar="DIR", help="home directory (default: $ANDON_HOME, else ./.andon)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return parser


def values_anywhere(parser: argparse.ArgumentParser) -> None:
    """Let a list of positional values stand after options too, which argparse by itself takes for unknown ones."""
    plain = parser.parse_known_args

    def parse(args: Any = None, namespace: Any = None) -> Any:
        parser.parse_known_args = plain  # type: ignore[method-assign]  # the other calls it
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            parser.parse_known_args = parse  # type: ignore[method-assign]

    parser.parse_known_args = parse  # type: ignore[method-assign]


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=1, default=str))


def home_of(args: argparse.Namespace) -> Path:
    """The home directory that is meant."""
    from data.workspace import home_directory

    return home_directory(args.home)


def open_workspace(args: argparse.Namespace) -> Workspace:
    """The installation that is meant, and the environment of its clients.

    Raises:
        ConfigError: There is no stack there.
    """
    from data.workspace import Workspace
    from flows import environment

    workspace = Workspace.open(args.home)
    environment.point_at(workspace)  # before anything imports Prefect or MLflow
    return workspace


def the_inspection(workspace: Workspace, name: str | None) -> str:
    """The inspection that is named, or the only one there is.

    Raises:
        InspectionError: No such inspection.
        ConfigError: None is named, and there is not exactly one.
    """
    from data.inspections import get_inspection, list_inspections

    if name is not None:
        return get_inspection(workspace.catalog(), name).name
    known = [inspection.name for inspection in list_inspections(workspace.catalog())]
    if len(known) == 1:
        return known[0]
    if not known:
        raise ConfigError("there is no inspection yet: make one with `andon init NAME --from FOLDER`")
    raise ConfigError(f"which inspection? There are {', '.join(known)}: name one")
