"""From draws and what people answered to the labelled sample of some windows.

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
6. A window whose captured parts all have an outcome needs no draw: its samples have p = p₁ (:mod:`data.outcomes`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from data.catalog.models import DrawItemRow, DrawRow, SampleRow, WindowRow
from data.field_sample import FieldSample, LabelledSample
from data.inspections import Inspection
from data.known_frames import Cell, KnownFrames, likeliest_defect, summed
from data.labels import CurrentLabel, LabelEvent, LabelKind, derive, standing_events
from data.outcomes import Outcomes
from data.priority_sampling import rethreshold
from data.seen_rows import SAMPLE_COLUMNS, SeenSample, SeenWindow, WindowKey

_DRAWS = 100  # read at once: some thousand samples
_ANSWERS = (LabelKind.LABEL, LabelKind.CANNOT_TELL, LabelKind.SKIP)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A drawn sample, as its draw's log has it."""

    score: float
    u: float
    cluster: str | None
    sample: SeenSample


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """One sample that is answered; without a label its outcome speaks. p is not yet scaled for non-response."""

    sample: SeenSample
    label: CurrentLabel | None
    p: float
    p2: float
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    samples: list[_Answer]
    response: float
    waiting: int
    informative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    """A draw as it stands.

    Attributes:
        empty: Whether it had nothing to offer.
        places: Window → positions among the drawn.
        drawn: Those that people are asked.
        groups: Of the drawn: near-duplicates that were drawn together share one.
        labels: Of the drawn.
        answered: bool [drawn].
        used: bool [drawn], by rule 1.
        p2: float64 [drawn].
    """

    empty: bool
    places: Mapping[WindowKey, Sequence[int]]
    drawn: list[SeenSample]
    groups: list[str]
    labels: Mapping[str, CurrentLabel]
    answered: NDArray[np.bool_]
    used: NDArray[np.bool_]
    p2: NDArray[np.float64]


class SampleReader:
    """Reads samples inside one transaction, each draw once however many groups of windows are asked for."""

    def __init__(self, session: Session, info: Inspection, outcomes: Outcomes) -> None:
        self._session, self._info, self._outcomes = session, info, outcomes
        self._draws: dict[str, _Draw] = {}
        self._arrivals: dict[str, Mapping[WindowKey, float]] = {}
        self._censuses: dict[WindowKey, _Answers] = self._all_censuses() if outcomes.stages else {}

    def sample_of(self, windows: Sequence[SeenWindow]) -> FieldSample:
        """The labelled sample of some windows, by the rules above."""
        by_draw: dict[str, list[SeenWindow]] = defaultdict(list)
        answers: list[tuple[list[SeenWindow], _Answers]] = []
        for row in windows:
            census = self._censuses.get(row.key)
            if census is not None:
                answers.append(([row], census))
            elif row.draw_id is not None:
                by_draw[row.draw_id].append(row)
        self._read([draw_id for draw_id in by_draw if draw_id not in self._draws])
        answers += [(rows, self._answers(draw_id, rows)) for draw_id, rows in by_draw.items()]
        samples: list[LabelledSample] = []
        known: list[KnownFrames] = []
        population = excluded = used_windows = known_frames = 0
        silent = 0.0
        for rows, answer in answers:
            if not answer.informative:
                continue
            frames = sum(max(0, row.frames - row.excluded) for row in rows)
            population += frames
            excluded += sum(row.excluded for row in rows)
            used_windows += len(rows)
            silent += frames * (1 - answer.response)
            cells = self._cells(rows, answer)
            for row in rows:
                if row.key in cells:
                    known.append(row.known)
                    known_frames += row.frames
            samples += [
                self._labelled(one, min(1.0, one.p * answer.response), cells.get(one.sample.inside, {}))
                for one in answer.samples
            ]
        return FieldSample(
            inspection=self._info,
            samples=tuple(samples),
            population=population,
            excluded=excluded,
            waiting=sum(answer.waiting for _, answer in answers),
            nonresponse=silent / population if population else 0.0,
            windows=used_windows,
            known=dict(summed(known)),
            known_frames=known_frames,
        )

    def _labelled(self, one: _Answer, p: float, cells: Mapping[str, Cell]) -> LabelledSample:
        sample, label = one.sample, one.label
        truth = self._outcomes.of(sample.sample_id) if label is None else None
        classes = label.classes if label is not None else truth.classes if truth is not None else ()
        return LabelledSample(
            sample_id=sample.sample_id,
            label=classes,
            defect=truth.defect if truth is not None else self._info.is_defect(classes),
            p=p,
            p2=one.p2,
            group=one.group,
            run_length=max(1, sample.run_length or 1),
            verdict=sample.verdict,
            device=sample.device or "",
            captured_at=sample.captured_at,
            cell=cells.get(sample.sample_id),
            by_outcome=truth is not None,
            likeliest=likeliest_defect(sample.classes, sample.probabilities, self._info.defect_names),
        )

    def _cells(self, windows: Sequence[SeenWindow], answer: _Answers) -> dict[WindowKey, dict[str, Cell]]:
        """The cells of the samples of each window that tells them; with a sample outside of its cells it tells none."""
        found: dict[WindowKey, dict[str, Cell]] = {}
        known = {row.key: row.known for row in windows}
        for row in windows:
            if row.known.tells:
                found[row.key] = {}
        for sample in (one.sample for one in answer.samples):
            key = sample.inside
            if key in found:
                cell = known[key].cell_of(sample.verdict, sample.classes, sample.probabilities, self._info.defect_names)
                if cell is None:
                    del found[key]
                else:
                    found[key][sample.sample_id] = cell
        return found

    def _all_censuses(self) -> dict[WindowKey, _Answers]:
        """Windows whose captured samples are known by outcomes (rule 6)."""
        counted = self._session.execute(
            select(*SAMPLE_COLUMNS)
            .where(SampleRow.inspection == self._info.name, SampleRow.origin == "field", SampleRow.counted)
            .order_by(SampleRow.sample_id)
        )
        by_window: dict[WindowKey, list[SeenSample]] = defaultdict(list)
        for row in counted:
            sample = SeenSample(*row)
            by_window[sample.inside].append(sample)
        promised = {
            (device, epoch, window): inverse_p
            for device, epoch, window, inverse_p in self._session.execute(
                select(WindowRow.device, WindowRow.epoch, WindowRow.window, WindowRow.manifest_inverse_p).where(
                    WindowRow.inspection == self._info.name
                )
            )
        }
        labels = derive(standing_events(self._session, inspection=self._info.name))
        found: dict[WindowKey, _Answers] = {}
        for key, samples in by_window.items():
            if not self._outcomes.suffice([(s.sample_id, s.verdict) for s in samples], labels):
                continue
            known = [
                _Answer(sample=s, label=labels.get(s.sample_id), p=float(s.p1 or 1.0), p2=1.0, group=s.sample_id)
                for s in samples
                if s.sample_id in labels or self._outcomes.of(s.sample_id) is not None
            ]
            told = sum(1 / one.p for one in known)
            response = min(1.0, told / promised[key]) if promised[key] > 0 else 1.0
            found[key] = _Answers(samples=known, response=response, waiting=0, informative=True)
        return found

    def _read(self, draw_ids: Sequence[str]) -> None:
        """Read draws, some at a time: a question for each would be most of the work."""
        for start in range(0, len(draw_ids), _DRAWS):
            some = draw_ids[start : start + _DRAWS]
            items = self._session.execute(
                select(DrawItemRow.draw_id, DrawItemRow.score, DrawItemRow.u, DrawItemRow.cluster, *SAMPLE_COLUMNS)
                .join(SampleRow, SampleRow.sample_id == DrawItemRow.sample_id)
                .where(DrawItemRow.draw_id.in_(some), DrawItemRow.drawn)
                .order_by(DrawItemRow.draw_id, DrawItemRow.rank)
            )
            drawn: dict[str, list[_Drawn]] = defaultdict(list)
            for draw_id, score, u, cluster, *sample in items:
                drawn[draw_id].append(_Drawn(score, u, cluster, SeenSample(*sample)))
            events: dict[str, list[LabelEvent]] = defaultdict(list)
            for event in standing_events(
                self._session, [one.sample.sample_id for each in drawn.values() for one in each]
            ):
                events[event.sample_id].append(event)
            rows = self._session.execute(
                select(DrawRow.id, DrawRow.offered, DrawRow.threshold).where(DrawRow.id.in_(some))
            )
            for draw_id, offered, threshold in rows:
                self._draws[draw_id] = self._as_it_stands(draw_id, offered, threshold, drawn[draw_id], events)

    def _as_it_stands(
        self,
        draw_id: str,
        offered: int,
        threshold: float,
        drawn: Sequence[_Drawn],
        events: Mapping[str, Sequence[LabelEvent]],
    ) -> _Draw:
        said = [event for one in drawn for event in events.get(one.sample.sample_id, ())]
        settled = {event.sample_id for event in said if event.kind in _ANSWERS}
        skipped = settled - {event.sample_id for event in said if event.kind is not LabelKind.SKIP}
        answered = np.array(
            [
                one.sample.sample_id in settled
                or one.cluster in skipped  # who speaks for its near-duplicates: then nobody is shown these
                or one.sample.inside in self._censuses  # nobody needs to say what outcomes say
                for one in drawn
            ],
            dtype=np.bool_,
        )
        scores = np.array([one.score for one in drawn], dtype=np.float64)
        u = np.array([one.u for one in drawn], dtype=np.float64)
        used, p2 = rethreshold(scores, u, threshold, answered)
        places: dict[WindowKey, list[int]] = defaultdict(list)
        for i, one in enumerate(drawn):
            places[one.sample.inside].append(i)
        return _Draw(
            empty=offered == 0,
            places=places,
            drawn=[one.sample for one in drawn],
            groups=[f"{draw_id}/{one.cluster or one.sample.sample_id}" for one in drawn],
            labels=derive(said),
            answered=answered,
            used=used,
            p2=p2,
        )

    def _answers(self, draw_id: str, windows: Sequence[SeenWindow]) -> _Answers:
        """One draw, restricted to some of its windows."""
        draw = self._draws[draw_id]
        inside = sorted(i for row in windows for i in draw.places.get(row.key, ()))
        asked = labelled = 0.0
        taken: list[_Answer] = []
        for i in inside:
            if not draw.used[i]:
                continue
            sample, group, second = draw.drawn[i], draw.groups[i], draw.p2[i]
            p = float((sample.p1 or 1.0) * second)
            asked += 1 / p
            if sample.sample_id in draw.labels:
                labelled += 1 / p
                label = draw.labels[sample.sample_id]
                taken.append(_Answer(sample=sample, label=label, p=p, p2=float(second), group=group))
        promised = sum(row.manifest_inverse_p for row in windows)
        arrived = sum(self._arrived(draw_id, row) for row in windows)
        first = min(1.0, arrived / promised) if promised > 0 else 1.0
        response = first * (labelled / asked if asked > 0 else 1.0)
        return _Answers(
            samples=taken,
            response=response,
            waiting=sum(1 for i in inside if not draw.answered[i]),
            # Rule 2. A draw that had nothing to offer is an answer: none of its frames was kept.
            informative=response > 0 and (draw.empty or bool(draw.used.any())),
        )

    def _arrived(self, draw_id: str, window: SeenWindow) -> float:
        """Σ 1/p₁ of what came of a window. Of most windows all came: their samples need not be read."""
        if window.missing == 0:
            return window.manifest_inverse_p
        if draw_id not in self._arrivals:
            found: dict[WindowKey, float] = defaultdict(float)
            offered = self._session.execute(
                select(SampleRow.device, SampleRow.epoch, SampleRow.window, SampleRow.p1)
                .join(DrawItemRow, DrawItemRow.sample_id == SampleRow.sample_id)
                .where(DrawItemRow.draw_id == draw_id)
                .order_by(DrawItemRow.rank)
            )
            for device, epoch, number, p1 in offered:
                found[device or "", epoch or 0, number or 0] += 1 / (p1 or 1.0)
            self._arrivals[draw_id] = found
        return self._arrivals[draw_id].get(window.key, 0.0)
