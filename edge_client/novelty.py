"""How new a frame looks: a factor on its reasons, from the distance to what was seen lately.

1. A few embeddings are remembered: the first ones, then each frame with a chance that falls as frames go by but never
   below one in fifty, in place of a random one. So the memory is spread over what was seen and follows a change.
2. Distances are taken between sketches of 64 numbers: the embedding times random signs, folded onto itself. A sketch
   keeps inner products on average (Charikar, Chen & Farach-Colton 2002; Weinberger et al. 2009) at a twentieth of the
   work, and is too small for a matrix library to wake its threads for.
3. The factor is the distance to the nearest one over the running mean of such distances, in [0.5, 2].
"""

import math
from random import Random

import numpy as np
from numpy.typing import NDArray

_REMEMBERED = 64  # embeddings
_WIDTH = 64  # of a sketch
_FEW = 8  # with fewer to compare with, nothing is new
_USUAL_FRAMES = 1000  # the running mean forgets older frames than about this many
_LEAST_CHANCE = 0.02  # of taking the place of one that is remembered


class Novelty:
    """Finds the factor of each frame, in the order they are seen.

    Args:
        random: For the signs, and for choosing what is remembered.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = Random(int(random.integers(2**63)))  # a number from it costs an eighth
        self._embedding_id = ""
        self._width = 0
        self._signs: NDArray[np.float32] = np.empty(0, np.float32)
        self._folds: NDArray[np.float32] = np.empty(0, np.float32)
        self._memory: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._known = self._memory  # the part of it that is filled
        self._held = 0
        self._seen = 0
        self._usual = 0.0

    def factor(self, embedding: NDArray[np.float32], embedding_id: str) -> float:
        """Return a frame's factor, and perhaps remember the frame.

        Args:
            embedding: float32 [D], length 1.
            embedding_id: Which space it is in; another one begins anew.
        """
        if embedding_id != self._embedding_id or embedding.size != self._width:
            self._begin(embedding.size, embedding_id)
        sketch = self._sketch(embedding)
        length = math.sqrt(float(sketch.dot(sketch)))
        if not 0.0 < length < math.inf:
            return 1.0  # an engine may answer anything
        found = 1.0
        held = self._held
        if held >= _FEW:
            likeness = self._known.dot(sketch)
            nearest = float(likeness[likeness.argmax()]) / length  # argmax is half the price of max
            distance = max(0.0, 1.0 - nearest)
            self._usual += (distance - self._usual) / min(self._seen - _FEW + 1, _USUAL_FRAMES)
            if self._usual > 1e-9:
                found = min(2.0, max(0.5, distance / self._usual))
        self._seen += 1
        if held < _REMEMBERED:
            self._memory[held] = sketch / length
            self._held = held + 1
            self._known = self._memory[: held + 1]
        elif self._random.random() < max(_REMEMBERED / self._seen, _LEAST_CHANCE):
            self._memory[self._random.randrange(_REMEMBERED)] = sketch / length
        return found

    def _begin(self, width: int, embedding_id: str) -> None:
        self._embedding_id, self._width = embedding_id, width
        self._signs = np.array([self._random.choice((-1.0, 1.0)) for _ in range(width)], dtype=np.float32)
        self._folds = np.ones(width // _WIDTH, dtype=np.float32)
        self._memory = np.zeros((_REMEMBERED, min(width, _WIDTH)), dtype=np.float32)
        self._known = self._memory[:0]
        self._held, self._seen, self._usual = 0, 0, 0.0

    def _sketch(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the embedding itself if it is short, else float32 [64]."""
        if embedding.size <= _WIDTH:
            return embedding
        signed = embedding * self._signs
        rest = embedding.size % _WIDTH
        whole = signed[:-rest] if rest else signed
        # a sum over rows, at a sixth of the price of sum()
        sketch: NDArray[np.float32] = self._folds.dot(whole.reshape(-1, _WIDTH))
        if rest:
            sketch[:rest] += signed[-rest:]
        return sketch
