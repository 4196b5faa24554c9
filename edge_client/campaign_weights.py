"""What campaigns add to a frame's weight: as much as their share allows, and no more.

1. How well a frame matches, in [0, 1]. *Like*: how far its embedding goes in the campaign's direction, in standard
   deviations of what this device sees; nothing below 1.5, all of it from 3 on, squared in between. *Of a class*: 1
   where class and margin are as asked.
2. A frame that matches asks for s/(1-S) · w̄ · match / m̄: with w̄ and m̄ the running means of the other weights and of
   the match, s the campaign's share and S that of all together. So the campaign has the share s of all weight, few
   matches much each, many matches little each; a match rarer than one in a thousand counts as that.
3. It gets at most what keeps the campaign's part of the weight seen lately at s, however many frames match at once.
   There a weight counts as at most four times the mean: what is above is kept anyway, and pays for no other frame.
4. All this depends on frames that were seen, never on which were kept, so that the draw of u stays independent and
   estimates exact. The addition is divided by k, as all reasons are, for the k-th near-duplicate of a run.
5. Of another embedding space than the engine's, a campaign rests. What it has learnt is kept while it is followed.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.campaigns import Campaign, Like, OfClass, shares_of
from edge_client.contract.engine_metadata import EngineMetadata

_FROM, _FULL = 1.5, 3.0  # standard deviations
_MEMORY_FRAMES = 2_000  # sums and means forget older frames than about this many
_FEW_FRAMES = 50.0  # that what is known at the beginning counts for
_USUAL_MATCH = 0.01  # a campaign's mean match, to begin with
_LEAST_MATCH = 1e-3
_PLAIN = 4.0  # a weight counts in shares as at most this many mean weights


class CampaignWeights:
    """Adds the weight of campaigns, frame by frame in the order they are seen."""

    def __init__(self) -> None:
        self._followed: list[_Followed] = []
        self._mean = 0.0
        self._plain = 0.0
        self._frames = 0

    def __bool__(self) -> bool:
        """Whether there is any to follow."""
        return bool(self._followed)

    def follow(self, campaigns: Sequence[Campaign]) -> None:
        """Follow these from now on; one that was followed before goes on with what it has learnt (rule 5)."""
        shares = shares_of({campaign.id: campaign.share for campaign in campaigns})
        together = sum(shares.values())
        known = {followed.campaign.id: followed for followed in self._followed}
        self._followed = []
        for campaign in campaigns:
            followed = known.get(campaign.id) or _Followed(campaign)
            followed.campaign = campaign
            followed.ratio = shares[campaign.id] / (1.0 - together)
            self._followed.append(followed)

    def resting(self, metadata: EngineMetadata) -> list[str]:
        """Return the ids of campaigns that an engine cannot follow."""
        return [followed.campaign.id for followed in self._followed if not followed.fits(metadata)]

    def add(
        self,
        weight: float,
        *,
        k: int,
        label: str,
        margin: float,
        embedding: NDArray[np.float32],
        metadata: EngineMetadata,
    ) -> tuple[tuple[str, float], ...]:
        """Return (campaign, weight to add) for those that a frame matches.

        Args:
            weight: Its weight without campaigns.
            k: The frame is the k-th of its run.
            label: Its decided class.
            margin: Of its probabilities.
            embedding: float32 [D], length 1.
            metadata: Of the engine that answered.
        """
        self._frames = frames = min(self._frames + 1, _MEMORY_FRAMES)
        self._mean += (weight - self._mean) / frames
        keep = 1.0 - 1.0 / _MEMORY_FRAMES
        self._plain = self._plain * keep + min(weight, _PLAIN * self._mean)
        found = []
        for followed in self._followed:
            followed.added *= keep
            if not followed.fits(metadata):
                continue
            match = followed.match(label, margin, embedding)
            if match <= 0.0:
                continue
            asked = followed.ratio * self._mean * match / max(followed.mean_match, _LEAST_MATCH) / k
            granted = min(asked, followed.ratio * self._plain - followed.added)
            if granted > 0.0:
                followed.added += granted
                found.append((followed.campaign.id, granted))
        return tuple(found)


class _Followed:
    """One campaign and what this device has learnt of it."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.ratio = 0.0
        self.added = 0.0
        self.mean_match = _USUAL_MATCH
        self._frames = _FEW_FRAMES
        self._direction: NDArray[np.float32] = np.empty(0, np.float32)
        query = campaign.query
        if isinstance(query, Like):
            self._direction = query.direction.astype(np.float32)
            self._mean, self._variance = query.mean, query.deviation**2

    def fits(self, metadata: EngineMetadata) -> bool:
        """Whether an engine's answers can be held against the query (rule 5)."""
        query = self.campaign.query
        if isinstance(query, OfClass):
            return any(described.name == query.name for described in metadata.classes)
        return isinstance(query, Like) and query.embedding_id == metadata.embedding_id

    def match(self, label: str, margin: float, embedding: NDArray[np.float32]) -> float:
        """Return how well a frame matches (rule 1), and learn from it."""
        query = self.campaign.query
        self._frames = frames = min(self._frames + 1.0, float(_MEMORY_FRAMES))
        if isinstance(query, OfClass):
            match = 1.0 if label == query.name and margin < query.margin_below else 0.0
        else:
            match = self._likeness(embedding, frames)
        self.mean_match += (match - self.mean_match) / frames
        return match

    def _likeness(self, embedding: NDArray[np.float32], frames: float) -> float:
        if embedding.size != self._direction.size:
            return 0.0
        reached = float(self._direction.dot(embedding))
        if not math.isfinite(reached):
            return 0.0
        away = reached - self._mean
        deviations = away / math.sqrt(self._variance)
        self._mean += away / frames
        self._variance = max(1e-12, self._variance + (away * (reached - self._mean) - self._variance) / frames)
        return min(1.0, max(0.0, (deviations - _FROM) / (_FULL - _FROM))) ** 2
