"""Campaigns: what people ask devices to send more of, for a while. A signed document, `settings/default.campaigns`.

1. A campaign asks for frames like some examples (`Like`), or for frames of a class that the engine was not sure of
   (`OfClass`), on the devices that its `match` takes, until it ends.
2. `share` is the part of the sampling weight, and so of the bytes, that it may take on a device. All together take at
   most `MOST_SHARE`; where their shares add up to more, each is scaled down.
3. `Like` belongs to one embedding space: where an engine of another trunk runs, it rests.
4. A query that this client does not know is left out, and told.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.errors import BadRelease
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.matching import Match, Place, read_match
from edge_client.contract.sample import MAX_EMBEDDING
from edge_client.contract.signing import canonical_json

SCHEMA = 1
TARGET = "settings/default.campaigns"
MOST_CAMPAIGNS = 100
MOST_SHARE = 0.5
LEAST_SHARE = 0.01
_MOST_REACHED = 1e6  # no embedding of length 1 reaches so far in a direction of whole numbers below 128
_DOCUMENT = "campaigns"
_KNOWN = {"id", "match", "share", "until", "like", "of_class", "wanted", "note"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Like:
    """Frames like some examples: those whose embedding goes far in a direction.

    Attributes:
        embedding_id: The space that the direction is in.
        direction: int8 [D]: where the examples lie as seen from ordinary frames, in the metric of those frames' spread.
        mean: Of ordinary frames in that direction (of embedding · direction), to begin with.
        deviation: Their standard deviation; above 0.
    """

    embedding_id: str
    direction: NDArray[np.int8]
    mean: float
    deviation: float

    def to_payload(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "embedding_id": self.embedding_id,
            "direction": base64.b64encode(self.direction.tobytes()).decode(),
            "mean": self.mean,
            "deviation": self.deviation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClass:
    """Frames whose decided class is this one, with a margin below a bound; 1 takes all of them."""

    name: str
    margin_below: float = 1.0

    def to_payload(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"name": self.name, "margin_below": self.margin_below}


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One campaign.

    Attributes:
        query: What it asks for; None where this client does not know its kind.
        wanted: The class that people hope to get, for its precision; "" where they did not say.
        note: For people.
        unknown: What else this client does not know of it; a campaign with any rests.
    """

    id: str
    share: float
    until: datetime
    match: Match = field(default_factory=Match)
    query: Like | OfClass | None = None
    wanted: str = ""
    note: str = ""
    unknown: tuple[str, ...] = ()

    def holds(self, place: Place, at: datetime) -> bool:
        """Whether a device should follow it at a time, aware."""
        return self.query is not None and not self.unknown and at < self.until and self.match.takes(place)

    def to_payload(self) -> dict[str, Any]:
        """Return plain JSON values."""
        value: dict[str, Any] = {"id": self.id, "share": self.share, "until": self.until.isoformat()}
        if match := self.match.to_payload():
            value["match"] = match
        value |= {name: text for name, text in (("wanted", self.wanted), ("note", self.note)) if text}
        if isinstance(self.query, Like):
            value["like"] = self.query.to_payload()
        elif self.query is not None:
            value["of_class"] = self.query.to_payload()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaigns:
    """One version of the document."""

    version: int
    issued_at: datetime
    campaigns: tuple[Campaign, ...] = ()

    def to_json(self) -> bytes:
        """Serialise for signing."""
        return canonical_json(
            {
                "schema": SCHEMA,
                "version": self.version,
                "issued_at": self.issued_at.isoformat(),
                "campaigns": [campaign.to_payload() for campaign in self.campaigns],
            }
        )

    @staticmethod
    def from_json(data: bytes) -> "Campaigns":
        """Read and check.

        Raises:
            BadRelease: Not such a document.
        """
        fields = Fields(read_json(data, _DOCUMENT, BadRelease), _DOCUMENT, BadRelease)
        if fields.whole("schema") != SCHEMA:
            raise fields.wrong("schema", fields.raw("schema"), f"{SCHEMA}; update the client")
        campaigns = tuple(_campaign(each) for each in fields.objects("campaigns", most=MOST_CAMPAIGNS))
        ids = [campaign.id for campaign in campaigns]
        if len(set(ids)) != len(ids):
            raise fields.wrong("campaigns", ids, "campaigns with ids of their own")
        return Campaigns(version=fields.whole("version"), issued_at=fields.time("issued_at"), campaigns=campaigns)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What this client does not know of it (rule 4)."""
        return tuple(f"{campaign.id}: {name}" for campaign in self.campaigns for name in campaign.unknown)


def shares_of(shares: Mapping[str, float]) -> dict[str, float]:
    """Return what each campaign may take beside the others (rule 2).

    >>> shares_of({"a": 0.4, "b": 0.6})
    {'a': 0.2, 'b': 0.3}
    """
    total = sum(shares.values())
    scale = min(1.0, MOST_SHARE / total) if total > 0 else 1.0
    return {name: share * scale for name, share in shares.items()}


def _campaign(fields: Fields) -> Campaign:
    match = read_match(fields)
    unknown = [*fields.unknown(_KNOWN), *(f"match by {kind}" for kind in match.uncertain)]
    query: Like | OfClass | None = None
    if fields.has("like"):
        query = _like(fields.within("like"))
    elif fields.has("of_class"):
        inner = fields.within("of_class")
        query = OfClass(name=inner.class_name("name"), margin_below=inner.number("margin_below", least=0.0, most=1.0))
    return Campaign(
        id=fields.name("id", "campaign"),
        share=fields.number("share", least=LEAST_SHARE, most=MOST_SHARE),
        until=fields.time("until"),
        match=match,
        query=None if unknown else query,  # written again, as a device keeps it, it must rest as well
        wanted=fields.class_name("wanted") if fields.has("wanted") else "",
        note=fields.text("note", most=500) if fields.has("note") else "",
        unknown=tuple(unknown),
    )


def _like(fields: Fields) -> Like:
    text = fields.text("direction", most=2 * MAX_EMBEDDING)
    try:
        direction = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.int8)
    except (binascii.Error, ValueError) as error:
        raise fields.wrong("direction", text[:40], "whole numbers of 8 bits in base 64") from error
    if not direction.any():
        raise fields.wrong("direction", text[:40], "at least one number that is not 0")
    deviation = fields.number("deviation", least=0.0, most=_MOST_REACHED)
    if deviation <= 0:
        raise fields.wrong("deviation", deviation, "a number above 0")
    return Like(
        embedding_id=fields.text("embedding_id", most=256),
        direction=direction,
        mean=fields.number("mean", least=-_MOST_REACHED, most=_MOST_REACHED),
        deviation=deviation,
    )
