"""What a frame is worth: reasons → the sampling weight w (the FRAME rule).

1. Reasons, each in [0, 1]: *uncertain* (calibrated margin m: (1 - m)²), *anomalous* (times 1 - its running mean: after
   a product change everything is anomalous, and that tells no frame from another), *rare* (probability of classes that
   are rare on this device), *disagree* (a shadow challenger differs), *requested* (a campaign's query matches). Their
   sum is multiplied by a novelty factor in [0.5, 2]: the distance to the nearest embedding seen lately against the
   usual one.
2. w = reasons / k + a, for the k-th near-duplicate of a run.
3. a = φ/(1-φ) · running mean of the reasons over frames SEEN: the audit share φ. a > 0 always, so every frame can be
   drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.decision import defect_probability
from edge_client.contract.engine_metadata import EngineMetadata, Kind

_LEAST_REASONS = 1e-3  # a stream of frames that all look perfectly normal still has a weight
_MEAN_FRAMES = 10_000  # the running means forget older frames than about this many
_REMEMBERED = 128  # embeddings that novelty is judged against
_PRIOR_FRAMES = 50.0  # how many frames the training prior counts for in the shares of classes
_K1_BAND = 0.25  # with one class: anomaly within a quarter of the threshold is uncertain


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A frame's weight.

    Attributes:
        weight: w > 0.
        reasons: What w is made of; sums to w.
        margin: Difference of the two largest probabilities, in [0, 1]; with one class the distance to the anomaly
            threshold.
    """

    weight: float
    reasons: Mapping[str, float]
    margin: float


class Weigher:
    """Weighs frames in the order they are seen.

    Args:
        audit_share: φ.
        random: For choosing which embeddings to remember; the sample's own u never comes from here.
    """

    def __init__(self, *, audit_share: float, random: np.random.Generator) -> None:
        self.audit_share = audit_share
        self._random = random
        self._frames = 0
        self._mean_reasons = 0.0
        self._mean_anomalous = 0.0
        self._novelty = _Novelty(random)
        self._shares: dict[str, float] = {}

    def weigh(
        self,
        *,
        probabilities: NDArray[np.float32],
        anomaly: float,
        embedding: NDArray[np.float32],
        metadata: EngineMetadata,
        k: int,
        disagree: float = 0.0,
        requested: float = 0.0,
    ) -> Weighed:
        """Weigh one frame.

        Args:
            probabilities: float32 [K].
            anomaly: Its anomaly score.
            embedding: float32 [D], length 1.
            metadata: Of the engine that answered.
            k: The frame is the k-th of its run, from 1.
            disagree: Distance of a shadow challenger's answer, in [0, 1].
            requested: How well a campaign's query matches, in [0, 1].
        """
        margin = _margin(probabilities, anomaly, metadata)
        anomalous = _clip((anomaly / max(metadata.thresholds.anomaly, 1e-6) - 0.7) / 0.6)
        parts = {
            "uncertain": (1.0 - margin) ** 2,
            "anomalous": anomalous * (1.0 - self._mean_anomalous),
            "rare": self._rare(probabilities, metadata),
            "disagree": _clip(disagree),
            "requested": _clip(requested),
        }
        novelty = self._novelty.factor(embedding, metadata.embedding_id)
        plain = sum(parts.values())
        reasons = max(_LEAST_REASONS, plain * novelty)
        self._frames = min(self._frames + 1, _MEAN_FRAMES)
        self._mean_reasons += (reasons - self._mean_reasons) / self._frames
        self._mean_anomalous += (anomalous - self._mean_anomalous) / self._frames
        audit = self.audit_share / (1.0 - self.audit_share) * self._mean_reasons
        weight = reasons / k + audit
        scale = reasons / k / plain if plain > 0 else 0.0
        told = {name: round(value * scale, 6) for name, value in parts.items() if value * scale > 1e-6}
        told["audit"] = round(audit + (reasons / k if plain <= 0 else 0.0), 6)
        return Weighed(weight=weight, reasons=told, margin=margin)

    def _rare(self, probabilities: NDArray[np.float32], metadata: EngineMetadata) -> float:
        """Probability mass on classes that this device seldom predicts; a defect class never counts below one half."""
        if len(metadata.classes) == 1:
            return 0.0
        shares = [
            self._shares.get(c.name, 0.0) + _PRIOR_FRAMES * prior
            for c, prior in zip(metadata.classes, metadata.training_prior, strict=True)
        ]
        most = max(*shares, 1e-9)
        rarity = [
            max(1.0 - share / most, 0.5 if c.kind is Kind.DEFECT else 0.0)
            for c, share in zip(metadata.classes, shares, strict=True)
        ]
        best = metadata.classes[int(np.argmax(probabilities))].name
        self._shares[best] = self._shares.get(best, 0.0) + 1.0
        if sum(self._shares.values()) > _MEAN_FRAMES:
            self._shares = {name: count / 2 for name, count in self._shares.items()}
        return _clip(sum(float(p) * r for p, r in zip(probabilities, rarity, strict=True)))


class _Novelty:
    """How far a frame lies from those remembered, against what is usual: a factor in [0.5, 2]."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._embedding_id = ""
        self._memory: NDArray[np.float32] | None = None
        self._held = 0
        self._seen = 0
        self._usual = 0.0

    def factor(self, embedding: NDArray[np.float32], embedding_id: str) -> float:
        memory = self._memory
        if memory is None or embedding_id != self._embedding_id or memory.shape[1] != embedding.size:
            memory = self._memory = np.zeros((_REMEMBERED, embedding.size), dtype=np.float32)
            self._embedding_id, self._held, self._seen, self._usual = embedding_id, 0, 0, 0.0
        found = 1.0
        if self._held >= 8:
            distance = max(0.0, 1.0 - float((memory[: self._held] @ embedding).max()))
            rounds = min(self._seen - 7, 1000)
            self._usual += (distance - self._usual) / rounds
            found = min(2.0, max(0.5, distance / self._usual)) if self._usual > 1e-9 else 1.0
        self._seen += 1
        if self._held < _REMEMBERED:
            memory[self._held] = embedding
            self._held += 1
        elif self._random.random() < max(_REMEMBERED / self._seen, 0.02):
            memory[int(self._random.integers(_REMEMBERED))] = embedding
        return found


def _margin(probabilities: NDArray[np.float32], anomaly: float, metadata: EngineMetadata) -> float:
    if len(metadata.classes) == 1:
        limit = max(metadata.thresholds.anomaly, 1e-6)
        return _clip(abs(anomaly - limit) / (_K1_BAND * limit))
    kinds = {c.kind for c in metadata.classes}
    if len(kinds) == 2:
        # what matters first is ok against defect; between two defects the ordinary margin speaks
        p = float(defect_probability(probabilities[None], metadata.classes)[0])
        return _clip(min(abs(2.0 * p - 1.0), _top_two(probabilities)))
    return _clip(_top_two(probabilities))


def _top_two(probabilities: NDArray[np.float32]) -> float:
    second, first = np.partition(probabilities, -2)[-2:]
    return float(first - second)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, float(value)))
