"""``andon label``: the same call that the console makes."""

from __future__ import annotations

import argparse
import csv
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json

SOURCE = "cli"


def add_parser(sub: Any) -> None:
    """Add the command."""
    label = command(
        sub,
        "label",
        "record labels from a file or the command line",
        "Records labels. A file has the columns sample_id and label (several classes: joined by +); recording it "
        "again is harmless.",
    )
    label.add_argument("sample", nargs="?", metavar="SAMPLE", help="sample id, 32 hex digits")
    label.add_argument("classes", nargs="*", metavar="CLASS", help="its class")
    label.add_argument("--csv", type=Path, metavar="FILE", help="file with the columns sample_id and label")
    label.add_argument("--who", default=None, help="in whose name (default: the user who runs this)")


def run(args: argparse.Namespace) -> int:
    """Record the labels."""
    if (args.csv is None) == (args.sample is None) or (args.sample is not None and not args.classes):
        raise ConfigError("say either SAMPLE CLASS, or --csv FILE")
    who = args.who or getpass.getuser()
    wanted = read_labels(args.csv, who) if args.csv else [(args.sample, tuple(args.classes), str(uuid4()))]
    workspace = open_workspace(args)
    from data.labels import NewLabel, record_labels

    labels = [NewLabel(sample_id=sample, classes=classes, event_id=event) for sample, classes, event in wanted]
    events = record_labels(workspace.catalog(), labels, who=who, at=datetime.now(UTC), source=SOURCE)
    if args.json:
        print_json({"recorded": len(events), "who": who})
    else:
        print(f"{len(events)} {'label' if len(events) == 1 else 'labels'} recorded in the name of {who}")
    return 0


def read_labels(path: Path, who: str) -> list[tuple[str, tuple[str, ...], str]]:
    """Read (sample id, classes, event id) from a file. The event id follows from the line's content.

    Raises:
        ConfigError: No such file, a missing column, an empty field, or a sample twice.
    """
    found: dict[str, tuple[str, tuple[str, ...], str]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"sample_id", "label"} - set(reader.fieldnames or ())
            if missing:
                raise ConfigError(
                    f"{path}: column {', '.join(sorted(missing))} is missing; expected sample_id and label"
                )
            for row in reader:
                sample, label = (row["sample_id"] or "").strip(), (row["label"] or "").strip()
                where = f"{path}, line {reader.line_num}"
                if not sample or not label:
                    raise ConfigError(f"{where}: sample_id or label is empty; complete or delete the line")
                if sample in found:
                    raise ConfigError(f"{where}: sample {sample} comes a second time; keep one of the lines")
                classes = tuple(part.strip() for part in label.split("+"))
                event = uuid5(NAMESPACE_URL, f"andon:label:{who}:{sample}:{'+'.join(classes)}")
                found[sample] = (sample, classes, str(event))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not found:
        raise ConfigError(f"{path}: no line after the header, expected one for each label")
    return list(found.values())
