"""What a fit learns from: labels, groups, origins and features, row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields

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
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    origin: NDArray[np.str_]
    probability: NDArray[np.float64]
    device: NDArray[np.str_]
    station: NDArray[np.str_]
    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.ids)
        for field in fields(self):
            found = len(getattr(self, field.name))
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

    def joined(self, other: Examples) -> Examples:
        """Return these rows and those of another set behind them."""
        return Examples(
            **{f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        )

    def select(self, mask: NDArray[np.bool_] | NDArray[np.int64]) -> Examples:
        """Return the rows that a mask or an index names, in its order."""
        return Examples(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})
