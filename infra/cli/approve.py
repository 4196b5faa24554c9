"""``andon approve``: a person looks at an engine and signs its digest."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import AndonError
from infra.cli.arguments import command, open_workspace, print_json
from infra.cli.person import add_key_arguments, repository_with

if TYPE_CHECKING:
    from flows.approving import Candidate


def add_parser(sub: Any) -> None:
    """Add the command."""
    approve = command(
        sub,
        "approve",
        "look at an engine that waits for your signature, and sign it",
        "Shows what would be signed: the digest, what the gate said, and what is different from the engine that runs "
        "now. The engine is inspected (operators, size, self-test really run) and signed with the key `engines` after "
        "your yes; then it is released. Without a name: lists what waits.",
    )
    approve.add_argument("inspection", nargs="?", help="the inspection (default: list what waits in all of them)")
    approve.add_argument("version", nargs="?", help="its model version (default: the one that waits)")
    approve.add_argument("--yes", action="store_true", help="sign without asking, for scripts")
    add_key_arguments(approve)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from data.inspections import get_inspection, list_inspections
    from flows.approving import NothingToApprove, describe, sign, waiting
    from flows.release import release_once
    from flows.stack import registry_of

    workspace = open_workspace(args)
    registry, repository = registry_of(workspace), repository_with(args, workspace)
    if args.inspection is None:
        names = [inspection.name for inspection in list_inspections(workspace.catalog())]
        found = [describe(registry, repository, v) for name in names for v in waiting(registry, repository, name)]
        _list(found, as_json=args.json)
        return 0
    get_inspection(workspace.catalog(), args.inspection)
    if args.version is not None:
        version = registry.api.version(args.inspection, args.version)
    else:
        versions = waiting(registry, repository, args.inspection)
        if not versions:
            raise NothingToApprove(
                f"no version of {args.inspection!r} waits for approval: move an alias in MLflow first, or name a "
                "version"
            )
        version = versions[0]
    candidate = describe(registry, repository, version)
    if not args.json:
        print(told(candidate))
    if not args.yes and not _yes(candidate):
        print("Not signed.", file=sys.stderr)
        return 1
    digest = sign(registry, repository, version)
    try:
        outcome = str(release_once(workspace, args.inspection))
    except AndonError as error:  # signed all the same: the flow releases it when what is away is back
        outcome = f"signed; not yet released: {error}"
    if args.json:
        print_json({**asdict(candidate), "signed": digest, "release": outcome})
    else:
        print(f"Signed {digest[:16]}…. {outcome}")
    return 0


def told(candidate: Candidate) -> str:
    """What a person reads before signing."""
    against = f"version {candidate.compared_with}, which runs now" if candidate.compared_with else "nothing: the first"
    lines = [
        f"{candidate.inspection} version {candidate.version}, engine {candidate.engine_id}",
        f"  SHA-256    {candidate.sha256}",
        f"  size       {candidate.bytes:,} bytes",
        f"  aliases    {', '.join(candidate.aliases) or 'none'}",
        f"  the gate   {candidate.decision}",
        f"  let by     {candidate.by or 'nobody: ' + candidate.refusal}",
        f"  against    {against}",
        *(f"             {line}" for line in candidate.differences),
    ]
    if candidate.compared_with and not candidate.differences:
        lines.append("             no difference in classes, thresholds, trunk, size or metrics")
    return "\n".join(lines)


def _list(found: list[Candidate], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(candidate) for candidate in found])
        return
    print("\n\n".join(told(candidate) for candidate in found) or "Nothing waits for approval.")
    for candidate in found:
        print(f"\nSign it with: andon approve {candidate.inspection} {candidate.version}")


def _yes(candidate: Candidate) -> bool:
    if not sys.stdin.isatty():
        raise AndonError("nobody can be asked here: repeat with --yes to sign")
    return input(f"Sign {candidate.sha256[:16]}…? Type yes: ").strip().lower() == "yes"
