"""An engine's thresholds as signed settings change them on a device. Pure.

1. `threshold.defect` takes the place of the engine's. Thresholds by class and the unsure band move in the same
   proportion, at most to 1, so that a stricter common threshold is stricter for each class.
2. `threshold.unsure_low` and `threshold.unsure_high` say the band outright. A band that would be upside down is none.
3. `threshold.anomaly` takes the place of the engine's.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge_client.contract.engine_metadata import EngineMetadata, Kind

PREFIX = "threshold."


def overrides(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the thresholds among the values of settings, without their prefix."""
    return {key.removeprefix(PREFIX): float(value) for key, value in values.items() if key.startswith(PREFIX)}


def overridden(metadata: EngineMetadata, changes: Mapping[str, float]) -> EngineMetadata:
    """Return an engine's metadata with thresholds as `overrides` gave them; the same object without any.

    >>> from edge_client.contract.engine_metadata import ClassInfo, Thresholds
    >>> engine = EngineMetadata(
    ...     engine_id="e", inspection="plates", training_prior=(0.9, 0.1), embedding_id="t",
    ...     classes=(ClassInfo(name="ok", kind=Kind.OK), ClassInfo(name="dent", kind=Kind.DEFECT)),
    ...     thresholds=Thresholds(defect=0.5, unsure_low=0.4, unsure_high=0.6))
    >>> found = overridden(engine, {"defect": 0.25}).thresholds
    >>> found.defect, found.unsure_low, found.unsure_high
    (0.25, 0.2, 0.3)
    """
    if not changes:
        return metadata
    old = metadata.thresholds
    defect = changes.get("defect", old.defect)
    factor = defect / old.defect if old.defect > 0 else 1.0
    low = changes.get("unsure_low", min(1.0, old.unsure_low * factor))
    high = changes.get("unsure_high", min(1.0, old.unsure_high * factor))
    by_class = tuple(
        min(1.0, own * factor) if described.kind is Kind.DEFECT else own
        for own, described in zip(old.by_class, metadata.classes, strict=bool(old.by_class))
    )
    thresholds = replace(
        old,
        defect=defect,
        unsure_low=low,
        unsure_high=max(low, high),
        anomaly=changes.get("anomaly", old.anomaly),
        by_class=by_class,
    )
    return replace(metadata, thresholds=thresholds)
