"""``andon outcomes``: what an end-of-line tester, a returns desk or a scrap list found of parts."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.outcome_imports import OutcomeImport


def add_parser(sub: Any) -> None:
    """Add the command."""
    parser = command(
        sub,
        "outcomes",
        "take over what was found of parts later, from a file",
        "Takes over outcomes from a CSV file with the columns part_id, outcome and at, and perhaps stage; a row that "
        "is known is skipped. They are joined to captured frames by part id. What an outcome means, and which stages "
        "report every part, is said in policy.toml, section [outcomes]; a label that an outcome contradicts is offered "
        "for a second look.",
    )
    parser.add_argument("file", type=Path, metavar="CSV", help="the file")
    parser.add_argument("--inspection", help="default: the only inspection there is")
    parser.add_argument("--stage", default="", help="for rows that name none, such as end-of-line or returns")
    parser.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN", help="a column of another name: at=tested_on"
    )
    parser.add_argument(
        "--timezone",
        default="UTC",
        metavar="ZONE",
        help="of instants that name none, such as Europe/Berlin (default UTC)",
    )


def run(args: argparse.Namespace) -> int:
    """Take the file over."""
    from data.label_reviews import record_contradictions
    from data.outcome_imports import COLUMNS, import_outcomes, read_outcomes

    columns = parse_columns(args.column, COLUMNS)
    outcomes = read_outcomes(args.file, columns=columns, stage=args.stage.strip(), zone=zone_of(args.timezone))
    workspace = open_workspace(args)
    name, now, policy = the_inspection(workspace, args.inspection), datetime.now(UTC), workspace.policy().outcomes
    done = import_outcomes(workspace.catalog(), name, outcomes, policy, at=now)
    reviews = record_contradictions(workspace.catalog(), name, policy, at=now)
    if args.json:
        print_json({"inspection": name, **done.to_dict(), "contradicted_labels": reviews})
    else:
        print("\n".join(lines_of(name, done, reviews)))
    return 0


def lines_of(name: str, done: OutcomeImport, reviews: int) -> list[str]:
    """What came of a file."""
    of_captured = f"{done.of_captured_parts:,} are of parts with a captured frame"
    lines = [f"{name}: {done.new:,} new outcomes of {done.rows:,}; {of_captured}"]
    if done.unread:
        values = ", ".join(f"{value!r} ({n})" for value, n in done.unread.items())
        lines.append(f"  these say nothing by the policy: {values}; see [outcomes] in policy.toml")
    if not done.of_captured_parts:
        lines.append("  none is of a part with a frame from before: are part ids the same as those given at predict?")
    if reviews:
        labels = "label contradicts" if reviews == 1 else "labels contradict"
        lines.append(f"  {reviews} {labels} an outcome: the labelling page offers a second look")
    return lines


def zone_of(name: str) -> tzinfo:
    """Return a time zone.

    Raises:
        ConfigError: There is none of that name.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--timezone {name!r} is no time zone; expected one such as Europe/Berlin") from None


def parse_columns(texts: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """Read ``name=column`` texts.

    Raises:
        ConfigError: A text is not of that form, or its name is none of those known.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, column = text.partition("=")
        if not (equals and column) or name not in known:
            raise ConfigError(f"--column {text!r}: expected NAME=COLUMN, with NAME one of {', '.join(known)}")
        found[name] = column
    return found
