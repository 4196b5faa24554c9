"""The champion that a challenger is judged against, with what it said about samples it was trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.contract.engine_metadata import METADATA_KEY, EngineMetadata
from edge_client.contract.errors import BadEngine
from flows.registry import OutOfFold, Registry
from flows.registry_api import ModelVersion
from flows.tags import Tag
from flows.wanted import CHAMPION


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Champion:
    """The version under the alias `champion`."""

    version: ModelVersion
    engine: bytes
    classes: tuple[str, ...]
    out_of_fold: OutOfFold


def load_champion(registry: Registry, inspection: str) -> Champion | None:
    """Return the champion; None when the inspection has none yet."""
    version = registry.api.by_alias(inspection, CHAMPION)
    if version is None:
        return None
    engine = registry.engine_bytes(version)
    metadata = metadata_of(engine)
    return Champion(
        version=version,
        engine=engine,
        classes=tuple(info.name for info in metadata.classes),
        out_of_fold=registry.oof_of(version),
    )


def challengers_before(registry: Registry, champion: Champion | None, inspection: str) -> int:
    """Return how many challengers against this champion have spent of the gate's error budget.

    One that the labels could not promote however good it is spent nothing; nor did one of shuffled labels.
    """
    number = champion.version.number if champion else ""
    versions = registry.api.versions(inspection, tag=(Tag.COMPARED_WITH, number)) if number else []
    return sum(1 for v in versions if v.tags.get(Tag.SABOTAGED) != "yes" and v.tags.get(Tag.SPENDS) != "no")


def metadata_of(engine: bytes) -> EngineMetadata:
    """Read an engine's metadata from its file.

    Raises:
        BadEngine: It has none, or none that can be used.
    """
    import onnx

    properties = {p.key: p.value for p in onnx.load_model_from_string(engine).metadata_props}
    if METADATA_KEY not in properties:
        raise BadEngine(f"the engine has no metadata {METADATA_KEY!r}; export it with andon")
    return EngineMetadata.from_json(properties[METADATA_KEY])


def columns_for(
    wanted: tuple[str, ...], classes: tuple[str, ...], probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Reorder columns to the classes that are judged.

    A class that the model does not know has probability 0; one that is gone is dropped, and rows are not rescaled:
    what the model put there it did not put on the others.

    Args:
        wanted: K class names.
        classes: J class names of the columns.
        probabilities: float32 [n, J].

    Returns:
        float32 [n, K].
    """
    found = np.zeros((len(probabilities), len(wanted)), dtype=np.float32)
    for k, name in enumerate(wanted):
        if name in classes:
            found[:, k] = probabilities[:, classes.index(name)]
    return found
