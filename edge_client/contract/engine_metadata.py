"""What an engine says about itself: the JSON in the ONNX file's ``metadata_props["andon"]``."""

import json
import math
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from edge_client.contract.errors import AndonError, BadEngine
from edge_client.contract.names import check_class_name, check_name
from edge_client.contract.signing import canonical_json

CONTRACT_VERSION = 1
METADATA_KEY = "andon"


class Kind(Enum):
    """What finding a class means for the part."""

    OK = "ok"  # the part may pass
    DEFECT = "defect"  # the part has this fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassInfo:
    """One class of an inspection."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where the verdict changes.

    Attributes:
        defect: Defect probability from which the verdict is ``defect`` (outside the unsure band).
        unsure_low: Lower end of the defect probabilities that are rejected as ``unsure``.
        unsure_high: Upper end (exclusive) of that band; equal to `unsure_low` for no band.
        anomaly: Anomaly score from which an ``ok`` is not believed; 1.0 is the alarm threshold by construction.
    """

    defect: float = 0.5
    unsure_low: float = 0.5
    unsure_high: float = 0.5
    anomaly: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMetadata:
    """The facts about an engine that a device needs, and where it came from."""

    engine_id: str
    inspection: str
    classes: tuple[ClassInfo, ...]
    thresholds: Thresholds
    training_prior: tuple[float, ...]  # class shares the probabilities are calibrated to, rows of K
    embedding_id: str  # embeddings of two engines compare only when this is equal
    run_id: str = ""  # MLflow run
    snapshot_id: str = ""  # data set snapshot
    variant: str = "fp32"  # fp32, int8, or a provider's name
    created_at: str = ""  # ISO 8601, UTC
    contract: int = CONTRACT_VERSION

    def to_json(self) -> str:
        """Serialise for the ONNX file."""
        value = asdict(self)
        value["classes"] = [{"name": c.name, "kind": c.kind.value} for c in self.classes]
        return canonical_json(value).decode()

    @staticmethod
    def from_json(text: str) -> "EngineMetadata":
        """Read and check what `to_json` wrote.

        Raises:
            BadEngine: Not such metadata, or of another contract version.
        """
        try:
            value: dict[str, Any] = json.loads(text)
            contract = value["contract"]
            if contract != CONTRACT_VERSION:
                raise BadEngine(
                    f"engine follows contract version {contract!r}: this client reads version {CONTRACT_VERSION}; "
                    "update the client or export the engine for it"
                )
            classes = tuple(ClassInfo(name=check_class_name(c["name"]), kind=Kind(c["kind"])) for c in value["classes"])
            metadata = EngineMetadata(
                **{
                    **value,
                    "classes": classes,
                    "thresholds": Thresholds(**{k: float(v) for k, v in value["thresholds"].items()}),
                    "training_prior": tuple(float(p) for p in value["training_prior"]),
                    "inspection": check_name(value["inspection"], "inspection"),
                    "engine_id": check_name(value["engine_id"], "engine"),
                }
            )
        except BadEngine:
            raise
        except (AndonError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadEngine(f"the engine's metadata cannot be used: {error!r}; export the engine again") from error
        metadata._check()
        return metadata

    def _check(self) -> None:
        names = [c.name for c in self.classes]
        if not names or len(set(names)) != len(names):
            raise BadEngine(f"the engine names the classes {names}: expected one or more, each once")
        if len(self.training_prior) != len(names):
            raise BadEngine(
                f"the engine's training prior has {len(self.training_prior)} values for {len(names)} classes"
            )
        values = (*self.training_prior, *asdict(self.thresholds).values())
        if not all(math.isfinite(v) for v in values):
            raise BadEngine("the engine's thresholds and prior must be finite numbers")
        if not self.thresholds.unsure_low <= self.thresholds.unsure_high:
            raise BadEngine(f"the engine's unsure band is upside down: {self.thresholds}")
