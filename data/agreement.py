"""How far labels can be trusted: do two people agree, and do people know the known answers.

1. Cohen's kappa is agreement beyond chance: (observed - expected)/(1 - expected), expected from how often each of the
   two opinions says each class (Cohen 1960).
2. Its interval takes the expected agreement as it is and Clopper–Pearson's of the observed one. The large-sample
   formula (Fleiss, Cohen & Everitt 1969) has no width when all agree, which after ten pairs says far too much.
3. The opinions of one sample are ordered by when they were given, newest of each person: the first, and the second.
4. A labeller's accuracy counts golden items alone (:mod:`data.golden_items`), with Clopper–Pearson's interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.catalog import Catalog
from data.golden_items import golden_answers
from data.intervals import Estimate, clopper_pearson
from data.labels import CurrentLabel

Label = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of two opinions on the same samples.

    Attributes:
        kappa: 1 all agree, 0 as by chance; nan without pairs, or where both always say the same one class.
        observed: Share of pairs that agree.
    """

    kappa: Estimate
    observed: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kappa": self.kappa.to_dict(), "observed": self.observed.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeller:
    """A person's golden items: how many were answered rightly, with its interval."""

    who: str
    accuracy: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"who": self.who, "accuracy": self.accuracy.to_dict()}


def cohen_kappa(pairs: Sequence[tuple[Label, Label]], level: float = 0.95) -> Agreement:
    """Agreement of pairs of labels (rules 1 and 2).

    >>> ok, crack = ("ok",), ("crack",)
    >>> kappa = cohen_kappa([(ok, ok)] * 45 + [(crack, crack)] * 45 + [(ok, crack)] * 10).kappa
    >>> round(kappa.value, 2), kappa.n
    (0.8, 100)
    """
    n = len(pairs)
    same = sum(1 for one, other in pairs if one == other)
    observed = _share(same, n, level)
    names = {name for pair in pairs for name in pair}
    expected = sum(
        sum(1 for one, _ in pairs if one == name) * sum(1 for _, other in pairs if other == name) for name in names
    ) / max(n * n, 1)
    if n == 0 or expected >= 1.0:
        kappa = Estimate(value=math.nan, low=-1.0, high=1.0, n=n, level=level)
    else:
        value, low, high = (
            (share - expected) / (1.0 - expected) for share in (observed.value, observed.low, observed.high)
        )
        kappa = Estimate(value=value, low=max(-1.0, low), high=high, n=n, level=level)
    return Agreement(kappa=kappa, observed=observed)


def agreement_of(labels: Mapping[str, CurrentLabel]) -> Agreement:
    """How far people agree on the samples that two of them labelled (rule 3)."""
    found = [list(label.opinions.values())[:2] for _, label in sorted(labels.items()) if len(label.opinions) > 1]
    return cohen_kappa([(one, other) for one, other in found])


def labellers(catalog: Catalog, inspection: str) -> list[Labeller]:
    """Everybody who answered golden items, by name (rule 4)."""
    right: dict[str, list[bool]] = {}
    for answer in golden_answers(catalog, inspection):
        right.setdefault(answer.who, []).append(answer.right)
    return [Labeller(who=who, accuracy=_share(sum(given), len(given), 0.95)) for who, given in sorted(right.items())]


def _share(successes: int, n: int, level: float) -> Estimate:
    low, high = clopper_pearson(successes, n, level)
    return Estimate(value=successes / n if n else math.nan, low=low, high=high, n=n, level=level)
