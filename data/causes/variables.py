"""A variable of the context as columns of scores that a test can use, or the reason why it cannot be tested.

1. Numbers: the weighted mid-rank in (0, 1), which sees what rises or falls, and its squared distance from the middle,
   which sees what both ends have in common. Heavy tails do nothing to a rank.
2. Texts: one column for each value that at least ten parts share, the twelve most frequent. Numbers with at most
   twelve values get such columns too: they may be codes, such as a recipe's.
3. A number among texts is a text.
4. Not testable: too few parts have it; constant, or nearly; an identifier; a counter.

Nothing here looks at what holds of the parts: a variable's form cannot be chosen to please the test.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.causes.join import Value, Values
from data.causes.phrases import Phrase

LEAST_PARTS = 30  # with the variable: below, nothing survives a correction for many tests
LEAST_SHARED = 10  # parts that differ from the rest, or share a value
MOST_LEVELS = 12
LONGEST_TEXT = 64  # of a value; what is longer is cut, and equal if its beginning is
_COUNTER = 0.9999  # rank correlation with time


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable that can be tested.

    Attributes:
        rows: int [n], rows of its table that have it.
        scores: float [n, k].
        columns: What each column is: ``rank``, ``bend``, or ``=`` with a value.
        numbers: float [n], or None for texts.
        texts: n values, as compared; none for numbers of many values.
        missing: Weighted share of the table's parts without it.
    """

    name: str
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    columns: tuple[str, ...]
    numbers: NDArray[np.float64] | None
    texts: tuple[str, ...]
    missing: float


def variable_of(name: str, values: Values, weight: NDArray[np.float64], at: NDArray[np.float64]) -> Variable | Phrase:
    """Code a variable.

    Args:
        name: Its key.
        values: Of n parts; None where it is missing.
        weight: Of the same parts.
        at: Seconds, to tell a counter.

    Returns:
        The variable, or why it cannot be tested.
    """
    known: Values
    if isinstance(values, np.ndarray):
        rows = np.flatnonzero(np.isfinite(values))
        known = values[rows]
    else:
        rows = np.array([i for i, value in enumerate(values) if _given(value)], dtype=np.int64)
        known = [values[i] for i in rows.tolist()]
    if len(known) < LEAST_PARTS:
        return Phrase("too_few_have_it", {"n": len(known), "least": LEAST_PARTS})
    if isinstance(known, np.ndarray) or all(not isinstance(value, str) for value in known):
        coded = _number(np.array(known, dtype=np.float64), weight[rows], at[rows])
    else:
        coded = _text([value if isinstance(value, str) else _figure(value) for value in known])
    if isinstance(coded, Phrase):
        return coded
    columns, numbers, texts = coded
    return Variable(
        name=name,
        rows=rows,
        scores=np.column_stack([scores for _, scores in columns]),
        columns=tuple(label for label, _ in columns),
        numbers=numbers,
        texts=texts,
        missing=1.0 - float(weight[rows].sum() / weight.sum()),
    )


def weighted_ranks(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the population below each value, and half of what equals it.

    >>> weighted_ranks(np.array([3.0, 1.0, 3.0]), np.array([1.0, 2.0, 1.0])).tolist()
    [0.75, 0.25, 0.75]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    below = np.concatenate([[0.0], np.cumsum(weight[order])])
    ranks = np.empty_like(ordered)
    ranks[order] = (below[first] + below[last]) / 2 / below[-1]
    return ranks


_Coded = tuple[list[tuple[str, NDArray[np.float64]]], NDArray[np.float64] | None, tuple[str, ...]]


def _number(numbers: NDArray[np.float64], weight: NDArray[np.float64], at: NDArray[np.float64]) -> _Coded | Phrase:
    distinct, counts = np.unique(numbers, return_counts=True)
    if (others := len(numbers) - int(counts.max())) < LEAST_SHARED:
        return _constant(others, len(numbers))
    if _counts_up(numbers, at):
        return Phrase("a_counter")
    ranks = weighted_ranks(numbers, weight)
    columns = [("rank", ranks), ("bend", (ranks - 0.5) ** 2)]
    if not 2 < len(distinct) <= MOST_LEVELS:
        return columns, numbers, ()
    texts = tuple(_figure(number) for number in numbers.tolist())
    return columns + _levels(texts), numbers, texts


def _text(texts: Sequence[str]) -> _Coded | Phrase:
    cut = tuple(text[:LONGEST_TEXT] for text in texts)
    counts = Counter(cut)
    if (others := len(cut) - counts.most_common(1)[0][1]) < LEAST_SHARED:
        return _constant(others, len(cut))
    columns = _levels(cut)
    if columns:
        return columns, None, cut
    if 2 * len(counts) >= len(cut):
        return Phrase("an_identifier", {"values": len(counts), "n": len(cut)})
    return Phrase("nothing_shared", {"least": LEAST_SHARED})


def _levels(texts: tuple[str, ...]) -> list[tuple[str, NDArray[np.float64]]]:
    array = np.array(texts)
    levels = [
        level for level, n in Counter(texts).most_common(MOST_LEVELS) if LEAST_SHARED <= n <= len(texts) - LEAST_SHARED
    ]
    return [(f"={level}", (array == level).astype(np.float64)) for level in sorted(levels)]


def _constant(others: int, n: int) -> Phrase:
    return Phrase("constant", {"others": others, "n": n})


def _given(value: Value) -> bool:
    return value is not None and (isinstance(value, str) or math.isfinite(value))


def _figure(number: Value) -> str:
    return f"{number:.6g}"


def _counts_up(numbers: NDArray[np.float64], at: NDArray[np.float64]) -> bool:
    if len(np.unique(numbers)) < 0.9 * len(numbers):
        return False
    ones = np.ones_like(numbers)
    return bool(np.corrcoef(weighted_ranks(numbers, ones), weighted_ranks(at, ones))[0, 1] > _COUNTER)
