"""``andon engine-keys``: engines sealed, so that who reads the bucket can't take the model."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from infra.cli.arguments import command, open_workspace, print_json, the_inspection


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser = command(
        sub,
        "engine-keys",
        "seal an inspection's engines, so that who reads the bucket can't take the model",
        "Tells how the engines of an inspection are sealed; with --rotate, seals those that are approved from now on "
        "to a new key (the first time: begins to seal). Every enrolled device gets the keys sealed to its own key, "
        "without a visit; revoking a device rotates them. Engines that are in force stay as they are. Devices need a "
        "client that knows sealed engines. The keys lie beside those that sign: back them up too.",
    )
    parser.add_argument("inspection", nargs="?", help="which (default: the only inspection there is)")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--rotate", action="store_true", help="make a new key, the first or the next")
    change.add_argument("--share", action="store_true", help="give the keys to the devices again")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from flows.engine_keys import engine_keys_state, rotate_engine_keys, share

    workspace = open_workspace(args)
    inspection = the_inspection(workspace, args.inspection)
    act = rotate_engine_keys if args.rotate else share if args.share else engine_keys_state
    state = act(workspace, inspection)
    if args.json:
        print_json(asdict(state))
        return 0
    if not state.current:
        print(
            f"{inspection}: engines lie in the plain; begin to seal them with `andon engine-keys {inspection} --rotate`"
        )
        return 0
    print(
        f"{inspection}: engines are sealed to the key {state.current} ({len(state.keys)} in use), which "
        f"{len(state.devices)} devices have"
    )
    return 0
