"""What the gate looks at: champion and challenger on the same labelled samples, and what the engines weigh."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.decision import decided_class, defect_probability, risk
from edge_client.contract.engine_metadata import ClassInfo, Kind, Thresholds
from edge_client.contract.errors import AndonError


class BadEvidence(AndonError):
    """Evidence that cannot be judged: its columns disagree, or a value is out of range."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedSet:
    """n labelled samples, each seen by both models.

    Attributes:
        ids: str [n], unique.
        labels: int [n], index into the classes.
        champion: float32 [n, K], rows sum to 1; None if there is no champion. A class that the champion does not know
            has zeros.
        challenger: float32 [n, K]. For samples that it was trained on: out-of-fold.
        weight: float [n], 1/inclusion probability; 1 for golden samples. Samples without a probability are no evidence.
        device: str [n].
        station: str [n].
        group: str [n]; near-duplicates share one.
        captured_at: datetime64 [n], UTC; NaT where it is not known. None: nowhere.
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    champion: NDArray[np.float32] | None
    challenger: NDArray[np.float32]
    weight: NDArray[np.float64]
    device: NDArray[np.str_]
    station: NDArray[np.str_]
    group: NDArray[np.str_]
    captured_at: NDArray[np.datetime64] | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        columns = ("labels", "challenger", "weight", "device", "station", "group")
        for name in (*columns, "champion", "captured_at"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise BadEvidence(f"evidence has {n} ids and {len(column)} {name}; expected one for each id")
        if len(np.unique(self.ids)) != n:
            raise BadEvidence(f"evidence has {n} ids but {len(np.unique(self.ids))} different ones: remove duplicates")
        weight = np.asarray(self.weight, dtype=np.float64)
        bad = np.flatnonzero(~(np.isfinite(weight) & (weight > 0)))
        if bad.size:
            raise BadEvidence(
                f"sample {self.ids[bad[0]]} has weight {weight[bad[0]]}: expected 1/probability; "
                "leave samples without a probability (extras) out of the evidence"
            )
        for name in ("champion", "challenger"):
            table = getattr(self, name)
            if table is not None and not (table.ndim == 2 and np.isfinite(table).all() and (table >= 0).all()):
                raise BadEvidence(f"{name}: expected probabilities [n, K], finite and not negative")

    def __len__(self) -> int:
        """Return n."""
        return len(self.ids)

    def select(self, mask: NDArray[np.bool_]) -> PairedSet:
        """Return the rows of a mask."""
        return PairedSet(
            ids=self.ids[mask],
            labels=self.labels[mask],
            champion=None if self.champion is None else self.champion[mask],
            challenger=self.challenger[mask],
            weight=self.weight[mask],
            device=self.device[mask],
            station=self.station[mask],
            group=self.group[mask],
            captured_at=None if self.captured_at is None else self.captured_at[mask],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The shipped variant of the engine against its float original.

    Attributes:
        flips: Frames that one passes and the other rejects.
        n: Frames compared.
    """

    flips: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Everything that one decision rests on.

    Attributes:
        classes: The K classes, in the order of the probability columns.
        field: Labelled field samples: held out, or cross-fitted while they are few. None: there are none.
        golden: Factory samples that no model was trained on. None: there are none.
        size_bytes: Of the champion (None without one) and of the challenger.
        latency_ms: The same, for one frame; None where it was not measured.
        parity: None where the float engine ships.
        thresholds: By which the champion's engine decides, and the challenger's. Each model is judged by its own, as on
            the device.
        alarms: Which share of ok frames will pass the challenger's anomaly threshold, in a sentence.
    """

    classes: tuple[ClassInfo, ...]
    field: PairedSet | None = None
    golden: PairedSet | None = None
    size_bytes: tuple[int | None, int | None] = (None, None)
    latency_ms: tuple[float | None, float | None] = (None, None)
    parity: Parity | None = None
    thresholds: tuple[Thresholds, Thresholds] = (Thresholds(), Thresholds())
    alarms: str = ""

    def __post_init__(self) -> None:
        for name in ("field", "golden"):
            rows: PairedSet | None = getattr(self, name)
            if rows is None:
                continue
            k = len(self.classes)
            if len(rows) and not (int(rows.labels.min()) >= 0 and int(rows.labels.max()) < k):
                raise BadEvidence(f"{name} evidence has labels outside 0..{k - 1}; its classes are {self.class_names}")
            for who, table in (("champion", rows.champion), ("challenger", rows.challenger)):
                if table is not None and table.shape[1] != k:
                    raise BadEvidence(f"{name} evidence: {who} has {table.shape[1]} columns for {k} classes")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return tuple(c.name for c in self.classes)

    @property
    def is_defect_class(self) -> tuple[bool, ...]:
        """For each of the K classes, whether it is a defect."""
        return tuple(c.kind is Kind.DEFECT for c in self.classes)

    @property
    def has_champion(self) -> bool:
        """Whether there is a model to be compared with."""
        seen = any(rows is not None and rows.champion is not None for rows in (self.field, self.golden))
        return seen or self.size_bytes[0] is not None

    def is_defect(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return bool [n]: which labels are of a class of kind defect."""
        found: NDArray[np.bool_] = np.array(self.is_defect_class, dtype=bool)[labels]
        return found

    def probability(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return float64 [n]: probability of any defect."""
        return defect_probability(probabilities, self.classes).astype(np.float64)

    def held(self, rows: PairedSet) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
        """Return float64 [n], what a device holds against its threshold, by the champion (None without one) and after.

        It is the probability of any defect, unless classes have thresholds of their own: then a class that is decided
        at a low probability counts for more, and the order of the frames may be another.
        """
        champion = None if rows.champion is None else risk(rows.champion, self.classes, self._limits(0))
        challenger = risk(rows.challenger, self.classes, self._limits(1))
        return None if champion is None else champion.astype(np.float64), challenger.astype(np.float64)

    def decided(self, rows: PairedSet) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
        """Return int [n], the class for which a device decides, by the champion (None without one) and the challenger.

        It is the device's own rule, at each engine's own thresholds; the most probable class may be another.
        """
        champion = None if rows.champion is None else decided_class(rows.champion, self.classes, self._limits(0))
        return champion, decided_class(rows.challenger, self.classes, self._limits(1))

    def _limits(self, who: int) -> Thresholds:
        """An engine's thresholds; a class that it does not know, whose probability is 0, takes the common one."""
        limits = self.thresholds[who]
        unknown = len(self.classes) - len(limits.by_class)
        return replace(limits, by_class=(*limits.by_class, *[limits.defect] * unknown)) if limits.by_class else limits
