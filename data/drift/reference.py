"""The reference period of a device's pictures: what is usual there, and how much it varies from day to day.

1. A score is turned into its rank among the reference frames, each counted 1/p: in [0, 1], 1/2 on average.
2. Two payoffs of a rank u: u itself, for moderate changes of many frames; and whether u is above 0.95, for large
   changes. For both ends, the rank is turned round. Their edges are those of the reference days (data/drift/band.py).
3. Two kinds of bet learn from the frames before: the direction in which the latest embeddings lie from the reference
   (the linear discriminant of a classifier two-sample test), and the cell of the image where the latest frames differ
   most (a spot that stays). What a bet is on is fixed before the frames that it is judged by are looked at. Since a
   day's own direction is where that day is oddest, its edge comes from playing the same game through the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.drift.band import daily_means, upper_edges
from data.drift.evidence import NEAR_OUTSIDE
from data.drift.memory import Memory, Placed
from data.drift.pictures import Pictures
from data.drift.quality import MEASURES
from data.drift.space import Space, space_of
from edge_client.contract.errors import AndonError

Floats = NDArray[np.float64]

LEAST_DAYS = 5
LEAST_FRAMES = 100
#: Score, and whether it is bet on upwards or downwards; two payoffs each.
SIDES: tuple[tuple[str, bool], ...] = (
    ("brightness", True),
    ("brightness", False),
    ("contrast", True),
    ("contrast", False),
    ("sharpness", True),
    ("sharpness", False),
    ("clipped", True),
    ("novelty", True),
)
SCORES = (*MEASURES, "novelty")
#: What each bet is on, in the order of all arrays of bets.
BETS: tuple[str, ...] = (*(name for name, _ in SIDES for _ in range(2)), "direction", "direction", "spot")
SPOT_REACH = 4.0  # standard deviations of a cell at which its payoff is 0 or 1
_TAIL = 0.05
_TOLERANCE = 0.02  # of a mean rank: a fourteenth of a standard deviation
_KNOTS = 200
_RANKED = 600  # reference frames that a direction is ranked among
_CHUNK = 10
_LEAST_SPOT_SPREAD = 0.02


class ReferenceTooSmall(AndonError):
    """Too few days or frames to say what is usual."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Made by :func:`reference_of`.

    Attributes:
        space: Coordinates of embeddings.
        knots: Values of each score at the ranks `ranks`, [5, K].
        ranks: [5, K].
        edges: Of every bet in `BETS`, [B].
        near: The nearer edges of the same (data/drift/evidence.py, rule 5), [B].
        centre: Mean of each score, [5].
        spread: Standard deviation of each score, [5].
        spot_mean: [cells].
        spot_spread: [cells].
        coordinates: Of some reference frames, float32 [m, k], to rank a direction among.
        weights: 1/p of the same, summing to 1.
        days: How many days it is made of.
        frames: How many captured frames.
    """

    space: Space
    knots: Floats
    ranks: Floats
    edges: Floats
    near: Floats
    centre: Floats
    spread: Floats
    spot_mean: Floats
    spot_spread: Floats
    coordinates: NDArray[np.float32]
    weights: Floats
    days: int
    frames: int

    def place(self, pictures: Pictures) -> Placed:
        """Put frames into the reference's terms."""
        coordinates, novelty = self.space.place(pictures.embeddings)
        return Placed(
            scores=np.column_stack([pictures.quality, novelty]),
            coordinates=coordinates,
            spots=np.clip((pictures.spots - self.spot_mean) / self.spot_spread, -SPOT_REACH, SPOT_REACH),
        )

    def empty_memory(self) -> Memory:
        """A memory of no frame."""
        none = Placed(
            scores=np.empty((0, len(SCORES))),
            coordinates=np.empty((0, self.coordinates.shape[1])),
            spots=np.empty((0, len(self.spot_mean))),
        )
        return Memory(placed=none, relative=np.empty(0))

    def payoffs(self, placed: Placed, memory: Memory) -> Floats:
        """The payoff of every bet for every frame, [n, B], with what was learnt before these frames."""
        columns = []
        for name, up in SIDES:
            i = SCORES.index(name)
            rank = np.interp(placed.scores[:, i], self.knots[i], self.ranks[i])
            u = rank if up else 1.0 - rank
            columns += [u, (u > 1.0 - _TAIL).astype(np.float64)]
        return np.column_stack([*columns, self._learnt(placed, memory)])

    def _learnt(self, placed: Placed, memory: Memory) -> Floats:
        """Payoffs of the bets that learn, [n, 3] (rule 3); nobody gains before anything is remembered."""
        if not len(memory):
            return np.zeros((len(placed.scores), 3))
        direction = memory.share @ memory.placed.coordinates
        usual = self.coordinates @ direction.astype(np.float32)
        order = np.argsort(usual, kind="stable")
        below = np.concatenate([[0.0], np.cumsum(self.weights[order])])
        u = below[np.searchsorted(usual[order], placed.coordinates @ direction)]
        spots = memory.share @ memory.placed.spots
        cell = int(np.argmax(np.abs(spots)))
        spot = 0.5 + np.sign(spots[cell]) * placed.spots[:, cell] / (2 * SPOT_REACH)
        return np.column_stack([u, (u > 1.0 - _TAIL).astype(np.float64), spot])


def reference_of(pictures: Pictures, *, outside: float) -> Reference:
    """Learn what is usual.

    Args:
        pictures: The captured samples of the reference period, in time order.
        outside: Chance that, without drift, a day's mean of a payoff lies outside its band.

    Raises:
        ReferenceTooSmall: Fewer than 5 days or 100 samples.
    """
    days, n = len(np.unique(pictures.day)), len(pictures)
    if days < LEAST_DAYS or n < LEAST_FRAMES:
        raise ReferenceTooSmall(
            f"the reference has {n} samples of {days} days; expected at least {LEAST_FRAMES} of {LEAST_DAYS}"
        )
    share = (1.0 / pictures.p) / (1.0 / pictures.p).sum()
    space = space_of(pictures.embeddings, pictures.p)
    coordinates, novelty = space.place(pictures.embeddings)
    scores = np.column_stack([pictures.quality, novelty])
    centre = share @ scores
    tables = [_rank_table(scores[:, i], share) for i in range(len(SCORES))]
    spot_mean = share @ pictures.spots.astype(np.float64)
    ranked = np.unique(np.linspace(0, n - 1, min(n, _RANKED)).astype(np.int64))
    made = Reference(
        space=space,
        knots=np.array([values for values, _ in tables]),
        ranks=np.array([ranks for _, ranks in tables]),
        edges=np.ones(len(BETS)),
        near=np.ones(len(BETS)),
        centre=centre,
        spread=np.sqrt(share @ np.square(scores - centre)),
        spot_mean=spot_mean,
        spot_spread=np.sqrt(share @ np.square(pictures.spots - spot_mean)) + _LEAST_SPOT_SPREAD,
        coordinates=coordinates[ranked].astype(np.float32),
        weights=share[ranked] / share[ranked].sum(),
        days=days,
        frames=n,
    )
    means, variances = daily_means(_play_through(made, pictures), pictures.p[_CHUNK:], pictures.day[_CHUNK:])
    far, near = (
        upper_edges(means, variances, outside=chance, tolerance=_TOLERANCE) for chance in (outside, NEAR_OUTSIDE)
    )
    return replace(made, edges=far, near=near)


def _play_through(reference: Reference, pictures: Pictures) -> Floats:
    """Payoffs of the reference's own frames from the second chunk on, in the order of time."""
    placed, relative = reference.place(pictures), pictures.relative
    memory, played = reference.empty_memory(), []
    for start in range(0, len(pictures), _CHUNK):
        rows = slice(start, start + _CHUNK)
        part = placed.select(rows)
        if start:
            played.append(reference.payoffs(part, memory))
        memory = memory.after(part, relative[rows])
    return np.concatenate(played)


def _rank_table(values: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Values and their middle ranks (ties share one), thinned; beyond both ends lie ranks 0 and 1."""
    unique, inverse = np.unique(values, return_inverse=True)
    mass = np.bincount(inverse, weights=share, minlength=len(unique))
    middle = np.cumsum(mass) - mass / 2
    at, number = np.linspace(0.0, len(unique) - 1.0, _KNOTS), np.arange(len(unique))
    step = 1e-9 + 1e-3 * float(unique[-1] - unique[0])
    knots = np.concatenate([[unique[0] - step], np.interp(at, number, unique), [unique[-1] + step]])
    return knots, np.concatenate([[0.0], np.interp(at, number, middle), [1.0]])
