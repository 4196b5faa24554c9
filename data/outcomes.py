"""Outcomes reported later as truth: which of them count, for which samples, and where they contradict people.

1. An outcome says defect or ok by policy (`[outcomes]`); a value that names a class of the inspection says that class.
   Any other value says nothing.
2. It is joined to a sample by part id: the first outcome of a stage that was reported at or after the capture, since a
   part that comes again after a repair has a later outcome of its own.
3. Only stages that together report EVERY part (`every_part_stages`) can count: then the outcomes of a window's captured
   samples are a census of them, and a sample's probability is that of its capture alone. Of several such stages the
   policy's first that reported the part speaks. A window counts in this way once `least_reported` of its captured
   samples have such an outcome or a label, AND as many of those of each verdict: where rejected parts never
   reach the end of the line, the parts that do are no census. What the few others would have said is non-response.
4. Any other stage (returns, complaints) reports parts BECAUSE something was found. Such outcomes are selected, not
   drawn: no estimate uses them. They are shown where they contradict what was thought of the part.
5. A person's label is never overridden: where there is one it counts, and the contradiction is shown and offered for
   a second look (:mod:`data.label_reviews`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog.models import OutcomeRow, SampleRow
from data.current_labels import CurrentLabel
from data.inspections import Inspection
from data.policy import OutcomePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTruth:
    """What an outcome says of a sample's part.

    Attributes:
        classes: The class that it names or that alone can be meant; empty if it says no more than defect or ok.
        at: When it was found.
        known_at: When it came here.
        every_part: Whether its stage reports every part (rule 3).
    """

    defect: bool
    classes: tuple[str, ...]
    part_id: str
    value: str
    stage: str
    at: datetime
    known_at: datetime
    every_part: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """A part of which two sources say different things.

    Attributes:
        first: ``who`` of the label, or the stage of the outcome, that counts.
        first_defect: What it says.
        stage: The stage of the other outcome, which says the opposite.
        known_at: When that one came here.
    """

    sample_id: str
    part_id: str
    first: str
    first_defect: bool
    stage: str
    value: str
    known_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """The outcomes of an inspection's captured samples.

    Attributes:
        by_sample: Sample id → stage → truth.
        stages: Stages that count, in the policy's order.
        least_reported: Of a window's samples (rule 3).
        unread: Outcomes that say nothing by the policy, by value.
        selected: Samples whose outcome comes only from stages that report some parts (rule 4).
    """

    by_sample: Mapping[str, Mapping[str, ReportedTruth]]
    stages: tuple[str, ...]
    least_reported: float
    unread: Mapping[str, int]
    selected: int

    def of(self, sample_id: str) -> ReportedTruth | None:
        """The outcome that counts for a sample (rule 3)."""
        by_stage = self.by_sample.get(sample_id, {})
        return next((by_stage[stage] for stage in self.stages if stage in by_stage), None)

    def suffice(self, captured: Sequence[tuple[str, str | None]], labelled: Collection[str]) -> bool:
        """Whether enough of a window's captured samples, (sample id, verdict), are known (rule 3).

        Args:
            captured: Those that count for estimates.
            labelled: Ids of samples whose label stands.
        """
        if not self.stages or not any(self.of(sample_id) for sample_id, _ in captured):
            return False
        asked, known = Counter(verdict for _, verdict in captured), Counter[str | None]()
        for sample_id, verdict in captured:
            known[verdict] += sample_id in labelled or self.of(sample_id) is not None
        return all(known[verdict] >= self.least_reported * n for verdict, n in asked.items())


NO_OUTCOMES = Outcomes(by_sample={}, stages=(), least_reported=1.0, unread={}, selected=0)


def read_outcome(value: str, info: Inspection, policy: OutcomePolicy) -> tuple[bool, tuple[str, ...]] | None:
    """Whether a value says defect, and the classes it names (rule 1); None if it says nothing.

    >>> from edge_client.contract.engine_metadata import ClassInfo, Kind
    >>> classes = ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="crack", kind=Kind.DEFECT)
    >>> info = Inspection(name="x", classes=classes)
    >>> [read_outcome(value, info, OutcomePolicy()) for value in ("Failed", "crack", "passed", "reworked")]
    [(True, ('crack',)), (True, ('crack',)), (False, ('ok',)), None]
    """
    told = value.strip().casefold()
    for name in info.class_names:
        if name.casefold() == told:
            return name in info.defect_names, (name,)
    for words, defect in ((policy.defect_values, True), (policy.ok_values, False)):
        if told in _listed(words):
            meant = [name for name in info.class_names if (name in info.defect_names) == defect]
            return defect, tuple(meant) if len(meant) == 1 else ()
    return None


def outcomes_in(session: Session, info: Inspection, policy: OutcomePolicy, *conditions: Any) -> Outcomes:
    """Join the outcomes of an inspection to its captured samples, all or those of some conditions (rules 1 and 2)."""
    # Origin and time are looked at here: with them in the query SQLite finds the samples by these, not by their part.
    pairs = session.execute(
        select(SampleRow.sample_id, SampleRow.origin, SampleRow.captured_at, OutcomeRow)
        .join(
            OutcomeRow,
            (OutcomeRow.inspection == SampleRow.inspection) & (OutcomeRow.part_id == SampleRow.part_id),
        )
        .where(SampleRow.inspection == info.name, *conditions)
        .order_by(OutcomeRow.at, OutcomeRow.event_id)
    ).all()
    every_part = tuple(_listed(policy.every_part_stages))
    found: dict[str, dict[str, ReportedTruth]] = defaultdict(dict)
    unread: dict[str, int] = defaultdict(int)
    for sample_id, origin, captured_at, row in pairs:
        if origin != "field" or row.at < captured_at:
            continue
        stage = (row.stage or "").strip().casefold()
        if stage in found[sample_id]:
            continue
        said = read_outcome(row.value, info, policy)
        if said is None:
            unread[row.value] += 1
            continue
        found[sample_id][stage] = ReportedTruth(
            defect=said[0],
            classes=said[1],
            part_id=row.part_id,
            value=row.value,
            stage=stage,
            at=row.at,
            known_at=row.ingested_at,
            every_part=stage in every_part,
        )
    by_sample = {sample_id: by_stage for sample_id, by_stage in found.items() if by_stage}
    return Outcomes(
        by_sample=by_sample,
        stages=every_part,
        least_reported=policy.least_reported,
        unread=dict(unread),
        selected=sum(1 for by_stage in by_sample.values() if not any(t.every_part for t in by_stage.values())),
    )


def contradictions(info: Inspection, outcomes: Outcomes, labels: Mapping[str, CurrentLabel]) -> list[Contradiction]:
    """Samples of which an outcome says the opposite of the label, else of the outcome that counts (rules 4 and 5)."""
    found: list[Contradiction] = []
    for sample_id, by_stage in sorted(outcomes.by_sample.items()):
        label, counts = labels.get(sample_id), outcomes.of(sample_id)
        if label is not None:
            first, first_defect = label.by, info.is_defect(label.classes)
        elif counts is not None:
            first, first_defect = counts.stage, counts.defect
        else:
            continue
        found += [
            Contradiction(
                sample_id=sample_id,
                part_id=truth.part_id,
                first=first,
                first_defect=first_defect,
                stage=truth.stage,
                value=truth.value,
                known_at=truth.known_at,
            )
            for truth in by_stage.values()
            if truth.defect != first_defect
        ]
    return found


def _listed(words: str) -> list[str]:
    """The words of a list in the policy, in its order."""
    return [word for part in words.split(",") if (word := part.strip().casefold())]
