"""Import of a labelled archive: images into the lake, samples and labels into the catalog.

1. A sample's id follows from the inspection and the image's SHA-256: the same image is imported once, whatever its
   name, and an import that was interrupted is simply run again.
2. An image that is not readable, or whose label the inspection does not know, is reported and left out. A source that
   knows its classes beforehand and has one that the inspection lacks is refused before anything is written.
3. An image that comes twice with different labels, or is in the catalog with another one, keeps the first; it is
   reported. Labels are changed by people, in the console, where it leaves a trace.
4. Without a group or a part id an image is its own group.
5. Batch by batch: first the lake, then one transaction with the samples and their label events.
6. A defect's mark goes to the lake, also for an image that the catalog has. One that is no PNG as large as its image is
   reported, and the sample imported without it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.decode import ImageChecker, ImageSize
from data.inspections import Inspection, get_inspection
from data.labels import LabelError, NewLabel, current_labels_in, record_labels_in
from data.lake import FILE_BYTES, FILE_ROWS, Lake, LakeLocation, LakeRow
from data.policy import SplitPolicy
from data.quarantine import clean_text
from data.sources.sample import SourceProblem, SourceSample, Stage
from data.split import side_of
from edge_client.contract.errors import BadImage

_BATCH_IDS = 500


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        found: items the source yielded.
        imported: samples that are new in the catalog, by class in `classes`.
        already: images that the catalog (or this very source, under another name) had.
        other_stage: samples of another stage than was asked for.
        problems: items left out, with the reason.
        ignored: files that the source itself left out on purpose.
        bytes: of the imported images.
        marks: defects whose pixels are known.
    """

    found: int = 0
    imported: int = 0
    already: int = 0
    other_stage: int = 0
    problems: list[SourceProblem] = field(default_factory=list)
    ignored: tuple[SourceProblem, ...] = ()
    classes: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    marks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    sample_id: str
    image_sha256: str
    source: SourceSample
    size: ImageSize
    mark_problem: str = ""

    @property
    def mark(self) -> bytes | None:
        """The mark that can be used."""
        return None if self.mark_problem else self.source.mark


def import_samples(
    catalog: Catalog,
    lake: Lake,
    inspection: str,
    samples: Iterable[SourceSample | SourceProblem],
    origin: str = "factory",
    stage: Stage | None = Stage.FACTORY,
    *,
    who: str = "archive",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    split: SplitPolicy | None = None,
    checker: ImageChecker | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Import what a source yields.

    Args:
        catalog: the catalog.
        lake: the lake.
        inspection: its name; it must exist.
        samples: a source, or any items of one.
        origin: `factory` or `field`.
        stage: only samples of this stage; None: all.
        who: in whose name the labels are recorded.
        clock: aware time, for samples whose time is not known.
        split: salt and shares of the group split.
        checker: decoder to share; by default one is made and ended here.
        progress: called with the number of items seen, after each batch.

    Raises:
        InspectionError: no such inspection.
        LabelError: the source has a class that the inspection lacks.
    """
    known = get_inspection(catalog, inspection)
    _check_classes(known, tuple(getattr(samples, "classes", ())))
    report = ImportReport(ignored=tuple(getattr(samples, "ignored", ())))
    own = checker or ImageChecker()
    writer = _Writer(catalog, lake, known, origin, who, clock, split or SplitPolicy(), report)
    labels: dict[str, str | None] = {}
    batch: list[_Checked] = []
    size = 0
    try:
        for item in samples:
            report.found += 1
            if isinstance(item, SourceProblem):
                report.problems.append(item)
                continue
            if stage is not None and item.stage is not stage:
                report.other_stage += 1
                continue
            checked = _check(item, known, own)
            if isinstance(checked, SourceProblem):
                report.problems.append(checked)
                continue
            if checked.sample_id in labels:
                _note_twin(report, item, labels[checked.sample_id])
                continue
            if checked.mark_problem:
                report.problems.append(SourceProblem(path=item.path, reason=checked.mark_problem))
            labels[checked.sample_id] = item.label
            if batch and (len(batch) >= FILE_ROWS or size + len(item.image) > FILE_BYTES):
                writer.write(batch)
                batch, size = [], 0
                if progress is not None:
                    progress(report.found)
            batch.append(checked)
            size += len(item.image)
        writer.write(batch)
        if progress is not None:
            progress(report.found)
    finally:
        if checker is None:
            own.close()
    return report


def import_id(inspection: str, image_sha256: str) -> str:
    """Rule 1: the sample id of an imported image."""
    return hashlib.sha256(f"andon import\0{inspection}\0{image_sha256}".encode()).hexdigest()[:32]


def _check_classes(inspection: Inspection, classes: tuple[str, ...]) -> None:
    unknown = sorted(set(classes) - set(inspection.class_names))
    if unknown:
        raise LabelError(
            f"the source has class {', '.join(map(repr, unknown))}, inspection {inspection.name!r} has "
            f"{list(inspection.class_names)}; add the class to the inspection, or correct the labels"
        )


def _check(item: SourceSample, inspection: Inspection, checker: ImageChecker) -> _Checked | SourceProblem:
    if item.label is not None and item.label not in inspection.class_names:
        return SourceProblem(
            path=item.path, reason=f"label {item.label!r} is unknown, expected one of {list(inspection.class_names)}"
        )
    bounds = (("station", item.station, 63), ("part id", item.part_id, 256), ("group", item.group, 256))
    for what, value, most in bounds:
        if value is not None and len(value) > most:
            return SourceProblem(path=item.path, reason=f"{what} has {len(value)} characters, at most {most} are kept")
    try:
        size = checker.check(item.image, item.media_type)
    except BadImage as error:
        return SourceProblem(path=item.path, reason=str(error))
    digest = hashlib.sha256(item.image).hexdigest()
    return _Checked(
        sample_id=import_id(inspection.name, digest),
        image_sha256=digest,
        source=item,
        size=size,
        mark_problem=_check_mark(item.mark, size, checker),
    )


def _check_mark(mark: bytes | None, image: ImageSize, checker: ImageChecker) -> str:
    """What is wrong with a mark; "" for nothing."""
    if mark is None:
        return ""
    try:
        found = checker.check(mark, "image/png")
    except BadImage as error:
        return f"its mark cannot be used ({error}); the image is imported without it"
    if (found.width, found.height) == (image.width, image.height):
        return ""
    return (
        f"its mark is {found.width} x {found.height}, the image {image.width} x {image.height}: expected the same; "
        "the image is imported without it"
    )


def _note_twin(report: ImportReport, item: SourceSample, first: str | None) -> None:
    if item.label is not None and first is not None and item.label != first:
        report.problems.append(
            SourceProblem(path=item.path, reason=f"the same image came before as {first!r}, here it is {item.label!r}")
        )
    else:
        report.already += 1


@dataclass(frozen=True, slots=True)
class _Writer:
    catalog: Catalog
    lake: Lake
    inspection: Inspection
    origin: str
    who: str
    clock: Callable[[], datetime]
    split: SplitPolicy
    report: ImportReport

    def write(self, batch: list[_Checked]) -> None:
        """Store one batch: what the catalog has is left alone, the rest goes to the lake, then into the catalog."""
        known = self._known(batch)
        fresh = [checked for checked in batch if checked.sample_id not in known]
        for checked in batch:
            if checked.sample_id in known:
                _note_twin(self.report, checked.source, known[checked.sample_id])
        at = self.clock()
        rows = [LakeRow(sample_id=c.sample_id, image=c.source.image, media_type=c.source.media_type) for c in fresh]
        locations = self.lake.append(self.inspection.name, at.date(), rows)
        try:
            added = self._add(fresh, locations, at)
        except IntegrityError:  # another import ran at the same time: now its rows are seen
            added = self._add(fresh, locations, at)
        for checked in batch:
            if checked.mark is not None:
                self.lake.put_mark(self.inspection.name, checked.image_sha256, checked.mark)
                self.report.marks += 1
        self.report.already += len(fresh) - len(added)
        self.report.imported += len(added)
        for checked in added:
            self.report.bytes += len(checked.source.image)
            self.report.classes[checked.source.label or ""] += 1

    def _known(self, batch: list[_Checked]) -> dict[str, str | None]:
        """Sample id -> its current label (the first class), for those that the catalog has."""
        with self.catalog.reading() as session:
            ids = _existing(session, [checked.sample_id for checked in batch])
            labels = current_labels_in(session, ids)
        return {i: labels[i].classes[0] if i in labels else None for i in ids}

    def _add(self, fresh: list[_Checked], locations: list[LakeLocation], at: datetime) -> list[_Checked]:
        with self.catalog.session() as session:
            there = _existing(session, [checked.sample_id for checked in fresh])
            added = [c for c in fresh if c.sample_id not in there]
            places = {c.sample_id: location for c, location in zip(fresh, locations, strict=True)}
            session.add_all(self._row(checked, places[checked.sample_id], at) for checked in added)
            session.flush()
            labels = [
                NewLabel(sample_id=c.sample_id, classes=[c.source.label], event_id=f"import:{c.sample_id}")
                for c in added
                if c.source.label is not None
            ]
            record_labels_in(session, labels, who=self.who, at=at, source="import")
        return added

    def _row(self, checked: _Checked, location: LakeLocation, at: datetime) -> SampleRow:
        source = checked.source
        group = _group(checked)
        return SampleRow(
            sample_id=checked.sample_id,
            inspection=self.inspection.name,
            origin=self.origin,
            station=clean_text(source.station) if source.station else None,
            image_sha256=checked.image_sha256,
            lake_path=location.path,
            lake_row=location.row,
            media_type=source.media_type,
            image_bytes=len(source.image),
            width=checked.size.width,
            height=checked.size.height,
            counted=False,
            reasons={},
            part_id=clean_text(source.part_id) if source.part_id else None,
            group=group,
            split=source.side or side_of(group, inspection=self.inspection.name, origin=self.origin, policy=self.split),
            stage=source.stage.value,
            source_path=clean_text(source.path),
            captured_at=source.time or at,
            ingested_at=at,
            classes=[],
            probabilities=[],
            context={},
        )


def _group(checked: _Checked) -> str:
    source = checked.source
    if source.group:
        return f"group:{clean_text(source.group)}"
    if source.part_id:
        return f"part:{clean_text(source.part_id)}"
    return f"image:{checked.image_sha256[:32]}"


def _existing(session: Session, ids: list[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), _BATCH_IDS):
        query = select(SampleRow.sample_id).where(SampleRow.sample_id.in_(ids[start : start + _BATCH_IDS]))
        found.update(session.scalars(query))
    return found
