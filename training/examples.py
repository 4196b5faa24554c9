"""What a fit learns from: labels, groups, origins and features, row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import AndonError

FACTORY = "factory"
FIELD = "field"
#: Made from two frames (`pasted_defects`): trained on, never judged by.
PASTED = "pasted"


class BadExamples(AndonError):
    """The examples cannot be trained on: their columns disagree or a value is out of range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """n labelled examples.

    Attributes:
        ids: str [n], unique.
        labels: int [n], index into the inspection's classes.
        groups: str [n]; near-duplicates share one, and folds never split it.
        origin: str [n], `factory`, `field` or `pasted`.
        probability: float [n], inclusion probability of field samples, NaN where there is none.
        device: str [n].
        station: str [n].
        features: float32 [n, D].
        seen: bool [n], which of them the trunk was trained on (`finetune`); None: none of them. They teach a head, but
            what it says of them out of fold flatters, so nothing is chosen, calibrated or judged by them.
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    origin: NDArray[np.str_]
    probability: NDArray[np.float64]
    device: NDArray[np.str_]
    station: NDArray[np.str_]
    features: NDArray[np.float32]
    seen: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        for field in fields(self):
            column = getattr(self, field.name)
            found = n if column is None else len(column)
            if found != n:
                raise BadExamples(f"examples have {n} ids and {found} {field.name}; expected one for each id")
        if len(np.unique(self.ids)) != n:
            raise BadExamples(f"examples have {n} ids but {len(np.unique(self.ids))} different ones; remove duplicates")
        strange = set(np.unique(self.origin).tolist()) - {FACTORY, FIELD, PASTED}
        if strange:
            raise BadExamples(f"examples have origin {sorted(strange)}; expected '{FACTORY}', '{FIELD}' or '{PASTED}'")
        if n and self.labels.min() < 0:
            raise BadExamples(f"examples have label {self.labels.min()}; expected class numbers from 0")

    def __len__(self) -> int:
        """Return n."""
        return len(self.ids)

    @property
    def field(self) -> NDArray[np.bool_]:
        """Bool [n]: which examples come from devices."""
        return np.asarray(self.origin == FIELD)

    @property
    def real(self) -> NDArray[np.bool_]:
        """Bool [n]: which examples a camera saw."""
        return np.asarray(self.origin != PASTED)

    @property
    def speaks(self) -> NDArray[np.bool_]:
        """Bool [n]: which real examples may judge a head: those the trunk has not seen, or all if it saw them all."""
        if self.seen is None or self.seen[self.real].all():
            return self.real
        return self.real & ~self.seen

    def joined(self, other: Examples) -> Examples:
        """Return these rows and those of another set behind them."""
        columns: dict[str, Any] = {
            f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)])
            for f in fields(self)
            if f.name != "seen"
        }
        if self.seen is not None or other.seen is not None:
            none = [np.zeros(len(one), dtype=np.bool_) if one.seen is None else one.seen for one in (self, other)]
            columns["seen"] = np.concatenate(none)
        return Examples(**columns)

    def select(self, mask: NDArray[np.bool_] | NDArray[np.int64]) -> Examples:
        """Return the rows that a mask or an index names, in its order."""
        chosen: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            chosen[field.name] = None if column is None else column[mask]
        return Examples(**chosen)
