"""Near-duplicates among captured samples, so that one label serves all of a run.

1. Only samples of one device, one capture window, one engine and one split group are compared: near-duplicates come one
   after another (a stopped belt, several frames of a part), embeddings of two engines cannot be compared, and a label
   must not travel from the training side to the holdout.
2. In the order in which they were captured, a sample joins the nearest of the newest leaders if its embedding is within
   the distance; else it leads a group of its own. A run goes on while frames look like its leader, not like the frame
   before: a slow drift does not become one group.
3. A sample without an embedding is alone. A group has at most `MOST` members: one wrong label must not weigh too much.

The cost is n times the leaders looked at, whatever n is. Groups depend on the samples alone, never on what is drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MOST = 50
_LEADERS = 32  # newest leaders of a block that a sample is compared with


@dataclass(slots=True)
class _Block:
    leaders: list[int] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def group_near_duplicates(
    embeddings: Sequence[NDArray[np.float32] | None], blocks: Sequence[Hashable], distance: float
) -> NDArray[np.int64]:
    """The leader of each sample's group.

    Args:
        embeddings: n vectors of length 1, or None, in order of capture.
        blocks: n values; only samples with the same one are compared (rule 1).
        distance: Cosine distance up to which two are near-duplicates; 0 groups nothing.

    Returns:
        int64 [n]: position of the group's leader; a leader's is its own.

    >>> a, b = np.array([1, 0], dtype=np.float32), np.array([0, 1], dtype=np.float32)
    >>> group_near_duplicates([a, a, b, a], ["w1"] * 4, 0.01).tolist()
    [0, 0, 2, 0]
    """
    leader = np.arange(len(embeddings), dtype=np.int64)
    if distance <= 0:
        return leader
    open_blocks: dict[Hashable, _Block] = {}
    for i, (vector, key) in enumerate(zip(embeddings, blocks, strict=True)):
        if vector is None:
            continue
        block = open_blocks.setdefault(key, _Block())
        if block.leaders:
            apart = 1.0 - np.stack(block.vectors) @ vector
            apart[np.array(block.sizes) >= MOST] = np.inf
            nearest = int(apart.argmin())
            if apart[nearest] <= distance:
                leader[i] = block.leaders[nearest]
                block.sizes[nearest] += 1
                continue
        block.leaders.append(i)
        block.vectors.append(vector)
        block.sizes.append(1)
        del block.leaders[:-_LEADERS], block.vectors[:-_LEADERS], block.sizes[:-_LEADERS]
    return leader
