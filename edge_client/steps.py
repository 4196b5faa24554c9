"""What a commit of the spool is made of, in the order things happened."""

from dataclasses import dataclass
from datetime import datetime

from edge_client.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A window begins."""

    window: int
    opened_at: datetime
    byte_budget: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A sealed sample is offered to the sampler."""

    window: int
    sample_id: str
    weight: float
    u: float
    run: int
    reasons: str  # JSON
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """A sealed sample or event list outside of the probability sample."""

    window: int
    sample_id: str
    kind: str
    sealed: bytes
    weight: float = 0.0
    u: float = 1.0
    run: int = -1
    reasons: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Counters of frames that were seen."""

    window: int
    tally: Tally
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A window gets no more frames."""

    window: int
    closed_at: datetime


Step = Open | Offer | Extra | Seen | Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a commit did.

    Attributes:
        kept: Ids that are now acknowledged.
        refused: Ids of extras for which there was no room.
        thresholds: τ of every window in the pool.
    """

    kept: frozenset[str]
    refused: frozenset[str]
    thresholds: dict[int, float]
