"""Which offered samples show most of what no label has shown yet, as scores for the second sampling stage.

1. Farthest first: the sample whose embedding is farthest from every labelled and every already picked one comes next
   (greedy k-centre, the core-set of Sener & Savarese 2018, §4.1). What is new on the line lies far away; of ten
   near-duplicates one is picked.
2. A part of a draw goes to those picks: their scores are raised, not fixed, so every offered sample keeps a
   probability that is known and not zero, and the estimates stay unbiased. The rest of the draw is by the old scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: How much likelier a pick is drawn than by its old score: nearly always, and the others still sometimes.
RAISE = 20.0


def farthest_first(offered: NDArray[np.floating], known: NDArray[np.floating], n: int) -> list[int]:
    """Pick up to n rows of `offered` by rule 1.

    Args:
        offered: [m, D], rows of length 1.
        known: [l, D], labelled ones; l may be 0: then the first pick is the row farthest from the mean.
        n: How many.

    >>> import numpy as np
    >>> farthest_first(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), np.array([[1.0, 0.0]]), 2)
    [2, 1]
    """
    rows, seen = np.asarray(offered, dtype=np.float32), np.asarray(known, dtype=np.float32)
    picked: list[int] = []
    if not len(rows):
        return picked
    centres = seen if len(seen) else rows.mean(axis=0, keepdims=True)
    nearest = np.min([np.square(rows - centre).sum(axis=1) for centre in centres], axis=0)
    if not len(seen):
        picked.append(int(nearest.argmax()))
        nearest = np.square(rows - rows[picked[0]]).sum(axis=1)
    while len(picked) < min(n, len(rows)):
        nearest[picked] = -1.0
        picked.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.square(rows - rows[picked[-1]]).sum(axis=1))
    return picked


def raised(scores: Sequence[float], picks: Sequence[int]) -> list[float]:
    """Return the scores with those of the picks raised (rule 2); a pick of little score counts as a middling one."""
    middle = float(np.median(scores)) if len(scores) else 0.0
    chosen = set(picks)
    return [max(s, middle) * RAISE if i in chosen else s for i, s in enumerate(scores)]
