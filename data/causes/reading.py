"""From the catalog to the analysis. The thin shell: reads, and hands over.

1. Labels count with p = p₁·p₂, exactly as in :func:`data.estimates.field_sample`: only draws that were answered, scaled
   for what nobody could answer. All captured frames that these draws were offered are read, since what the engine
   thought of them helps. Extras (flags, campaigns, spare bytes) have no probability and are left out.
2. An outcome is told of a part whether or not a frame of it was captured: the newest one of a part and stage counts,
   with weight 1. The statement is about parts whose outcome was reported.
3. Context at any station, of any inspection, is joined by part id. Only captured frames carry it, so each recording
   counts with its own 1/p₁. Without a part id a frame has only its own context: joining by time alone is not tried.
4. A frame whose context names its ``station`` (one device watching several) was seen there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, DrawRow, InspectionRow, OutcomeRow, SampleRow, WindowRow
from data.causes.analysis import Settings, analyse
from data.causes.findings import ANY_DEFECT, OUTCOMES, OUTCOMES_AT, Causes
from data.causes.join import LONGEST_NAME, MOST_FRAMES, MOST_UNITS
from data.causes.values import Context, Population, Sighting, Truth
from data.estimates import field_sample
from data.field_sample import FieldSample
from data.inspections import Inspection

_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds
_MOST_FRAMES = 4 * MOST_UNITS  # a part may have several
_MOST_STAGES = 4
_MOST_OUTCOMES = 4  # values of a stage that are targets
_RECORDED = (
    SampleRow.sample_id,
    SampleRow.part_id,
    SampleRow.captured_at,
    SampleRow.station,
    SampleRow.device,
    SampleRow.epoch,
    SampleRow.run,
    SampleRow.run_length,
    SampleRow.p1,
    SampleRow.context,
)


def find_causes(
    catalog: Catalog,
    inspection: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    station: str | None = None,
    settings: Settings | None = None,
) -> Causes:
    """Which variables of the process go with which defects of an inspection.

    Args:
        catalog: The catalog.
        inspection: Its name.
        since: Only windows opened, and outcomes reported, at or after.
        until: Only those before.
        station: Only labels of frames seen there; default every station of the inspection.
        settings: How to look.

    Raises:
        InspectionError: Unknown inspection.
    """
    sample = field_sample(catalog, inspection, since=since, until=until)
    with catalog.reading() as session:
        labelled = _captured(session, sample, station, since, until)
        populations = [labelled, *(_outcomes(session, inspection, since, until) if station is None else ())]
        parts = {truth.part for population in populations for truth in population.truths if truth.part}
        sightings = list(_sightings(session, parts))
    return analyse(inspection, [p for p in populations if p.truths], sightings, settings)


def _captured(
    session: Session, sample: FieldSample, station: str | None, since: datetime | None, until: datetime | None
) -> Population:
    """What the draws were offered that the labels of a field sample are from."""
    labels = {item.sample_id: item for item in sample.samples}
    defects = sample.inspection.defect_names
    truths = []
    for row in _offered(session, _draws_of(session, sample.inspection.name, list(labels)), since, until):
        seen_at = _station(row.context, row.station)
        if station is not None and seen_at != station:
            continue
        p1, label = row.p1 or 1.0, labels.get(row.sample_id)
        holds = {name for name in label.label if name in defects} if label else set()
        guess = {name: float(p) for name, p in zip(row.classes, row.probabilities, strict=False) if name in defects}
        truths.append(
            Truth(
                part=row.part_id or None,
                at=row.captured_at,
                station=seen_at,
                device=row.device or "",
                engine=row.engine_id or "",
                weight=1 / (p1 * max(1, row.run_length or 1)),
                known=p1 / label.p if label else 0.0,
                holds=frozenset(holds | {ANY_DEFECT} if holds else holds),
                guess={**guess, ANY_DEFECT: min(1.0, sum(guess.values()))},
                context=row.context,
            )
        )
    return Population(name="labels", targets=_targets(sample.inspection), truths=tuple(truths))


def _draws_of(session: Session, inspection: str, labelled: Sequence[str]) -> list[str]:
    """The draws that took these samples, the newest ones."""
    draws: set[str] = set()
    for start in range(0, len(labelled), _BATCH):
        taken = DrawItemRow.sample_id.in_(labelled[start : start + _BATCH])
        draws.update(session.scalars(select(DrawItemRow.draw_id).distinct().where(taken, ~DrawItemRow.extra)))
    newest = session.scalars(select(DrawRow.id).where(DrawRow.inspection == inspection).order_by(DrawRow.at.desc()))
    return [draw for draw in newest if draw in draws][:_BATCH]


def _offered(session: Session, draws: Sequence[str], since: datetime | None, until: datetime | None) -> Iterator[Any]:
    """The newest frames that some draws were offered, of windows opened in the time that is asked for."""
    query = (
        select(*_RECORDED, SampleRow.engine_id, SampleRow.classes, SampleRow.probabilities)
        .join(DrawItemRow, DrawItemRow.sample_id == SampleRow.sample_id)
        .join(
            WindowRow,
            (WindowRow.device == SampleRow.device)
            & (WindowRow.epoch == SampleRow.epoch)
            & (WindowRow.window == SampleRow.window),
        )
        .where(~DrawItemRow.extra)
        .order_by(SampleRow.captured_at.desc(), SampleRow.sample_id)
        .limit(_MOST_FRAMES)
    )
    if since is not None:
        query = query.where(WindowRow.opened_at >= since)
    if until is not None:
        query = query.where(WindowRow.opened_at < until)
    return iter(session.execute(query.where(DrawItemRow.draw_id.in_(draws))))


def _targets(inspection: Inspection) -> tuple[str, ...]:
    names = tuple(name for name in inspection.class_names if name in inspection.defect_names)
    return (*names, ANY_DEFECT) if len(names) > 1 else names


def _outcomes(
    session: Session, inspection: str, since: datetime | None, until: datetime | None
) -> Iterator[Population]:
    """A population for each stage; the stage's most frequent value is what the others are compared with."""
    query = select(OutcomeRow).where(OutcomeRow.inspection == inspection)
    if since is not None:
        query = query.where(OutcomeRow.at >= since)
    if until is not None:
        query = query.where(OutcomeRow.at < until)
    query = query.order_by(OutcomeRow.at.desc(), OutcomeRow.event_id).limit(MOST_UNITS * 2)
    newest: dict[str, dict[str, OutcomeRow]] = defaultdict(dict)
    for row in session.scalars(query):
        newest[row.stage or ""].setdefault(row.part_id, row)
    for stage in sorted(newest, key=lambda name: (-len(newest[name]), name))[:_MOST_STAGES]:
        counts = Counter(row.value for row in newest[stage].values())
        frequent = sorted(counts, key=lambda value: (-counts[value], value))
        targets = tuple(value[:LONGEST_NAME] for value in frequent[1 : 1 + _MOST_OUTCOMES])
        if targets:
            yield Population(
                name=f"{OUTCOMES_AT}{stage[:LONGEST_NAME]}" if stage else OUTCOMES,
                targets=tuple(dict.fromkeys(targets)),
                truths=tuple(
                    Truth(part=row.part_id, at=row.at, holds=frozenset({row.value[:LONGEST_NAME]} & set(targets)))
                    for row in newest[stage].values()
                ),
            )


def _sightings(session: Session, parts: Iterable[str]) -> Iterator[Sighting]:
    kept: Counter[tuple[str, str]] = Counter()
    wanted = sorted(parts)
    inspections = list(session.scalars(select(InspectionRow.name)))  # the index begins with the inspection
    for start in range(0, len(wanted), _BATCH):
        query = (
            select(*_RECORDED)
            .where(
                SampleRow.inspection.in_(inspections),
                SampleRow.part_id.in_(wanted[start : start + _BATCH]),
                SampleRow.p1.is_not(None),
            )
            .order_by(SampleRow.captured_at.desc(), SampleRow.sample_id)
        )
        for row in session.execute(query):
            station = _station(row.context, row.station)
            kept[row.part_id, station] += 1
            if not row.context or kept[row.part_id, station] > MOST_FRAMES:
                continue  # the last: one part that is sent again and again
            yield Sighting(
                part=row.part_id,
                at=row.captured_at,
                station=station,
                device=row.device or "",
                visit=row.sample_id if row.run is None else (row.device, row.epoch, row.run),
                weight=1 / (row.p1 * max(1, row.run_length or 1)),
                context=row.context,
            )


def _station(context: Context, station: str | None) -> str:
    named = context.get("station")
    return named[:LONGEST_NAME] if isinstance(named, str) and named else station or ""
