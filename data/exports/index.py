"""``labels.csv``: one line for each sample. The form for spreadsheets, and what goes along with every other form.

1. Columns: sample_id, path, label (several classes: joined by +), labelled_by, labelled_at, split, group, part_id,
   station, device, origin, captured_at, image_sha256. To import, label and one of sample_id and path are enough.
2. A spreadsheet takes a cell that begins with = + - @ for a formula, and part ids come from devices: such a cell is
   written with ' before it, and so is one that begins with ' itself; reading takes one ' away.
3. A bad line is a problem of that line. A file that is no CSV, or lacks the columns, is an error.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from data.exports.regions import mask_of_png
from data.exports.values import INDEX_FILE, ExportError, FileLabel, Labelled
from data.sources.sample import SourceProblem, mark_beside

COLUMNS = (
    *("sample_id", "path", "label", "labelled_by", "labelled_at", "split", "group", "part_id", "station"),
    *("device", "origin", "captured_at", "image_sha256"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
TRAIN_SIDES = ("train", "training")
HELD_SIDES = ("val", "valid", "validation", "test", "golden", "holdout")


def write_index(path: Path, rows: Iterable[tuple[Labelled, str]]) -> None:
    """Write the lines of (sample, path of its image's file; "" for none)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one, image in rows:
            cells = (one.sample_id, image, one.label, one.by, _text(one.at), one.side, one.group, one.part_id or "")
            more = (one.station or "", one.device or "", one.origin, _text(one.captured_at), one.image_sha256)
            writer.writerow([_guarded(cell) for cell in (*cells, *more)])


def read_lines(path: Path, *, needs: tuple[str, ...] = ("label",)) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, column -> text) of each line that says anything.

    Raises:
        ExportError: It is no CSV file in UTF-8, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            missing = [name for name in needs if name not in names]
            if missing or not {"sample_id", "path"} & set(names):
                raise ExportError(
                    f"{path}: column {', '.join(missing) or 'sample_id or path'} is missing; the header has "
                    f"{', '.join(names) or 'nothing'}. Expected label, and sample_id or path (or both)"
                )
            for fields in reader:
                cells = {name: _bare((fields.get(name) or "").strip()) for name in COLUMNS}
                if any(cells.values()):
                    yield f"{path.name}, line {reader.line_num}", cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise ExportError(f"{path}: is not a CSV file in UTF-8 ({error}); save it as CSV, UTF-8") from error
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_index(path: Path) -> Iterator[FileLabel | SourceProblem]:
    """Read a file of labels (rule 3); paths are relative to it."""
    for where, cells in read_lines(path):
        if not cells["label"]:
            yield SourceProblem(path=where, reason="the label is empty; fill it in or delete the line")
            continue
        try:
            found = label_of(where, cells, classes_of(cells["label"]), path.parent)
            mark = mark_beside(found.image) if found.image else None
            yield replace(found, defect=mask_of_png(mark)) if mark else found
        except (ValueError, OSError) as error:
            yield SourceProblem(path=where, reason=str(error))


def label_of(where: str, cells: Mapping[str, str], classes: tuple[str, ...], root: Path) -> FileLabel:
    """What a line says, for the classes that were found.

    Raises:
        ValueError: A time or a side is none.
    """
    image = root / cells["path"] if cells["path"] else None
    kind, _, rest = cells["group"].partition(":")
    group = None if f"{kind}:" in ("part:", "image:") else rest if kind == "group" else cells["group"]
    said = classes == classes_of(cells["label"])  # else a person has changed it since: in the importer's name
    return FileLabel(
        where=where,
        sample_id=cells["sample_id"],
        image=image if image is not None and image.is_file() else None,
        classes=classes,
        by=cells["labelled_by"] if said else "",
        at=time_of(cells["labelled_at"]) if said else None,
        side=side_of_name(cells["split"]),
        group=group or None,
        part_id=cells["part_id"] or None,
        station=cells["station"] or None,
        captured_at=time_of(cells["captured_at"]),
    )


def index_beside(root: Path) -> dict[str, dict[str, str]]:
    """The lines of the index in an exported folder, by the name of the image's file; {} where there is none."""
    path = root / INDEX_FILE
    if not path.is_file():
        return {}
    return {Path(cells["path"]).name: cells for _, cells in read_lines(path) if cells["path"]}


def classes_of(text: str) -> tuple[str, ...]:
    """The classes of a label's text."""
    return tuple(sorted({part.strip() for part in text.split("+")} - {""}))


def time_of(text: str) -> datetime | None:
    """The instant of a cell; without a zone it is UTC.

    Raises:
        ValueError: It is none.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write ISO 8601, such as 2026-03-01T14:05:00+01:00") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def side_of_name(name: str) -> str:
    """The side that a name of a split means for an import; what is held out is golden there, and "" says nothing.

    Raises:
        ValueError: It is no such name.
    """
    if name.lower() in TRAIN_SIDES:
        return "train"
    if name.lower() in HELD_SIDES:
        return "golden"
    if name:
        raise ValueError(f"split {name!r} is unknown; expected one of {', '.join((*TRAIN_SIDES, *HELD_SIDES))}")
    return ""


def _text(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).isoformat()


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell
