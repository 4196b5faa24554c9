"""The plan of a draw: what each captured sample that waits is worth to label, why, and which are near-duplicates.

What people are asked is drawn in one part and chosen in the other (:meth:`Planner.ask`).

1. A plan is made before the draw, without a lock: reading embeddings from the lake takes a second or two. What arrives
   meanwhile waits for the next draw (`data.draws`).
2. Probabilities are in the inspection's order of classes; a class that the engine did not know has 0.
3. Embeddings of one space are compared: those of engines of one trunk. A fine-tuned trunk makes a space of its own, in
   which signals begin with its first labels; probabilities stay exact. A sample without an embedding, or whose space
   says nothing yet, takes each signal's mean.
4. Without the lake (the bucket is away) the plan has the signals that need no embedding: people go on labelling.
5. The draw comes first, and what is chosen is chosen in view of it: a label that will be known teaches nothing twice.
   Of n labels, ``chosen_share`` are chosen, a fraction of a label by chance; less where less can be chosen, none
   without the lake.

The rules are in :mod:`data.label_scores`, :mod:`data.embedding_space`, :mod:`data.near_duplicates` and
:mod:`data.label_choice`.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from data import embedding_space, label_choice
from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.draws import Draw, Plan, Uniform, draw, draw_chosen, not_offered
from data.inspections import Inspection, get_inspection
from data.label_scores import (
    Floats,
    Mix,
    captured_signal,
    disagree_signal,
    mix_scores,
    rare_signal,
    uncertain_signal,
)
from data.labels import current_labels
from data.near_duplicates import group_near_duplicates
from data.opinions import anomalies_of, block_of, probabilities_of
from data.policy import DrawPolicy
from data.sample_conditions import kept
from data.split import Split
from edge_client.contract.errors import AndonError

_log = logging.getLogger("andon.draws")

MOST_LABELLED = 2_000  # newest labelled samples that candidates are compared with
_BATCH = 500  # SQLite's limit on parameters of one statement is 999 in old builds
_REMEMBERED = 20_000  # embeddings kept in memory: 50 MB of half floats


class EmbeddingStore(Protocol):
    """Where embeddings are; :class:`data.lake.Lake` is one."""

    def embedding(self, path: str, row: int) -> NDArray[np.float16] | None:
        """float16 [D], or None."""

    def space_of(self, inspection: str, engine_id: str | None) -> str:
        """The name of the space that an engine's embeddings are in; "" where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """n samples as the rules take them.

    Attributes:
        probabilities: float64 [n, K].
        anomaly: float64 [n], nan where unknown.
        weights: float64 [n], w of the device.
        p1: float64 [n].
        embeddings: n vectors of length 1, or None.
        blocks: n values; near-duplicates share one.
        spaces: n names of the embeddings' spaces; None: all are in one.
    """

    probabilities: Floats
    anomaly: Floats
    weights: Floats
    p1: Floats
    embeddings: Sequence[NDArray[np.float32] | None]
    blocks: Sequence[tuple[object, ...]]
    spaces: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """m labelled samples.

    Attributes:
        labels: int [m], class numbers.
        embeddings: m vectors of length 1, or None.
        counts: float [K], the number of labels of each class.
        spaces: m names of the embeddings' spaces; None: all are in one.
    """

    labels: NDArray[np.int64]
    embeddings: Sequence[NDArray[np.float32] | None]
    counts: Floats
    spaces: Sequence[str] | None = None


def signals_of(candidates: Candidates, labelled: Labelled, info: Inspection, *, seed: int) -> dict[str, Floats]:
    """All signals that can be computed, each float64 [n] in [0, 1]."""
    signals = {
        "captured": captured_signal(candidates.weights, candidates.p1),
        "uncertain": uncertain_signal(candidates.probabilities, candidates.anomaly, info.classes),
        "rare": rare_signal(candidates.probabilities, labelled.counts, info.classes),
    }
    n = len(candidates.p1)
    found = {name: np.full(n, np.nan) for name in ("novel", "disagree", "cover")}
    mine = _spaces(candidates.embeddings, candidates.spaces)
    theirs = _spaces(labelled.embeddings, labelled.spaces)
    for space in sorted({space for space in mine if space is not None}):
        rows, here = _of_space(candidates.embeddings, mine, space)
        known, there = _of_space(labelled.embeddings, theirs, space)
        novel = embedding_space.novel_signal(here, there)
        if novel is not None:
            found["novel"][rows] = novel
        opinion = embedding_space.neighbour_opinion(here, there, labelled.labels[known], len(info.classes))
        if opinion is not None:
            found["disagree"][rows] = disagree_signal(candidates.probabilities[rows], opinion)
        cover = embedding_space.cover_signal(here, 1.0 / candidates.p1[rows], seed=seed)
        if cover is not None:
            found["cover"][rows] = cover
    for name, values in found.items():
        if not np.isnan(values).all():
            signals[name] = np.where(np.isnan(values), np.nanmean(values), values)  # rule 3
    return signals


def _spaces(
    embeddings: Sequence[NDArray[np.float32] | None], names: Sequence[str] | None
) -> list[tuple[int, str] | None]:
    """Width and name of each embedding's space; None where there is no embedding."""
    return [None if v is None else (len(v), "" if names is None else names[i]) for i, v in enumerate(embeddings)]


def _of_space(
    embeddings: Sequence[NDArray[np.float32] | None], spaces: Sequence[tuple[int, str] | None], space: tuple[int, str]
) -> tuple[list[int], NDArray[np.float32]]:
    """Positions of the embeddings of a space, and the embeddings."""
    found = [(i, v) for i, v in enumerate(embeddings) if v is not None and spaces[i] == space]
    vectors = np.stack([v for _, v in found]) if found else np.empty((0, space[0]), dtype=np.float32)
    return [i for i, _ in found], vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What people were asked: a draw with probabilities, and labels chosen for what they teach."""

    drawn: Draw
    chosen: Draw | None = None

    @property
    def labels(self) -> int:
        """How many labels that are."""
        return self.drawn.asked + (0 if self.chosen is None else self.chosen.asked)


class Planner:
    """Makes plans for one installation. Safe to share between threads.

    Args:
        catalog: The catalog.
        lake: Where embeddings are.
    """

    def __init__(self, catalog: Catalog, lake: EmbeddingStore) -> None:
        self._catalog, self._lake = catalog, lake
        self._lock = threading.Lock()
        self._memory: OrderedDict[tuple[str, int], NDArray[np.float16] | None] = OrderedDict()

    def ask(self, inspection: str, n: int, policy: DrawPolicy, *, random: Uniform, at: datetime) -> Asked:
        """Draw and choose n labels together (rule 5); the draw is recorded first.

        Raises:
            InspectionError: unknown inspection.
        """
        plan = self.plan(inspection, policy)
        wanted = min(int(policy.chosen_share * n + float(random.random())), n - 1)
        share = min(wanted, max(0, self._choosable(inspection) - (n - wanted))) if plan.embedded else 0
        drawn = draw(self._catalog, inspection, n - share, random=random, at=at, plan=plan)
        if share < 1:
            return Asked(drawn=drawn)
        info = get_inspection(self._catalog, inspection)
        with self._catalog.reading() as session:
            found = label_choice.captured(session, inspection)
        try:
            choices = label_choice.choose(
                found,
                self._embeddings,
                info,
                share,
                near_duplicate=policy.near_duplicate,
                space_of=lambda row: self._lake.space_of(inspection, row.engine_id),
            )
        except AndonError as error:  # rule 4
            _log.warning("%s: nothing is chosen for what it teaches, the lake cannot be read: %s", inspection, error)
            return Asked(drawn=drawn)
        return Asked(drawn=drawn, chosen=draw_chosen(self._catalog, inspection, choices, at=at))

    def _choosable(self, inspection: str) -> int:
        """How many of the newest captured samples may be chosen once the draw has been offered all of them."""
        with self._catalog.reading() as session:
            found = label_choice.captured(session, inspection)
        return sum(1 for row, known, _ in found if not known and row.split == Split.TRAIN.value)

    def plan(self, inspection: str, policy: DrawPolicy) -> Plan:
        """Plan a draw of everything that no draw was offered.

        Raises:
            InspectionError: unknown inspection.
        """
        info = get_inspection(self._catalog, inspection)
        with self._catalog.reading() as session:
            query = not_offered(inspection).order_by(
                SampleRow.device, SampleRow.epoch, SampleRow.window, SampleRow.sequence, SampleRow.sample_id
            )
            rows = list(session.scalars(query))
        if not rows:
            return Plan(scores={})
        labelled_rows, labels, counts = self._labelled(info)
        try:
            vectors = self._embeddings([*rows, *labelled_rows])
            spaces = [self._lake.space_of(inspection, row.engine_id) for row in (*rows, *labelled_rows)]
        except AndonError as error:  # rule 4
            _log.warning("%s: drawing without embeddings, the lake cannot be read: %s", inspection, error)
            vectors, spaces = [None] * (len(rows) + len(labelled_rows)), [""] * (len(rows) + len(labelled_rows))
        embedded = any(v is not None for v in vectors[: len(rows)])
        candidates = replace(candidates_of(rows, vectors[: len(rows)], info), spaces=spaces[: len(rows)])
        labelled = Labelled(
            labels=np.array(labels, dtype=np.int64),
            embeddings=vectors[len(rows) :],
            counts=counts,
            spaces=spaces[len(rows) :],
        )
        seed = int(rows[0].sample_id[:8], 16) if _is_hex(rows[0].sample_id[:8]) else 0
        scored = mix_scores(signals_of(candidates, labelled, info, seed=seed), candidates.p1, mix_of(policy))
        leaders = group_near_duplicates(candidates.embeddings, candidates.blocks, policy.near_duplicate)
        ids = [row.sample_id for row in rows]
        return Plan(
            scores=dict(zip(ids, scored.scores.tolist(), strict=True)),
            why={sample_id: scored.why(i) for i, sample_id in enumerate(ids)},
            groups={ids[i]: ids[leader] for i, leader in enumerate(leaders.tolist())},
            embedded=embedded,
        )

    def _labelled(self, info: Inspection) -> tuple[list[SampleRow], list[int], Floats]:
        """Newest labelled field samples of one class, their class numbers, and how many labels each class has."""
        number = {name: k for k, name in enumerate(info.class_names)}
        known = {
            label.sample_id: label
            for label in current_labels(self._catalog, inspection=info.name).values()
            if len(label.classes) == 1 and label.classes[0] in number
        }
        counts = np.bincount(
            [number[label.classes[0]] for label in known.values()], minlength=len(info.classes)
        ).astype(np.float64)
        wanted = sorted(known, key=lambda sample_id: -known[sample_id].serial)
        newest: list[SampleRow] = []
        with self._catalog.reading() as session:
            for start in range(0, len(wanted), _BATCH):
                ids = wanted[start : start + _BATCH]
                query = select(SampleRow).where(SampleRow.sample_id.in_(ids), SampleRow.origin == "field", kept())
                newest += session.scalars(query)
                if len(newest) >= MOST_LABELLED:
                    break
        return newest, [number[known[row.sample_id].classes[0]] for row in newest], counts

    def _embeddings(self, rows: Sequence[SampleRow]) -> list[NDArray[np.float32] | None]:
        """Vectors of length 1, in the rows' order; read in the order in which they are stored."""
        places = [(row.lake_path, row.lake_row) for row in rows]
        with self._lock:
            for place in sorted(set(places)):
                if place not in self._memory:
                    self._memory[place] = self._lake.embedding(*place)
            found = [self._memory[place] for place in places]
            while len(self._memory) > _REMEMBERED:
                self._memory.popitem(last=False)
        return [
            None if v is None or not np.any(v) else embedding_space.unit(v[None].astype(np.float32))[0] for v in found
        ]


def candidates_of(
    rows: Sequence[SampleRow], vectors: Sequence[NDArray[np.float32] | None], info: Inspection
) -> Candidates:
    """Samples of the catalog as the rules take them."""
    return Candidates(
        probabilities=probabilities_of(rows, info),
        anomaly=anomalies_of(rows),
        weights=np.array([row.weight or 0.0 for row in rows], dtype=np.float64),
        p1=np.array([row.p1 or 1.0 for row in rows], dtype=np.float64),
        embeddings=vectors,
        blocks=[block_of(row) for row in rows],
    )


def mix_of(policy: DrawPolicy) -> Mix:
    """The mix that a policy asks for."""
    wanted: Mapping[str, float] = {f.name: getattr(policy, f.name) for f in fields(Mix)}
    return Mix(**wanted)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text) and bool(text)
