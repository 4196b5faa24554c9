"""What belongs to a part or a sample, and what of it is not in the lake: events and outcomes that name the part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, update

from data.catalog import Catalog
from data.catalog.models import (
    DrawItemRow,
    EventRow,
    GateDecisionRow,
    InspectionRow,
    LabelEventRow,
    OutcomeRow,
    SampleRow,
    SignedDocumentRow,
)
from data.erasure.frozen import snapshots_with
from data.erasure.jobs import Erasure, note
from data.erasure.left import facts_of
from data.lake import Lake

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What would be erased.

    Attributes:
        samples: What must be known of each; those that are erased already are not among them.
        labelled: How many of them have a label: the label stays as a number.
        estimated: How many of them estimates rest on: their numbers stay.
        snapshots: Inspection → snapshot → rows.
        models: Inspection → versions that were trained on, or judged by, such a snapshot.
        documents: Signed documents for devices that name one of the samples.
    """

    samples: tuple[Mapping[str, Any], ...]
    image_bytes: int = 0
    labelled: int = 0
    estimated: int = 0
    events: int = 0
    outcomes: int = 0
    snapshots: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    documents: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to erase."""
        return not (self.samples or self.events or self.outcomes)

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the samples."""
        return [str(sample["sample_id"]) for sample in self.samples]

    @property
    def by_inspection(self) -> dict[str, list[str]]:
        """Ids of the samples by inspection."""
        found: dict[str, list[str]] = defaultdict(list)
        for sample in self.samples:
            found[str(sample["inspection"])].append(str(sample["sample_id"]))
        return dict(found)


def belongings_of(catalog: Catalog, lake: Lake, *, part_id: str = "", sample_ids: Sequence[str] = ()) -> Belongings:
    """Look up what belongs to a part, or to single samples."""
    with catalog.reading() as session:
        query = select(SampleRow).where(SampleRow.erased_at.is_(None)).order_by(SampleRow.sample_id)
        rows: list[SampleRow] = []
        if part_id:
            for name in session.scalars(select(InspectionRow.name)).all():  # the index begins with it
                rows += session.scalars(query.where(SampleRow.inspection == name, SampleRow.part_id == part_id))
        else:
            for start in range(0, len(sample_ids), _BATCH):
                rows += session.scalars(query.where(SampleRow.sample_id.in_(sample_ids[start : start + _BATCH])))
        ids = [row.sample_id for row in rows]
        labelled = sum(
            session.scalar(
                select(func.count(func.distinct(LabelEventRow.sample_id))).where(
                    LabelEventRow.sample_id.in_(ids[start : start + _BATCH])
                )
            )
            or 0
            for start in range(0, len(ids), _BATCH)
        )
        estimated = sum(
            session.scalar(
                select(func.count()).where(
                    DrawItemRow.sample_id.in_(ids[start : start + _BATCH]), DrawItemRow.extra.is_(False)
                )
            )
            or 0
            for start in range(0, len(ids), _BATCH)
        )
        named = [
            session.scalar(select(func.count()).select_from(table).where(table.part_id == part_id)) or 0
            if part_id
            else 0
            for table in (EventRow, OutcomeRow)
        ]
        documents = {
            f"{document.path} version {document.version}"
            for document in session.scalars(select(SignedDocumentRow))
            if any(sample_id in document.content for sample_id in ids)
        }
        found = Belongings(
            samples=tuple(facts_of(row) for row in rows),
            image_bytes=sum(row.image_bytes for row in rows),
            labelled=labelled,
            estimated=estimated,
            events=named[0],
            outcomes=named[1],
            documents=tuple(sorted(documents)),
        )
    snapshots = {
        name: held for name, some in found.by_inspection.items() if (held := snapshots_with(catalog, lake, name, some))
    }
    learnt = {name: models_of(catalog, list(held)) for name, held in snapshots.items()}
    models = {name: versions for name, versions in learnt.items() if versions}
    return Belongings(
        **{slot: getattr(found, slot) for slot in Belongings.__slots__ if slot not in ("snapshots", "models")},
        snapshots=snapshots,
        models=models,
    )


def models_of(catalog: Catalog, snapshot_ids: Sequence[str]) -> tuple[str, ...]:
    """Versions of models that were trained on some snapshots, by number."""
    with catalog.reading() as session:
        query = select(GateDecisionRow.version).where(GateDecisionRow.snapshot_id.in_(snapshot_ids)).distinct()
        return tuple(sorted(session.scalars(query), key=lambda number: (len(number), number)))


def rename_part(catalog: Catalog, erasure: Erasure, part_id: str) -> None:
    """Give a part's events and outcomes its pseudonym: what became of it still counts, of which it was is gone."""
    with catalog.session() as session:
        changed = {}
        for name, table, more in (("events", EventRow, {"reason": None}), ("outcomes", OutcomeRow, {})):
            done = session.execute(
                update(table).where(table.part_id == part_id).values(part_id=erasure.pseudonym, **more)
            )
            changed[name] = int(done.rowcount)  # type: ignore[attr-defined]
        note(session, erasure, changed)
