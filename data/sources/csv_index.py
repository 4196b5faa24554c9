"""A CSV file that names images: the form of an archive that knows more than the class.

1. Columns: `path` (relative to the CSV, or absolute) and `label` are needed; `group`, `station`, `time`, `stage` and
   `part_id` are optional; others are passed over. `columns` maps a name onto another one of the file
   (`{"station": "exposure"}`).
2. The whole index is checked before the first image is read: every error names the line. A path that names no file
   is an error; a file that is there and holds no image is a problem of that sample alone, reported later.
3. `stage` is factory, stream or holdout; empty means factory. `time` is ISO 8601; without a zone it is UTC.
4. A path comes once. An absolute path or one that leaves the CSV's folder is the user's own choice and allowed.
5. The order is by time where given (stable), else that of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data.sources.folder import compile_group_pattern, group_by
from data.sources.sample import (
    SourceError,
    SourceProblem,
    SourceSample,
    Stage,
    mark_beside,
    media_type_of,
    read_image_file,
)
from edge_client.contract.errors import InvalidName
from edge_client.contract.names import check_class_name

REQUIRED = ("path", "label")
OPTIONAL = ("group", "station", "time", "stage", "part_id")
_SHOWN = 5
"""So many missing files are named before "and n more": enough to see the pattern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One line of the index, checked, its image not read yet."""

    line: int
    path: str
    label: str | None
    group: str | None
    station: str | None
    time: datetime | None
    stage: Stage
    part_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSource:
    """A checked index; make one with `CsvSource.open`."""

    index: Path
    rows: tuple[IndexRow, ...]
    ignored: tuple[SourceProblem, ...] = ()

    @classmethod
    def open(
        cls,
        index: Path | str,
        *,
        columns: Mapping[str, str] | None = None,
        group_pattern: str | None = None,
    ) -> CsvSource:
        """Check the index; no image is read yet.

        Raises:
            SourceError: no such file, a missing column, a missing image, a bad stage, time or label, a path twice.
        """
        index = Path(index)
        names = _column_names(index, columns or {})
        pattern = compile_group_pattern(group_pattern)
        rows: list[IndexRow] = []
        missing: list[str] = []
        lines: dict[str, int] = {}
        for line, fields in _read(index, names):
            path = fields["path"]
            if not path:
                raise SourceError(f"{index}, line {line}: the path is empty. Name an image, or delete the line.")
            if path in lines:
                raise SourceError(
                    f"{index}, line {line}: {path} comes a second time (first on line {lines[path]}). "
                    "Keep one of the lines."
                )
            lines[path] = line
            if not (index.parent / path).is_file():
                missing.append(f"line {line}: {path}")
            rows.append(_row(index, line, fields, group_by(pattern, path)))
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise SourceError(
                f"{index}: {len(missing)} of {len(rows)} images are not there ({'; '.join(missing[:_SHOWN])}{more}). "
                f"Paths are relative to {index.parent.resolve()}; correct them or delete the lines."
            )
        if not rows:
            raise SourceError(f"{index}: no line after the header, expected one for each image.")
        last = datetime.max.replace(tzinfo=UTC)
        rows.sort(key=lambda row: row.time or last)
        return cls(index=index, rows=tuple(rows))

    @property
    def classes(self) -> tuple[str, ...]:
        """Every label in the index, sorted."""
        return tuple(sorted({row.label for row in self.rows if row.label is not None}))

    def __len__(self) -> int:
        """Number of lines."""
        return len(self.rows)

    def __iter__(self) -> Iterator[SourceSample | SourceProblem]:
        """Read the images one by one."""
        for row in self.rows:
            yield self.read(row)

    def read(self, row: IndexRow) -> SourceSample | SourceProblem:
        """Read the image of one line."""
        path = self.index.parent / row.path
        media_type = media_type_of(path)
        if media_type is None:
            return SourceProblem(path=row.path, reason="not one of PNG, JPEG and WebP")
        data = read_image_file(path)
        if isinstance(data, str):
            return SourceProblem(path=row.path, reason=data)
        return SourceSample(
            path=row.path,
            image=data,
            media_type=media_type,
            label=row.label,
            mark=mark_beside(path),
            group=row.group,
            station=row.station,
            time=row.time,
            stage=row.stage,
            part_id=row.part_id,
        )


def _column_names(index: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Our column name -> the file's."""
    unknown = sorted(set(columns) - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise SourceError(
            f"{index}: no such column to map: {', '.join(unknown)}. Known are {', '.join((*REQUIRED, *OPTIONAL))}."
        )
    return {name: columns.get(name, name) for name in (*REQUIRED, *OPTIONAL)}


def _read(index: Path, names: Mapping[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, our name -> stripped value, "" for absent)."""
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            found = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = found
            needed = [n for ours, n in names.items() if ours in REQUIRED or n != ours]
            absent = [name for name in needed if name not in found]
            if absent:
                raise SourceError(
                    f"{index}: column {', '.join(absent)} is missing; the header has "
                    f"{', '.join(found) or 'nothing'}. Expected path and label, separated by commas; "
                    f"optional: {', '.join(OPTIONAL)}."
                )
            for fields in reader:
                if any(value not in (None, "") for value in fields.values()):
                    yield reader.line_num, {ours: (fields.get(n) or "").strip() for ours, n in names.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{index}: not a CSV file in UTF-8 ({error}). Save it as CSV, UTF-8.") from error
    except OSError as error:
        raise SourceError(
            f"{index}: cannot be read ({error.strerror or error}). Name a CSV file with the columns path and label."
        ) from error


def _row(index: Path, line: int, fields: Mapping[str, str], group: str | None) -> IndexRow:
    where = f"{index}, line {line}"
    label = fields["label"] or None
    if label is not None:
        try:
            check_class_name(label)
        except InvalidName as error:
            raise SourceError(f"{where}: {label!r} cannot be a label. {error}") from error
    try:
        stage = Stage(fields["stage"]) if fields["stage"] else Stage.FACTORY
    except ValueError as error:
        known = ", ".join(stage.value for stage in Stage)
        raise SourceError(
            f"{where}: unknown stage {fields['stage']!r}, expected one of {known}, or nothing."
        ) from error
    return IndexRow(
        line=line,
        path=fields["path"],
        label=label,
        group=fields["group"] or group,
        station=fields["station"] or None,
        time=_time(where, fields["time"]),
        stage=stage,
        part_id=fields["part_id"] or None,
    )


def _time(where: str, value: str) -> datetime | None:
    if not value:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise SourceError(
            f"{where}: {value!r} is not a time. Write ISO 8601, for example 2026-03-01T14:05:00+01:00."
        ) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
