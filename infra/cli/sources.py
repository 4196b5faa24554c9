"""``--from FOLDER``, ``--csv FILE`` and ``--elpv``: labelled images, and the kind of each class."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError

if TYPE_CHECKING:
    from data.imports import ImportReport
    from data.sources.sample import Source

#: Names that say by themselves that a class is of kind ok.
OK_NAMES = frozenset({"ok", "good", "normal", "pass", "okay", "io"})
_SHOWN = 5


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument(
        "--from", dest="folder", type=Path, metavar="FOLDER", help="folder with one subfolder for each class"
    )
    one.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="index with the columns path and label (optional: group, station, time, stage)",
    )
    one.add_argument(
        "--elpv",
        nargs="?",
        const="all",
        choices=("all", "mono", "poly"),
        help="the ELPV solar cells (package elpv-dataset)",
    )
    parser.add_argument(
        "--group",
        metavar="PATTERN",
        help="regular expression whose first group, found in the path, names the part or lot: its images stay on "
        "one side of "
        "the split",
    )


def open_source(args: argparse.Namespace) -> Source:
    """Check the source that is meant.

    Raises:
        SourceError: It cannot be used; the message says which file and what to change.
    """
    from data.sources.csv_index import CsvSource
    from data.sources.elpv import ElpvSource
    from data.sources.folder import FolderSource

    if args.folder is not None:
        return FolderSource.open(args.folder, group_pattern=args.group)
    if args.csv is not None:
        return CsvSource.open(args.csv, group_pattern=args.group)
    return ElpvSource.open(None if args.elpv == "all" else args.elpv)


def kinds_of(classes: Sequence[str], given: Sequence[str]) -> list[tuple[str, str]]:
    """The kind of each class, ok ones first: as given, else by its name.

    Args:
        classes: Class names of the source.
        given: Texts ``class=ok`` or ``class=defect``.

    Raises:
        ConfigError: A text is not of that form, names another class, or no class is of kind ok.

    >>> kinds_of(["crack", "ok"], [])
    [('ok', 'ok'), ('crack', 'defect')]
    >>> kinds_of(["crack", "scratch", "fine"], ["fine=ok"])
    [('fine', 'ok'), ('crack', 'defect'), ('scratch', 'defect')]
    """
    said: dict[str, str] = {}
    for text in given:
        name, _, kind = text.rpartition("=")
        if not name or kind not in ("ok", "defect"):
            raise ConfigError(f"--kind {text!r}: expected CLASS=ok or CLASS=defect")
        if name not in classes:
            raise ConfigError(f"--kind {text!r}: the images have no class {name!r}; they have {', '.join(classes)}")
        said[name] = kind
    kinds = {name: said.get(name, "ok" if name.lower() in OK_NAMES else "defect") for name in classes}
    if "ok" not in kinds.values():
        raise ConfigError(
            f"none of the classes {', '.join(classes)} is known to be good: say which one is, for example --kind "
            f"{classes[0]}=ok"
        )
    return sorted(kinds.items(), key=lambda item: (item[1] != "ok", item[0]))


def import_json(report: ImportReport) -> dict[str, Any]:
    """An import as JSON."""
    return {
        "found": report.found,
        "imported": report.imported,
        "already": report.already,
        "other_stage": report.other_stage,
        "classes": dict(report.classes),
        "bytes": report.bytes,
        "marks": report.marks,
        "problems": [{"path": p.path, "reason": p.reason} for p in report.problems],
        "ignored": [{"path": p.path, "reason": p.reason} for p in report.ignored],
    }


def told(report: ImportReport) -> list[str]:
    """An import in lines."""
    by_class = ", ".join(f"{name} {count}" for name, count in sorted(report.classes.items()))
    lines = [f"{report.imported} images imported ({by_class or 'none new'})"]
    if report.marks:
        lines.append(f"{report.marks} with a mark of where the defect is")
    if report.already:
        lines.append(f"{report.already} were there already")
    if report.other_stage:
        lines.append(f"{report.other_stage} belong to another stage of the index")
    for what, items in (("could not be used", report.problems), ("left out", report.ignored)):
        if items:
            shown = "; ".join(f"{item.path}: {item.reason}" for item in list(items)[:_SHOWN])
            more = f"; and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
            lines.append(f"{len(items)} {what} ({shown}{more})")
    return lines
