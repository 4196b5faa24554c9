"""The second sampling stage: which captured samples people are asked to label.

1. A draw offers every counted field sample that no draw was offered before, each exactly once, and draws
   n of them by priority sampling (:mod:`data.priority_sampling`). Score, u and p₂ of all offered ones are
   logged, drawn or not, in one transaction with the windows they came from.
2. The default score is w/p₁ = max(w, τ): the two stages together then include a frame in proportion to its
   weight w, as one stage over everything would have.
3. Offered and not drawn is for ever: such leftovers, and captured extras (flags, campaigns, spare), can be
   drawn later as ``extra``, with no probability: for training only.
4. A :class:`Plan` replaces the default score, says why, and names near-duplicates (:mod:`data.draw_plan` makes it). A
   group of near-duplicates is one unit: the highest score of its members, one u, one p₂ for all of them. n counts
   units: one label is asked for and serves all. Estimates take such a group as the cluster that it is
   (:mod:`data.cluster_sampling`).
5. Leftovers can also be chosen by name, for what they teach (:func:`draw_chosen`). Of such a draw only what was chosen
   is logged: nothing was left to chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import DrawItemRow, DrawRow, InspectionRow, SampleRow, WindowRow
from data.inspections import inspection_in
from data.priority_sampling import priority_sample
from data.sample_conditions import kept, settled
from edge_client.contract.errors import AndonError

_LEAST_SCORE = 1e-12  # a weight of 0 must stay drawable
_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds


class DrawError(AndonError):
    """A draw is unknown."""


class Uniform(Protocol):
    """Source of numbers in [0, 1): ``random.Random`` or a numpy ``Generator``."""

    def random(self) -> float:
        """The next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawItem:
    """One offered sample.

    Attributes:
        score: Of its group, if it has near-duplicates.
        p2: None for extras.
        cluster: The sample that speaks for its near-duplicates, perhaps itself; None: it has none.
        why: What made the score; see `data.label_scores.Scored.why`.
    """

    sample_id: str
    score: float
    u: float
    p2: float | None
    drawn: bool
    cluster: str | None = None
    why: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Scores of samples that were looked at before a draw. What it does not know waits for the next draw.

    Attributes:
        scores: Sample id → positive score.
        why: Sample id → what made it.
        groups: Sample id → the sample that leads its near-duplicates; those alone may be missing.
        embedded: Whether any embedding was there to look at.
    """

    scores: Mapping[str, float]
    why: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    embedded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A group of leftovers that is to be labelled for what it teaches.

    Attributes:
        sample_ids: Near-duplicates that one label serves; the first is shown.
        gain: What its label takes away of the variance left, in [0, 1].
        why: What made it, for its page.
    """

    sample_ids: tuple[str, ...]
    gain: float
    why: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One draw; ``items`` are the drawn ones by falling priority, near-duplicates behind the one that speaks for them.

    Attributes:
        id: None if there was nothing to offer, and nothing was recorded.
        offered: How many samples it was drawn from.
        threshold: τ₂.
    """

    id: str | None
    inspection: str
    at: datetime
    extra: bool
    offered: int
    threshold: float
    items: tuple[DrawItem, ...]

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """The drawn samples, by falling priority."""
        return tuple(item.sample_id for item in self.items)

    @property
    def asked(self) -> int:
        """How many labels it asks for: one for each group of near-duplicates."""
        return sum(1 for item in self.items if item.cluster in (None, item.sample_id))


def draw(
    catalog: Catalog,
    inspection: str,
    n: int,
    *,
    random: Uniform,
    at: datetime,
    weights: Mapping[str, float] | None = None,
    plan: Plan | None = None,
) -> Draw:
    """Draw up to ``n`` samples for labelling from all that were not offered before.

    Args:
        catalog: The catalog.
        inspection: Its name.
        n: At least 1; what is offered and not drawn now can be drawn later only as an extra (rule 3).
        random: Source of u.
        at: When.
        weights: Sample id → score, in place of rule 2; samples not in it keep the default.
        plan: Scores, reasons and near-duplicates, in place of both (rule 4).

    Raises:
        InspectionError: unknown inspection.
        ValueError: n is below 1, or a score is not a positive finite number.
    """
    with catalog.session() as session:
        _lock(session, inspection)
        windows = _unoffered_windows(session, inspection)
        keys = {(row.device, row.epoch, row.window) for row in windows}
        # A window that another transaction commits between these two lines waits, whole, for the next draw.
        found = list(session.scalars(not_offered(inspection).order_by(SampleRow.sample_id)))
        if plan is not None:  # so does one that came after the plan was made
            keys -= {(row.device, row.epoch, row.window) for row in found if row.sample_id not in plan.scores}
            windows = [row for row in windows if (row.device, row.epoch, row.window) in keys]
        offered = [row for row in found if (row.device, row.epoch, row.window) in keys]
        scores = [_score(row, weights if plan is None else plan.scores) for row in offered]
        result = _record_draw(
            session,
            inspection,
            offered=[row.sample_id for row in offered],
            scores=scores,
            plan=plan or Plan(scores={}),
            n=n,
            random=random,
            at=at,
            extra=False,
            frames=sum(row.frames for row in windows),
            windows=len(windows),
        )
        if result.id is not None:
            for row in windows:
                row.draw_id = result.id
        return result


def draw_extra(
    catalog: Catalog,
    inspection: str,
    n: int,
    *,
    random: Uniform,
    at: datetime,
    weights: Mapping[str, float] | None = None,
) -> Draw:
    """Draw leftovers and captured extras for training: no probability, never used in estimates (rule 3)."""
    with catalog.session() as session:
        _lock(session, inspection)
        drawn = exists().where(DrawItemRow.sample_id == SampleRow.sample_id, DrawItemRow.drawn)
        seen = exists().where(DrawItemRow.sample_id == SampleRow.sample_id)
        query = (
            select(SampleRow)
            .where(SampleRow.inspection == inspection, SampleRow.origin == "field", ~drawn, ~settled(), kept())
            .where(or_(SampleRow.counted.is_(False), seen))
            .order_by(SampleRow.sample_id)
        )
        offered = list(session.scalars(query))
        scores = [_score(row, weights) for row in offered]
        return _record_draw(
            session,
            inspection,
            offered=[row.sample_id for row in offered],
            scores=scores,
            plan=Plan(scores={}),
            n=n,
            random=random,
            at=at,
            extra=True,
            frames=0,
            windows=0,
        )


def draw_chosen(catalog: Catalog, inspection: str, choices: Sequence[Choice], *, at: datetime) -> Draw:
    """Record what was chosen, best first, as a draw without probabilities (rule 5).

    What was drawn or settled since it was chosen, or was never offered, is left out.
    """
    with catalog.session() as session:
        _lock(session, inspection)
        taken = exists().where(DrawItemRow.sample_id == SampleRow.sample_id, DrawItemRow.drawn)
        seen = exists().where(DrawItemRow.sample_id == SampleRow.sample_id)
        wanted = [sample_id for choice in choices for sample_id in choice.sample_ids]
        free: set[str] = set()
        for start in range(0, len(wanted), _BATCH):
            free |= set(
                session.scalars(
                    select(SampleRow.sample_id)
                    .where(SampleRow.sample_id.in_(wanted[start : start + _BATCH]), SampleRow.origin == "field")
                    .where(SampleRow.inspection == inspection, ~taken, ~settled(), kept())
                    .where(or_(SampleRow.counted.is_(False), seen))
                )
            )
        units = [([s for s in choice.sample_ids if s in free], choice) for choice in choices]
        units = [(members, choice) for members, choice in units if members]
        if not units:
            return Draw(id=None, inspection=inspection, at=at, extra=True, offered=0, threshold=0.0, items=())
        draw_id = _next_id(session, inspection)
        offered = sum(len(members) for members, _ in units)
        row = DrawRow(
            id=draw_id,
            inspection=inspection,
            at=at,
            extra=True,
            requested=len(choices),
            offered=offered,
            drawn=len(units),
            threshold=0.0,
            frames=0,
            windows=0,
        )
        in_order = [(members, sample_id, choice) for members, choice in units for sample_id in members]
        items = [
            DrawItemRow(
                draw_id=draw_id,
                sample_id=sample_id,
                extra=True,
                score=max(choice.gain, _LEAST_SCORE),
                u=1.0,
                p2=None,
                drawn=True,
                rank=rank,
                cluster=members[0] if len(members) > 1 else None,
                why=dict(choice.why),
            )
            for rank, (members, sample_id, choice) in enumerate(in_order)
        ]
        return _recorded(session, row, items)


def budget_left(catalog: Catalog, inspection: str, share: float) -> int:
    """How many more samples may be drawn while at most ``share`` of all frames seen are."""
    with catalog.reading() as session:
        frames = session.scalar(
            select(func.coalesce(func.sum(WindowRow.frames), 0)).where(WindowRow.inspection == inspection)
        )
        drawn = session.scalar(
            select(func.coalesce(func.sum(DrawRow.drawn), 0)).where(DrawRow.inspection == inspection)
        )
    return max(0, int(share * int(frames or 0)) - int(drawn or 0))


def draw_items(catalog: Catalog, draw_id: str) -> list[DrawItem]:
    """Everything a draw was offered, by falling priority.

    Raises:
        DrawError: unknown draw.
    """
    with catalog.reading() as session:
        if session.get(DrawRow, draw_id) is None:
            raise DrawError(f"draw {draw_id!r} is unknown")
        query = select(DrawItemRow).where(DrawItemRow.draw_id == draw_id).order_by(DrawItemRow.rank)
        return [_draw_item(row) for row in session.scalars(query)]


def _record_draw(
    session: Session,
    inspection: str,
    *,
    offered: Sequence[str],
    scores: Sequence[float],
    plan: Plan,
    n: int,
    random: Uniform,
    at: datetime,
    extra: bool,
    frames: int,
    windows: int,
) -> Draw:
    if n < 1:
        raise ValueError(f"cannot draw {n} samples of {inspection!r}; expected at least 1")
    if not offered and not windows:
        return Draw(id=None, inspection=inspection, at=at, extra=extra, offered=0, threshold=0.0, items=())
    units = _units(offered, scores, plan.groups)
    u = [1.0 - float(random.random()) for _ in units]  # (0, 1]
    best = [max(scores[i] for i in unit) for unit in units]
    sample = priority_sample(best, u, n)
    draw_id = _next_id(session, inspection)
    row = DrawRow(
        id=draw_id,
        inspection=inspection,
        at=at,
        extra=extra,
        requested=n,
        offered=len(offered),
        drawn=int(sample.drawn.sum()),
        threshold=sample.threshold,
        frames=frames,
        windows=windows,
    )
    in_order = [(k, i) for k in sample.order.tolist() for i in units[k]]
    items = [
        DrawItemRow(
            draw_id=draw_id,
            sample_id=offered[i],
            extra=extra,
            score=float(best[k]),
            u=u[k],
            p2=None if extra else float(sample.p[k]),
            drawn=bool(sample.drawn[k]),
            rank=rank,
            cluster=offered[units[k][0]] if len(units[k]) > 1 else None,
            why=dict(plan.why[offered[i]]) if offered[i] in plan.why else None,
        )
        for rank, (k, i) in enumerate(in_order)
    ]
    return _recorded(session, row, items)


def _recorded(session: Session, row: DrawRow, items: Sequence[DrawItemRow]) -> Draw:
    """Store a draw and what it looked at; the draw as it is told, with what was drawn."""
    session.add(row)
    session.flush()
    session.add_all(items)
    session.flush()
    return Draw(
        id=row.id,
        inspection=row.inspection,
        at=row.at,
        extra=row.extra,
        offered=row.offered,
        threshold=row.threshold,
        items=tuple(_draw_item(item) for item in items if item.drawn),
    )


def _next_id(session: Session, inspection: str) -> str:
    number = session.scalar(select(func.count()).where(DrawRow.inspection == inspection)) or 0
    return f"{inspection}-{number + 1:06d}"


def _units(offered: Sequence[str], scores: Sequence[float], groups: Mapping[str, str]) -> list[list[int]]:
    """Positions of each unit's members, the one of highest score first: it is shown, and speaks for the others."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, sample_id in enumerate(offered):
        members[groups.get(sample_id, sample_id)].append(i)
    return [sorted(unit, key=lambda i: (-scores[i], offered[i])) for unit in members.values()]


def _lock(session: Session, inspection: str) -> None:
    """One draw of an inspection at a time (on SQLite the session itself is alone already)."""
    inspection_in(session, inspection)
    session.execute(select(InspectionRow.name).where(InspectionRow.name == inspection).with_for_update())


def _score(row: SampleRow, weights: Mapping[str, float] | None) -> float:
    if weights is not None and row.sample_id in weights:
        return float(weights[row.sample_id])
    return max((row.weight or 0.0) / (row.p1 or 1.0), _LEAST_SCORE)


def _unoffered_windows(session: Session, inspection: str) -> list[WindowRow]:
    query = select(WindowRow).where(WindowRow.inspection == inspection, WindowRow.draw_id.is_(None))
    return list(session.scalars(query))


def not_offered(inspection: str) -> Select[tuple[SampleRow]]:
    """Counted field samples that no draw was offered."""
    offered = exists().where(DrawItemRow.sample_id == SampleRow.sample_id, DrawItemRow.extra.is_(False))
    mine = and_(
        WindowRow.device == SampleRow.device, WindowRow.epoch == SampleRow.epoch, WindowRow.window == SampleRow.window
    )
    return (
        select(SampleRow)
        .join(WindowRow, mine)  # a draw takes windows whole: those it took need not be searched
        .where(WindowRow.inspection == inspection, WindowRow.draw_id.is_(None))
        .where(SampleRow.counted, ~offered, kept())  # a window's samples are of its inspection, and from the line
    )


def _draw_item(row: DrawItemRow) -> DrawItem:
    return DrawItem(
        sample_id=row.sample_id,
        score=row.score,
        u=row.u,
        p2=row.p2,
        drawn=row.drawn,
        cluster=row.cluster,
        why=row.why,
    )
