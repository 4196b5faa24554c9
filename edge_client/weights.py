"""What a frame is worth: reasons → the sampling weight w (the FRAME rule).

1. Reasons, each in [0, 1]: *uncertain* (1 - calibrated margin), *anomalous*, *rare* (probability of classes that are
   rare on this device), *disagree* (a shadow challenger differs).
2. Each is squared, so that a clear case counts more than many faint ones, and divided by the running mean of its
   squares, so that a reason that many frames share drowns none that few have. The mean counts as at least a
   twentieth: a faint reason that nobody else has is still faint, and none counts more than twenty times.
3. *anomalous* is also multiplied by 1 - its running mean: after a product change everything is anomalous, and that
   tells no frame from another.
4. Their sum is multiplied by a novelty factor in [0.5, 2]: the distance to the nearest embedding seen lately against
   the usual one (`novelty`).
5. w = reasons / k + a + c, for the k-th near-duplicate of a run; c is what campaigns add (`campaign_weights`).
6. a = φ/(1-φ) · running mean of the reasons over frames SEEN: the audit share φ. a > 0 always, so every frame can be
   drawn. Neither it nor the means know of c: with no campaign all is as if there never was one.

A frame's weight is plain Python on a handful of numbers: an array of K = 2 costs more to touch than to compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.campaign_weights import CampaignWeights
from edge_client.contract.engine_metadata import EngineMetadata, Kind
from edge_client.novelty import Novelty

REASONS = ("uncertain", "anomalous", "rare", "disagree")
REQUESTED = "requested:"  # before the id of a campaign

_LEAST_MEAN = 1 / 20  # of a squared reason: the greatest factor by which it is raised is 20
_LEAST_REASONS = 1e-3  # a stream of frames that all look perfectly normal still has a weight
_MEAN_FRAMES = 10_000  # the running means forget older frames than about this many
_PRIOR_FRAMES = 50.0  # how many frames the training prior counts for in the shares of classes
_K1_BAND = 0.25  # with one class: anomaly within a quarter of the threshold is uncertain


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A frame's weight.

    Attributes:
        weight: w > 0.
        margin: Difference of the two largest probabilities, in [0, 1]; with one class the distance to the anomaly
            threshold.
        audit: Part of w that every frame has.
        parts: How the rest of it is divided among `REASONS`; those that are not there have none.
        requested: What each campaign that the frame matches adds to w.
    """

    weight: float
    margin: float
    audit: float
    parts: tuple[float, ...]
    requested: tuple[tuple[str, float], ...] = ()

    @property
    def reasons(self) -> dict[str, float]:
        """What w is made of, for people: reason → its part; sums to w."""
        plain = sum(self.parts)
        asked = {REQUESTED + name: round(part, 6) for name, part in self.requested}
        weight = self.weight - sum(part for _, part in self.requested)
        if plain <= 0.0:
            return {**asked, "audit": round(weight, 6)}
        scale = (weight - self.audit) / plain
        told = {name: round(part * scale, 6) for name, part in zip(REASONS, self.parts, strict=False)}
        return {**{name: part for name, part in told.items() if part > 0.0}, **asked, "audit": round(self.audit, 6)}


class Weigher:
    """Weighs frames in the order they are seen.

    Args:
        audit_share: φ.
        random: For choosing which embeddings to remember; the sample's own u never comes from here.
    """

    def __init__(self, *, audit_share: float, random: np.random.Generator) -> None:
        self.audit_share = audit_share
        self.campaigns = CampaignWeights()
        self._frames = 0
        self._mean_reasons = 0.0
        self._mean_anomalous = 0.0
        self._mean_squares = [0.0] * len(REASONS)
        self._beyond = False  # whether there ever was more than the engine's answer
        self._novelty = Novelty(random)
        self._metadata: EngineMetadata | None = None
        self._engine = _NO_ENGINE

    def weigh(
        self,
        *,
        probabilities: Sequence[float],
        anomaly: float,
        embedding: NDArray[np.float32],
        metadata: EngineMetadata,
        k: int,
        disagree: float = 0.0,
        label: str = "",
    ) -> Weighed:
        """Weigh one frame.

        Args:
            probabilities: K numbers, in the engine's order of classes.
            anomaly: Its anomaly score.
            embedding: float32 [D], length 1.
            metadata: Of the engine that answered.
            k: The frame is the k-th of its run, from 1.
            disagree: Distance of a shadow challenger's answer, in [0, 1].
            label: Its decided class, for campaigns.
        """
        if metadata is not self._metadata:
            self._engine = _Engine(metadata, self._engine)
            self._metadata = metadata
        engine = self._engine
        margin = engine.margin(probabilities, anomaly)
        anomalous = _clip((anomaly / engine.anomaly_limit - 0.7) / 0.6)
        found = [1.0 - margin, anomalous, engine.rare(probabilities)]
        if disagree or self._beyond:  # few devices have a challenger
            self._beyond = True
            found.append(_clip(disagree))
        self._frames = frames = min(self._frames + 1, _MEAN_FRAMES)
        self._mean_anomalous += (anomalous - self._mean_anomalous) / frames
        means, parts = self._mean_squares, []
        for i, reason in enumerate(found):
            square = reason * reason
            means[i] = mean = means[i] + (square - means[i]) / frames
            parts.append(square / mean if mean > _LEAST_MEAN else square / _LEAST_MEAN)
        parts[1] *= 1.0 - self._mean_anomalous
        plain = sum(parts)
        reasons = max(_LEAST_REASONS, plain * self._novelty.factor(embedding, metadata.embedding_id))
        self._mean_reasons += (reasons - self._mean_reasons) / frames
        audit = self.audit_share / (1.0 - self.audit_share) * self._mean_reasons
        weight = reasons / k + audit
        if not self.campaigns:
            return Weighed(weight=weight, margin=margin, audit=audit, parts=tuple(parts))
        asked = self.campaigns.add(weight, k=k, label=label, margin=margin, embedding=embedding, metadata=metadata)
        weight += sum(part for _, part in asked)
        return Weighed(weight=weight, margin=margin, audit=audit, parts=tuple(parts), requested=asked)


class _Engine:
    """What is asked of an engine's metadata for every frame, and how often each of its classes was predicted.

    Args:
        metadata: The engine's.
        before: The engine before it: classes that both know keep their counts.
    """

    def __init__(self, metadata: EngineMetadata | None, before: "_Engine | None") -> None:
        classes = metadata.classes if metadata is not None else ()
        prior = metadata.training_prior if metadata is not None else ()
        self.anomaly_limit = max(metadata.thresholds.anomaly, 1e-6) if metadata is not None else 1.0
        self._names = [c.name for c in classes]
        seen: dict[str, float] = before.counts() if before is not None else {}
        self._counts: list[float] = [seen.get(name, 0.0) for name in self._names]
        self._shares = [n + _PRIOR_FRAMES * share for n, share in zip(self._counts, prior, strict=True)]
        self._counted = sum(self._counts)
        self._prior = prior
        self._least = [0.5 if c.kind is Kind.DEFECT else 0.0 for c in classes]
        defects = [i for i, c in enumerate(classes) if c.kind is Kind.DEFECT]
        self._defects = defects if 0 < len(defects) < len(classes) else []

    def counts(self) -> dict[str, float]:
        """Return how often each class was predicted."""
        return dict(zip(self._names, self._counts, strict=True))

    def margin(self, probabilities: Sequence[float], anomaly: float) -> float:
        """Return how clear the answer is, in [0, 1].

        What matters first is ok against defect; between two defects the ordinary margin speaks.
        """
        if len(probabilities) == 1:
            return _clip(abs(anomaly - self.anomaly_limit) / (_K1_BAND * self.anomaly_limit))
        if len(probabilities) == 2:
            return _clip(abs(probabilities[0] - probabilities[1]))
        *_, second, first = sorted(probabilities)
        margin = first - second
        if self._defects:
            margin = min(margin, abs(2.0 * sum([probabilities[i] for i in self._defects]) - 1.0))
        return _clip(margin)

    def rare(self, probabilities: Sequence[float]) -> float:
        """Return the probability of classes that are rare here; a defect class never counts below one half."""
        if len(probabilities) == 1:
            return 0.0
        shares = self._shares
        most = max(shares) or 1.0
        total = 0.0
        for i, p in enumerate(probabilities):
            rarity, least = 1.0 - shares[i] / most, self._least[i]
            total += p * (rarity if rarity > least else least)
        self._count(probabilities.index(max(probabilities)))
        return _clip(total)

    def _count(self, predicted: int) -> None:
        self._counts[predicted] += 1.0
        self._shares[predicted] += 1.0
        self._counted += 1.0
        if self._counted > _MEAN_FRAMES:
            self._counts = [n / 2 for n in self._counts]
            self._counted /= 2
            self._shares = [n + _PRIOR_FRAMES * share for n, share in zip(self._counts, self._prior, strict=True)]


_NO_ENGINE = _Engine(None, None)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
