"""``andon causes``: which variables of the process go with which defects."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.causes.findings import Causes

_SHOWN = 20


def add_parser(sub: Any) -> None:
    """Add the command."""
    causes = command(
        sub,
        "causes",
        "which variables of the process go with which defects",
        "Tests every variable of the context that was given at `predict`, at every station that saw the same part id, "
        "against every defect that people labelled and every outcome that was reported. It tells associations: what "
        "goes with what. An experiment tells causes.",
    )
    causes.add_argument("inspection", nargs="?", help="default: the only one")
    causes.add_argument(
        "--since", type=_instant, metavar="TIME", help="only what was seen from then on, such as 2031-05-06 or …T06:00"
    )
    causes.add_argument("--station", help="only labels of frames that were seen there (default: anywhere)")
    causes.add_argument(
        "--fdr",
        type=_share,
        metavar="SHARE",
        help="expected share of chance among what is called found, at most (default: the policy's, 0.1)",
    )
    causes.add_argument(
        "--any-dependence",
        action="store_true",
        help="bound it whatever the tests have to do with each other (Benjamini-Yekutieli); finds less",
    )


def run(args: argparse.Namespace) -> int:
    """Analyse, and tell."""
    from data.causes import Dependence, Settings, find_causes

    workspace = open_workspace(args)
    policy = workspace.policy().causes
    settings = Settings(
        fdr=args.fdr if args.fdr is not None else policy.fdr,
        shift_hours=policy.shift_hours,
        dependence=Dependence.ANY if args.any_dependence else Dependence.POSITIVE,
    )
    inspection = the_inspection(workspace, args.inspection)
    causes = find_causes(workspace.catalog(), inspection, since=args.since, station=args.station, settings=settings)
    if args.json:
        print_json(causes.to_dict())
    else:
        print("\n".join(lines_of(causes)))
    return 0


def lines_of(causes: Causes) -> list[str]:
    """An analysis in lines."""
    from data.causes.wording import caution, experiment, method, population, sentence

    lines = [f"{causes.inspection}: {method(causes)}"]
    lines += [f"  {population(speaks)}" for speaks in causes.speaks]
    if not causes.speaks:
        lines.append("  no labelled sample and no outcome yet: label some with the console, or report outcomes")
    for title, listed in (("found", causes.found), ("at first sight only", causes.first_sight)):
        if listed:
            lines.append(f"{title}:")
        for association in listed[:_SHOWN]:
            lines.append(f"  {sentence(association)}")
            told = experiment(association)
            if told is not None:
                lines.append(f"    {told}")
        if len(listed) > _SHOWN:
            lines.append(f"  and {len(listed) - _SHOWN} more: see --json")
    if causes.tests and not causes.found:
        nearest = min(causes.associations, key=lambda association: association.q)
        lines.append(f"nothing found; the smallest q is {nearest.q:.2g}: {sentence(nearest)}")
    if causes.not_testable:
        lines.append("not testable:")
    for item in causes.not_testable[:_SHOWN]:
        what = " × ".join(part for part in (item.target, item.variable) if part)
        lines.append(f"  {what}{f' at {item.station}' if item.station else ''}: {item.reason}")
    if len(causes.not_testable) > _SHOWN:
        lines.append(f"  and {len(causes.not_testable) - _SHOWN} more: see --json")
    if causes.not_tested:
        lines.append(f"{causes.not_tested} tests were left out: there are too many variables")
    return [*lines, caution()]


def _instant(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: expected such as 2031-05-06 or …T06:00") from error


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: expected a number between 0 and 1, such as 0.1")
    return value
