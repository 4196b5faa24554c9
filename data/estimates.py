"""Estimates of what the line produces, from labelled captured samples.

The population of an estimate is every frame of the windows whose samples a draw was offered (frames that
could not be candidates are left out). A labelled sample has p = p₁·p₂. What a draw did not (yet) answer:

1. A draw that is labelled half-way counts up to its first unanswered item, with the threshold that makes
   the answered ones a priority sample of their own (:func:`data.priority_sampling.rethreshold`).
2. A draw without any answer is left out with its windows: it says nothing yet.
3. ``cannot_tell``, a skip by everybody so far, and samples that the record promised and that never came
   or were quarantined are non-response: the rest speaks for them (p is scaled by the share that answered,
   as weighted by 1/p), and ``nonresponse`` shows how large that share is.
4. Extras have no probability and never count.
5. Near-duplicates that were drawn together are one unit, with the label that was given for all of them
   (:mod:`data.cluster_sampling`); a group counts once every one of them is answered.

The pure statistics are in :mod:`data.intervals`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, DrawRow, SampleRow, WindowRow
from data.cluster_sampling import units_of
from data.inspections import Inspection, inspection_in
from data.intervals import (
    Estimate,
    clopper_pearson,
    gamma_interval,
    horvitz_thompson,
    miss_statement,
    rate_interval,
    recall_interval,
)
from data.labels import LabelEvent, LabelKind, derive, standing_events
from data.priority_sampling import rethreshold

__all__ = [
    "Estimate",
    "FieldSample",
    "LabelledSample",
    "clopper_pearson",
    "defect_rate",
    "field_sample",
    "gamma_interval",
    "horvitz_thompson",
    "miss_rate",
    "miss_statement",
    "rate_interval",
    "rate_of",
    "recall_interval",
]

WindowKey = tuple[str, int, int]  # device, epoch, window


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSample:
    """One labelled sample that counts.

    Attributes:
        p: Inclusion probability over both stages, scaled for non-response.
        p2: Of the second stage alone, the same for all that were drawn together.
        group: Near-duplicates that were drawn together share one.
        run_length: m, frames of the part's run (1 if alone).
        verdict: What the engine said when it was captured.
    """

    sample_id: str
    label: tuple[str, ...]
    defect: bool
    p: float
    p2: float
    group: str
    run_length: int
    verdict: str | None
    device: str
    captured_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSample:
    """A probability sample of a population of frames, labelled.

    Attributes:
        population: N.
        excluded: Frames outside N: too large to be candidates.
        waiting: Drawn samples not answered yet.
        nonresponse: Share of the population that nobody can speak for, estimated.
        windows: How many windows the population is made of.
    """

    inspection: Inspection
    samples: tuple[LabelledSample, ...]
    population: int
    excluded: int
    waiting: int
    nonresponse: float
    windows: int

    @property
    def p(self) -> NDArray[np.float64]:
        """Inclusion probabilities, [n]."""
        return np.array([sample.p for sample in self.samples], dtype=np.float64)

    @property
    def defects(self) -> NDArray[np.float64]:
        """1 for a defect, [n]."""
        return np.array([float(sample.defect) for sample in self.samples], dtype=np.float64)


def field_sample(
    catalog: Catalog,
    inspection: str,
    *,
    windows: Collection[WindowKey] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> FieldSample:
    """The labelled probability sample of some windows.

    Args:
        catalog: The catalog.
        inspection: Its name.
        windows: Only these; default all.
        since: Only windows opened at or after; device clocks, for people's questions ("this shift").
        until: Only windows opened before.

    Raises:
        InspectionError: unknown inspection.
    """
    with catalog.reading() as session:
        info = inspection_in(session, inspection)
        query = select(WindowRow).where(WindowRow.inspection == inspection)
        if since is not None:
            query = query.where(WindowRow.opened_at >= since)
        if until is not None:
            query = query.where(WindowRow.opened_at < until)
        chosen = [
            row for row in session.scalars(query) if windows is None or (row.device, row.epoch, row.window) in windows
        ]
        return _field_sample(session, info, chosen)


def defect_rate(
    catalog: Catalog,
    inspection: str,
    *,
    windows: Collection[WindowKey] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    level: float = 0.95,
) -> Estimate:
    """Share of defective frames, with its interval; see :func:`field_sample` for the arguments."""
    sample = field_sample(catalog, inspection, windows=windows, since=since, until=until)
    return rate_of(sample, sample.defects, level)


def rate_of(sample: FieldSample, y: ArrayLike, level: float = 0.95) -> Estimate:
    """Share of the frames for which y is 1, near-duplicates taken as the units that they were drawn as.

    Args:
        sample: The probability sample.
        y: 0 or 1 for each of ``sample.samples``, [n].
        level: Coverage.
    """
    units = units_of(y, sample.p, [item.p2 for item in sample.samples], [item.group for item in sample.samples])
    return rate_interval(units.values, units.probabilities, sample.population, level, frames=units.frames)


def miss_rate(sample: FieldSample, level: float = 0.95) -> Estimate:
    """Share of all frames that are defects which the engine passed as ``ok``."""
    missed = [float(item.defect and item.verdict == "ok") for item in sample.samples]
    return rate_of(sample, missed, level)


def _field_sample(session: Session, info: Inspection, windows: list[WindowRow]) -> FieldSample:
    by_draw: dict[str, list[WindowRow]] = defaultdict(list)
    for row in windows:
        if row.draw_id is not None:
            by_draw[row.draw_id].append(row)
    samples: list[LabelledSample] = []
    population = excluded = waiting = used_windows = 0
    silent = 0.0
    for draw_id, rows in by_draw.items():
        answer = _answers(session, info, draw_id, rows)
        waiting += answer.waiting
        if not answer.informative:
            continue
        frames = sum(max(0, row.frames - row.excluded) for row in rows)
        population += frames
        excluded += sum(row.excluded for row in rows)
        used_windows += len(rows)
        silent += frames * (1 - answer.response)
        samples += answer.samples
    return FieldSample(
        inspection=info,
        samples=tuple(samples),
        population=population,
        excluded=excluded,
        waiting=waiting,
        nonresponse=silent / population if population else 0.0,
        windows=used_windows,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    samples: list[LabelledSample]
    response: float
    waiting: int
    informative: bool


def _answers(session: Session, info: Inspection, draw_id: str, windows: list[WindowRow]) -> _Answers:
    """One draw, restricted to some of its windows, by the rules above."""
    draw = session.get_one(DrawRow, draw_id)
    pairs = session.execute(
        select(DrawItemRow, SampleRow)
        .join(SampleRow, SampleRow.sample_id == DrawItemRow.sample_id)
        .where(DrawItemRow.draw_id == draw_id)
        .order_by(DrawItemRow.rank)
    ).all()
    drawn = [(item, sample) for item, sample in pairs if item.drawn]
    events = standing_events(session, [sample.sample_id for _, sample in drawn])
    labels = derive(events)
    answered = np.array(
        [
            _answered(events, sample.sample_id) or (item.cluster is not None and _passed_on(events, item.cluster))
            for item, sample in drawn
        ],
        dtype=np.bool_,
    )
    scores = np.array([item.score for item, _ in drawn], dtype=np.float64)
    u = np.array([item.u for item, _ in drawn], dtype=np.float64)
    used, p2 = rethreshold(scores, u, draw.threshold, answered)

    keys = {(row.device, row.epoch, row.window) for row in windows}
    inside = [(sample.device, sample.epoch, sample.window) in keys for _, sample in drawn]
    asked = labelled = 0.0
    taken: list[tuple[SampleRow, DrawItemRow, float, float]] = []
    for (item, sample), take, here, second in zip(drawn, used, inside, p2, strict=True):
        if not (take and here):
            continue
        p = float((sample.p1 or 1.0) * second)
        asked += 1 / p
        if sample.sample_id in labels:
            labelled += 1 / p
            taken.append((sample, item, p, float(second)))
    promised = sum(row.manifest_inverse_p for row in windows)
    arrived = sum(1 / (sample.p1 or 1.0) for _, sample in pairs if (sample.device, sample.epoch, sample.window) in keys)
    first = min(1.0, arrived / promised) if promised > 0 else 1.0
    second_share = labelled / asked if asked > 0 else 1.0
    response = first * second_share
    return _Answers(
        samples=[
            LabelledSample(
                sample_id=sample.sample_id,
                label=labels[sample.sample_id].classes,
                defect=info.is_defect(labels[sample.sample_id].classes),
                p=min(1.0, p * response),
                p2=second,
                group=f"{draw_id}/{item.cluster or sample.sample_id}",
                run_length=max(1, sample.run_length or 1),
                verdict=sample.verdict,
                device=sample.device or "",
                captured_at=sample.captured_at,
            )
            for sample, item, p, second in taken
        ],
        response=response,
        waiting=int(np.count_nonzero(~answered & np.array(inside, dtype=np.bool_))),
        # Rule 2. A draw that had nothing to offer is an answer: none of its frames was kept.
        informative=response > 0 and (not pairs or bool(used.any())),
    )


def _passed_on(events: Iterable[LabelEvent], sample_id: str) -> bool:
    """Whether people only skipped the one that speaks for its near-duplicates: then nobody is shown these."""
    kinds = {event.kind for event in events if event.sample_id == sample_id}
    return kinds == {LabelKind.SKIP}


def _answered(events: Iterable[LabelEvent], sample_id: str) -> bool:
    settled = (LabelKind.LABEL, LabelKind.CANNOT_TELL, LabelKind.SKIP)
    return any(event.sample_id == sample_id and event.kind in settled for event in events)
