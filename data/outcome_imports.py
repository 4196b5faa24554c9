"""Outcomes from a factory's own records: an end-of-line tester, a returns desk, a scrap list.

1. A row names a part, what was found of it, at which stage, and when. Rows are joined to captured frames as those that
   devices report (:mod:`data.outcomes`).
2. The same row twice, in one file or in another, is one outcome: its id follows from what it says.
3. A file is taken over as a whole or not at all.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import OutcomeRow, SampleRow
from data.inspections import Inspection, inspection_in
from data.outcomes import read_outcome
from data.policy import OutcomePolicy
from edge_client.contract.errors import AndonError

COLUMNS = ("part_id", "outcome", "stage", "at")
_BATCH = 400
_LONGEST = {"part_id": 256, "outcome": 512, "stage": 128}


class OutcomeFileError(AndonError):
    """A file of outcomes cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedOutcome:
    """One row."""

    part_id: str
    value: str
    stage: str
    at: datetime

    def event_id(self, inspection: str) -> str:
        """Follows from what it says (rule 2)."""
        told = "\n".join([inspection, self.part_id, self.value, self.stage, self.at.astimezone(UTC).isoformat()])
        return str(uuid5(NAMESPACE_URL, f"andon:outcome:{told}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeImport:
    """What came of a file.

    Attributes:
        rows: In it.
        new: Outcomes that were not known.
        of_captured_parts: Of all rows, those whose part has a captured frame from before it was reported.
        unread: Values that say nothing by the policy, and how often.
    """

    rows: int
    new: int
    of_captured_parts: int
    unread: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "unread": dict(self.unread)}


def read_outcomes(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    stage: str = "",
    zone: tzinfo = UTC,
) -> list[ImportedOutcome]:
    """Read a CSV file with the columns part_id, outcome and at, and perhaps stage.

    Args:
        path: The file, UTF-8, with a header.
        columns: Name here → its name in the file, where it is another.
        stage: For rows that name none.
        zone: Of instants without one.

    Raises:
        OutcomeFileError: No such file, a missing column, or a row that cannot be read; the message names its line.
    """
    named = {name: (columns or {}).get(name, name) for name in COLUMNS}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            missing = [named[name] for name in ("part_id", "outcome", "at") if named[name] not in header]
            if missing:
                raise OutcomeFileError(
                    f"{path}: column {', '.join(missing)} is missing, found {', '.join(header) or 'no header'}; "
                    "name it with --column, such as --column at=tested_on"
                )
            found = [_read(row, named, stage, zone, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OutcomeFileError(f"{path} cannot be read: {error}") from error
    if not found:
        raise OutcomeFileError(f"{path}: no line after the header, expected one for each outcome")
    return found


def import_outcomes(
    catalog: Catalog, inspection: str, outcomes: Sequence[ImportedOutcome], policy: OutcomePolicy, *, at: datetime
) -> OutcomeImport:
    """Take outcomes over (rules 2 and 3).

    Args:
        catalog: Where to.
        inspection: Of what they are outcomes.
        outcomes: Of :func:`read_outcomes`.
        policy: What their values mean.
        at: Now.

    Raises:
        InspectionError: unknown inspection.
    """
    by_id = {outcome.event_id(inspection): outcome for outcome in outcomes}
    with catalog.session() as session:
        info = inspection_in(session, inspection)
        known = _known(session, by_id)
        for event_id, outcome in by_id.items():
            if event_id not in known:
                session.add(
                    OutcomeRow(
                        event_id=event_id,
                        device=None,
                        inspection=inspection,
                        part_id=outcome.part_id,
                        value=outcome.value,
                        stage=outcome.stage or None,
                        at=outcome.at,
                        ingested_at=at,
                    )
                )
        captured = _captured(session, inspection, {outcome.part_id for outcome in outcomes})
    return OutcomeImport(
        rows=len(outcomes),
        new=len(by_id) - len(known),
        of_captured_parts=sum(1 for each in outcomes if captured.get(each.part_id, each.at) < each.at),
        unread=_unread(outcomes, info, policy),
    )


def _read(
    row: Mapping[str, str | None], named: Mapping[str, str], stage: str, zone: tzinfo, where: str
) -> ImportedOutcome:
    told = {name: (row.get(named[name]) or "").strip() for name in COLUMNS}
    for name in ("part_id", "outcome", "at"):
        if not told[name]:
            raise OutcomeFileError(f"{where}: {named[name]} is empty; complete or delete the line")
    told["stage"] = told["stage"] or stage
    for name, most in _LONGEST.items():
        if len(told[name]) > most or "\0" in told[name]:
            raise OutcomeFileError(
                f"{where}: {named[name]} has {len(told[name])} characters; expected at most {most}, none of them NUL"
            )
    try:
        at = datetime.fromisoformat(told["at"])
    except ValueError:
        raise OutcomeFileError(
            f"{where}: {named['at']} is {told['at']!r}; expected an instant such as 2030-05-06T07:08:09"
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=zone)
    return ImportedOutcome(part_id=told["part_id"], value=told["outcome"], stage=told["stage"], at=at.astimezone(UTC))


def _batches(values: Collection[str]) -> Iterator[list[str]]:
    wanted = sorted(values)
    for start in range(0, len(wanted), _BATCH):
        yield wanted[start : start + _BATCH]


def _known(session: Session, ids: Collection[str]) -> set[str]:
    found: set[str] = set()
    for batch in _batches(ids):
        found.update(session.scalars(select(OutcomeRow.event_id).where(OutcomeRow.event_id.in_(batch))))
    return found


def _captured(session: Session, inspection: str, parts: Collection[str]) -> dict[str, datetime]:
    """Part → its first captured frame."""
    found: dict[str, datetime] = {}
    for batch in _batches(parts):
        query = (
            select(SampleRow.part_id, func.min(SampleRow.captured_at))
            .where(SampleRow.inspection == inspection, SampleRow.part_id.in_(batch))
            .group_by(SampleRow.part_id)
        )
        found.update({part: first for part, first in session.execute(query) if part is not None})
    return found


def _unread(outcomes: Sequence[ImportedOutcome], info: Inspection, policy: OutcomePolicy) -> dict[str, int]:
    counts = Counter(outcome.value for outcome in outcomes)
    return {value: n for value, n in sorted(counts.items()) if read_outcome(value, info, policy) is None}
