"""``andon labels``: labelled samples as files that other tools read, and back."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.errors import ConfigError
from infra.cli.arguments import command, open_workspace, print_json, the_inspection

if TYPE_CHECKING:
    from data.exports import Labelled
    from data.sources.sample import SourceProblem
    from data.workspace import Workspace

_SHOWN = 20
_FORMS = "csv, folders, coco, yolo, yolo-boxes"


def add_parser(sub: Any) -> None:
    """Add the command."""
    labels = sub.add_parser(
        "labels",
        help="labelled samples as files for other tools, and back",
        description="Labelled samples as files that other tools read, and back. Every form comes back as it went out; "
        "see docs/connect.md for each.",
    )
    actions = labels.add_subparsers(dest="action", metavar="ACTION", required=True)
    out = command(
        actions,
        "export",
        "write labelled samples into a folder",
        "Writes the labelled samples of an inspection into a new folder: what people say now, or a snapshot with "
        "--snapshot. Forms: csv (labels.csv and images), folders (SPLIT/CLASS/image), coco, yolo (folders for its "
        "classification), yolo-boxes (detection), parquet (pandas, DuckDB, Hugging Face datasets).",
    )
    out.add_argument("to", type=Path, metavar="DIR", help="folder to make; it must not be there, or be empty")
    out.add_argument("--inspection", help="default: the only inspection there is")
    out.add_argument("--format", required=True, metavar="FORM", help=f"one of {_FORMS}, parquet")
    out.add_argument(
        "--snapshot", metavar="ID", help="a snapshot instead of the present labels; `latest` is the newest"
    )
    out.add_argument("--split", choices=("train", "golden", "holdout"), help="only this side of the split")
    out.add_argument("--origin", choices=("factory", "field"), help="only imported, or only captured samples")
    out.add_argument("--no-images", action="store_true", help="labels.csv alone (form csv)")
    into = command(
        actions,
        "import",
        "take labels from a file or folder",
        "Takes labels from a file or folder. A sample is found by its id or its image; an image that is new is "
        "imported. A bad row is named and left out, the rest goes in (then the exit code is 1). The same again "
        "changes nothing.",
    )
    into.add_argument("path", type=Path, metavar="PATH", help="the file or folder")
    into.add_argument("--inspection", help="default: the only inspection there is")
    into.add_argument("--format", required=True, metavar="FORM", help=f"one of {_FORMS}")
    into.add_argument("--who", default=None, help="in whose name (default: as the file says, else who runs this)")
    into.add_argument(
        "--empty", default="", metavar="CLASS", help="coco and yolo-boxes: what an image without a box is, such as ok"
    )


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _export(args) if args.action == "export" else _import(args)


def _export(args: argparse.Namespace) -> int:
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    from data.exports import write_export
    from data.inspections import get_inspection

    samples = _wanted(workspace, name, args)
    if not samples:
        raise ConfigError(f"inspection {name!r} has no labelled sample of that kind: there is nothing to write")
    inspection = get_inspection(workspace.catalog(), name)
    done = write_export(workspace.lake(), inspection, samples, args.to, args.format, images=not args.no_images)
    if args.json:
        print_json(
            {
                "inspection": name,
                "format": args.format,
                "folder": str(args.to),
                "samples": done.samples,
                "marks": done.marks,
                "bytes": done.bytes,
                "classes": dict(done.classes),
                "splits": dict(done.sides),
                "problems": _listed(done.problems),
            }
        )
    else:
        sides = ", ".join(f"{side} {n}" for side, n in sorted(done.sides.items()))
        print(f"{args.to}: {done.samples} samples of {name} ({sides}), {done.bytes:,} bytes of images")
        _tell(done.problems, "left out")
    return 1 if done.problems else 0


def _wanted(workspace: Workspace, name: str, args: argparse.Namespace) -> list[Labelled]:
    from data.exports import labelled_now, labelled_of_snapshot
    from data.snapshots import latest_snapshot_id, load_snapshot

    catalog = workspace.catalog()
    if args.snapshot is None:
        return labelled_now(catalog, name, side=args.split, origin=args.origin)
    snapshot_id = latest_snapshot_id(catalog, name) if args.snapshot == "latest" else args.snapshot
    if snapshot_id is None:
        raise ConfigError(f"inspection {name!r} has no snapshot yet; `andon retrain` takes one")
    snapshot = load_snapshot(catalog, workspace.lake(), snapshot_id)
    if snapshot.inspection != name:
        raise ConfigError(f"snapshot {snapshot_id} is of inspection {snapshot.inspection!r}, not of {name!r}")
    return labelled_of_snapshot(catalog, snapshot, side=args.split, origin=args.origin)


def _import(args: argparse.Namespace) -> int:
    workspace = open_workspace(args)
    name = the_inspection(workspace, args.inspection)
    from data.exports import take_labels
    from data.exports.formats import read_labels
    from data.inspections import get_inspection

    inspection = get_inspection(workspace.catalog(), name)
    if args.empty and args.empty not in inspection.class_names:
        raise ConfigError(f"--empty {args.empty!r} is no class of {name!r}; it has {list(inspection.class_names)}")
    taken = take_labels(
        workspace.catalog(),
        workspace.lake(),
        name,
        read_labels(args.path, args.format, defects=inspection.defect_names, empty=args.empty),
        who=args.who or getpass.getuser(),
        source=f"import:{args.format}",
        keep_names=args.who is None,
        split=workspace.policy().split,
    )
    if args.json:
        counts = ("rows", "recorded", "unchanged", "imported", "marks")
        figures = {count: getattr(taken, count) for count in counts}
        print_json({"inspection": name, **figures, "problems": _listed(taken.problems)})
    else:
        print(
            f"{name}: {taken.rows} rows: {taken.recorded} labels recorded, {taken.unchanged} known already, "
            f"{taken.imported} images new, {taken.marks} marks new"
        )
        _tell(taken.problems, "not taken as they are")
    return 1 if taken.problems else 0


def _listed(problems: list[SourceProblem]) -> list[dict[str, str]]:
    return [{"where": problem.path, "reason": problem.reason} for problem in problems]


def _tell(problems: list[SourceProblem], what: str) -> None:
    if problems:
        print(f"{len(problems)} {what}:")
    for problem in problems[:_SHOWN]:
        print(f"  {problem.path}: {problem.reason}")
    if len(problems) > _SHOWN:
        print(f"  and {len(problems) - _SHOWN} more; --json has all")
