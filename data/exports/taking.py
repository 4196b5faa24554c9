"""Take labels from files into the catalog.

1. A sample is found by its id, else by its image; an image that the inspection does not have is imported. Nothing else
   about a known sample changes: labels are events, in the name of who said them.
2. What that person says of the sample already, or has said before in the very same words, is not said again: the same
   file twice changes nothing, and nobody's later answer is overruled by an old file.
3. A bad row is named and left out, the rest goes in: an unknown class or sample, an image that is none or not the
   sample's, a sample twice.
4. A new sample keeps the side that the file states, as long as its group has no other; else its group's hash decides.
5. A mark is taken where the sample has none. Batch by batch, so that a killed import is simply run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import LabelEventRow, SampleRow
from data.decode import ImageChecker
from data.exports.regions import png_of_mask
from data.exports.values import FileLabel
from data.imports import import_id, import_samples
from data.inspections import Inspection, get_inspection
from data.labels import LabelError, NewLabel, current_labels_in, record_labels_in
from data.lake import Lake
from data.policy import SplitPolicy
from data.quarantine import clean_text
from data.sources.sample import SourceProblem, SourceSample, media_type_of, read_image_file

_BATCH = 100  # images of a batch are in memory at once
_AHEAD = timedelta(days=1)  # clocks and time zones differ; what is further ahead is a mistake
_MOST_NAME = 128


@dataclass(slots=True, kw_only=True)
class Taken:
    """What came in.

    Attributes:
        rows: that the files have.
        recorded: labels that are new.
        unchanged: labels that were said before.
        imported: samples that are new.
        marks: that are new.
        problems: rows that were left out, or only taken in part, with the reason.
    """

    rows: int = 0
    recorded: int = 0
    unchanged: int = 0
    imported: int = 0
    marks: int = 0
    problems: list[SourceProblem] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    label: FileLabel
    data: bytes | None
    digest: str
    sample_id: str = ""


def take_labels(
    catalog: Catalog,
    lake: Lake,
    inspection: str,
    labels: Iterable[FileLabel | SourceProblem],
    *,
    who: str,
    source: str,
    keep_names: bool = True,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    split: SplitPolicy | None = None,
    checker: ImageChecker | None = None,
) -> Taken:
    """Record what files say.

    Args:
        catalog: The catalog.
        lake: For images and marks that are new.
        inspection: Its name.
        labels: From :func:`data.exports.formats.read_labels`.
        who: In whose name, where a file names nobody.
        source: Of the label events, such as ``import:coco``.
        keep_names: Whether the names in a file count; else all is said by `who`.
        clock: Aware time.
        split: Of samples whose side no file states.
        checker: Decoder to share; by default one is made and ended here.

    Raises:
        InspectionError: no such inspection.
        ExportError: a file is not of its form.
        BucketError: the bucket is away; what was recorded stays.
    """
    known = get_inspection(catalog, inspection)
    taken = Taken()
    with nullcontext(checker) if checker else ImageChecker() as own:
        taking = _Taking(catalog, lake, known, who, source, keep_names, clock, split or SplitPolicy(), own, taken)
        rest = iter(labels)
        while batch := list(islice(rest, _BATCH)):
            taking.batch(batch)
    return taken


class _Taking:
    def __init__(
        self,
        catalog: Catalog,
        lake: Lake,
        inspection: Inspection,
        who: str,
        source: str,
        keep_names: bool,
        clock: Callable[[], datetime],
        split: SplitPolicy,
        checker: ImageChecker,
        taken: Taken,
    ) -> None:
        self._catalog, self._lake, self._inspection = catalog, lake, inspection
        self._who, self._source, self._keep_names = who, source, keep_names
        self._clock, self._split, self._checker, self._taken = clock, split, checker, taken
        self._seen: dict[str, str] = {}  # sample id -> where it came first
        self._marked = lake.marked(inspection.name)

    def batch(self, items: list[FileLabel | SourceProblem]) -> None:
        rows = []
        for item in items:
            self._taken.rows += 1
            if isinstance(item, SourceProblem):
                self._taken.problems.append(item)
            elif (row := self._row(item)) is not None:
                rows.append(row)
        with self._catalog.reading() as session:
            found = self._found(session, rows)
        fresh = self._once([row for row in rows if row.digest and not self._id_of(row, found)], new=True)
        imported = self._import(fresh)
        there = self._once([r for row in rows if (r := self._matched(row, found))], new=False)
        self._record([*there, *imported])
        for row in [*there, *imported]:
            self._mark(row)

    def _row(self, item: FileLabel) -> _Row | None:
        """Check what needs no catalog; None after naming the problem."""
        unknown = [name for name in item.classes if name not in self._inspection.class_names]
        if unknown or not item.classes:
            has = list(self._inspection.class_names)
            return self._bad(
                item, f"class {unknown[0]!r} is unknown; the inspection has {has}" if unknown else "no class"
            )
        if item.at is not None and item.at > self._clock() + _AHEAD:
            return self._bad(item, f"was labelled at {item.at.isoformat()}, which is yet to come")
        if len(item.by) > _MOST_NAME:
            return self._bad(item, f"the name of who labelled it has {len(item.by)} characters, at most {_MOST_NAME}")
        if item.image is None:
            return (
                _Row(label=item, data=None, digest="") if item.sample_id else self._bad(item, "its image is not there")
            )
        data = read_image_file(item.image)
        if isinstance(data, str):
            return self._bad(item, data)
        return _Row(label=item, data=data, digest=hashlib.sha256(data).hexdigest())

    def _bad(self, item: FileLabel, reason: str) -> _Row | None:
        """Name a problem of a row; gives the None that stands for a row that is left out."""
        self._taken.problems.append(SourceProblem(path=item.where, reason=reason))
        return None

    def _found(self, session: Session, rows: list[_Row]) -> dict[str, tuple[str, str]]:
        """Of the catalog's samples: id -> (id, digest of the image), and digest -> the same."""
        ids = [row.label.sample_id for row in rows if row.label.sample_id]
        digests = [row.digest for row in rows if row.digest]
        of_ours = select(SampleRow.sample_id, SampleRow.image_sha256).where(
            SampleRow.inspection == self._inspection.name
        )
        found: dict[str, tuple[str, str]] = {}
        query = of_ours.where(SampleRow.image_sha256.in_(digests)).order_by(SampleRow.sample_id.desc())
        for sample_id, digest in session.execute(query):
            found[digest] = (sample_id, digest)
        for sample_id, digest in session.execute(of_ours.where(SampleRow.sample_id.in_(ids))):
            found[sample_id] = (sample_id, digest)
        return found

    def _id_of(self, row: _Row, found: dict[str, tuple[str, str]]) -> str:
        known = found.get(row.label.sample_id) or found.get(row.digest)
        return known[0] if known else ""

    def _matched(self, row: _Row, found: dict[str, tuple[str, str]]) -> _Row | None:
        """The row with its sample; None where it has none (then it is imported, or a problem)."""
        named = found.get(row.label.sample_id) if row.label.sample_id else None
        if named and row.digest and named[1] != row.digest:
            self._bad(row.label, f"the image beside it is not that of sample {named[0]}; which of the two is meant?")
            return None
        sample_id = self._id_of(row, found)
        if not sample_id and not row.digest:
            reason = f"sample {row.label.sample_id} is unknown, and there is no image of it to import"
            self._bad(row.label, reason)
        return replace(row, sample_id=sample_id) if sample_id else None

    def _once(self, rows: list[_Row], *, new: bool) -> list[_Row]:
        """Rule 3: a sample comes once."""
        kept = []
        for row in rows:
            sample_id = import_id(self._inspection.name, row.digest) if new else row.sample_id
            if sample_id in self._seen:
                self._bad(row.label, f"is the same sample as {self._seen[sample_id]}; keep one of the two")
                continue
            self._seen[sample_id] = row.label.where
            kept.append(replace(row, sample_id=sample_id))
        return kept

    def _import(self, rows: list[_Row]) -> list[_Row]:
        """Import images that are new. Returns the rows whose sample is there now."""
        if not rows:
            return []
        report = import_samples(
            self._catalog,
            self._lake,
            self._inspection.name,
            [self._source_of(row) for row in self._sided(rows)],
            who=self._who,
            clock=self._clock,
            split=self._split,
            checker=self._checker,
        )
        self._taken.imported += report.imported
        self._taken.problems += report.problems
        with self._catalog.reading() as session:
            ids = [row.sample_id for row in rows]
            there = set(session.scalars(select(SampleRow.sample_id).where(SampleRow.sample_id.in_(ids))))
        return [row for row in rows if row.sample_id in there]

    def _sided(self, rows: list[_Row]) -> Iterator[_Row]:
        """Rule 4."""
        named = {self._group(row) for row in rows} - {""}
        query = select(SampleRow.group, SampleRow.split).where(
            SampleRow.inspection == self._inspection.name, SampleRow.origin == "factory", SampleRow.group.in_(named)
        )
        with self._catalog.reading() as session:
            sides = {row.group: row.split for row in session.execute(query)}
        for row in rows:
            group, side = self._group(row), row.label.side
            if group and group in sides:
                if side and side != sides[group]:
                    reason = f"its group {group!r} is on the side {sides[group]}, and so is this one now, not {side}"
                    self._bad(row.label, reason)
                side = sides[group]
            elif group and side:
                sides[group] = side
            yield replace(row, label=replace(row.label, side=side))

    def _group(self, row: _Row) -> str:
        if row.label.group:
            return f"group:{clean_text(row.label.group)}"
        return f"part:{clean_text(row.label.part_id)}" if row.label.part_id else ""

    def _source_of(self, row: _Row) -> SourceSample:
        label = row.label
        assert label.image is not None
        assert row.data is not None
        return SourceSample(
            path=label.where,
            image=row.data,
            media_type=media_type_of(label.image) or "",
            group=label.group,
            part_id=label.part_id,
            station=label.station,
            time=label.captured_at,
            side=label.side,
        )

    def _record(self, rows: list[_Row]) -> None:
        """Rule 2."""
        now = self._clock()
        with self._catalog.session() as session:
            labels = current_labels_in(session, [row.sample_id for row in rows])
            events = {self._event_id(row): row for row in rows}
            query = select(LabelEventRow.event_id).where(LabelEventRow.event_id.in_(list(events)))
            before = set(session.scalars(query))
            for event_id, row in events.items():
                who = self._said_by(row.label)
                standing = labels[row.sample_id].opinions.get(who) if row.sample_id in labels else None
                if event_id in before or standing == row.label.classes:
                    self._taken.unchanged += 1
                    continue
                new = NewLabel(sample_id=row.sample_id, classes=row.label.classes, event_id=event_id)
                try:
                    record_labels_in(session, [new], who=who, at=row.label.at or now, source=self._source)
                except LabelError as error:
                    self._bad(row.label, str(error))
                else:
                    self._taken.recorded += 1

    def _event_id(self, row: _Row) -> str:
        label = row.label
        said = label.at.astimezone(UTC).isoformat() if label.at and self._keep_names else ""
        words = "\0".join((self._inspection.name, row.sample_id, self._said_by(label), *label.classes, said))
        return f"import:{uuid5(NAMESPACE_URL, words)}"

    def _said_by(self, label: FileLabel) -> str:
        return clean_text(label.by) if label.by and self._keep_names else self._who

    def _mark(self, row: _Row) -> None:
        """Rule 5."""
        defect = row.label.defect
        if defect is None or not defect.any():
            return
        with self._catalog.reading() as session:
            sample = session.get_one(SampleRow, row.sample_id)
        if sample.image_sha256 in self._marked:
            return
        if (sample.height, sample.width) != defect.shape:
            height, width = defect.shape
            self._bad(
                row.label, f"its mark is {width} x {height}, the image {sample.width} x {sample.height}: not taken"
            )
            return
        self._lake.put_mark(self._inspection.name, sample.image_sha256, png_of_mask(defect))
        self._marked.add(sample.image_sha256)
        self._taken.marks += 1
