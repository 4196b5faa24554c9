"""What an engine says about itself: the JSON in the ONNX file's ``metadata_props["andon"]``."""

from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum

from edge_client.contract.errors import BadEngine
from edge_client.contract.fields import Fields
from edge_client.contract.foreign_json import read_json
from edge_client.contract.quoting import quoted
from edge_client.contract.signing import canonical_json

CONTRACT_VERSION = 1
METADATA_KEY = "andon"
MAX_CLASSES = 1024
_DOCUMENT = "the engine's metadata"
_BY_CLASS = "by_class"
_LEAST = 1e-9  # a threshold by class is divided by
_OPTIONAL = {"run_id": "", "snapshot_id": "", "variant": "fp32", "created_at": ""}


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
        by_class: For each class in the engine's order the probability that, alone, makes the verdict ``defect``; 1.0
            stands at kind ok. Empty where `defect` holds for all. A client of a version before this field refuses an
            engine that has it; an engine without it is written as before.
    """

    defect: float = 0.5
    unsure_low: float = 0.5
    unsure_high: float = 0.5
    anomaly: float = 1.0
    by_class: tuple[float, ...] = ()


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
        if not self.thresholds.by_class:  # clients that do not know it can go on reading all other engines
            del value["thresholds"]["by_class"]
        return canonical_json(value).decode()

    @staticmethod
    def from_json(text: str) -> "EngineMetadata":
        """Read and check what `to_json` wrote.

        Raises:
            BadEngine: Not such metadata, or of another contract version.
        """
        value = read_json(text, _DOCUMENT, BadEngine)
        contract = Fields(value, _DOCUMENT, BadEngine).raw("contract")
        if isinstance(contract, bool) or contract != CONTRACT_VERSION:
            raise BadEngine(
                f"engine follows contract version {quoted(contract)}: this client reads version {CONTRACT_VERSION}; "
                "update the client or export the engine for it"
            )
        fields = Fields({**_OPTIONAL, **value}, _DOCUMENT, BadEngine)
        fields.only({f.name for f in dataclass_fields(EngineMetadata)})
        prior = fields.items("training_prior", most=MAX_CLASSES)
        shares = Fields({str(i): share for i, share in enumerate(prior)}, f"{_DOCUMENT}: training_prior", BadEngine)
        metadata = EngineMetadata(
            engine_id=fields.name("engine_id", "engine"),
            inspection=fields.name("inspection", "inspection"),
            classes=tuple(_class(f) for f in fields.objects("classes", most=MAX_CLASSES)),
            thresholds=_thresholds(Fields(fields.raw("thresholds"), f"{_DOCUMENT}: thresholds", BadEngine)),
            training_prior=tuple(shares.number(str(i)) for i in range(len(prior))),
            embedding_id=fields.text("embedding_id"),
            run_id=fields.text("run_id"),
            snapshot_id=fields.text("snapshot_id"),
            variant=fields.text("variant"),
            created_at=fields.text("created_at"),
        )
        metadata._check()
        return metadata

    def _check(self) -> None:
        names = [c.name for c in self.classes]
        if not names or len(set(names)) != len(names):
            raise BadEngine(f"the engine names the classes {quoted(names)}: expected one or more, each once")
        if len(self.training_prior) != len(names):
            raise BadEngine(
                f"the engine's training prior has {len(self.training_prior)} values for {len(names)} classes"
            )
        if not self.thresholds.unsure_low <= self.thresholds.unsure_high:
            raise BadEngine(f"the engine's unsure band is upside down: {self.thresholds}")
        own = self.thresholds.by_class
        if own and len(own) != len(names):
            raise BadEngine(f"the engine has {len(own)} thresholds by class for {len(names)} classes")
        if own and not 0 < self.thresholds.defect <= 1:
            raise BadEngine(
                f"the engine's threshold is {self.thresholds.defect} beside thresholds by class: expected above 0 to 1"
            )


def _class(fields: Fields) -> ClassInfo:
    kind = fields.text("kind")
    if kind not in [k.value for k in Kind]:
        raise fields.wrong("kind", kind, "ok or defect")
    return ClassInfo(name=fields.class_name("name"), kind=Kind(kind))


def _thresholds(fields: Fields) -> Thresholds:
    known = [f.name for f in dataclass_fields(Thresholds)]
    fields.only(set(known))
    given = {name: fields.number(name) for name in known if name != _BY_CLASS and fields.has(name)}
    own = fields.items(_BY_CLASS, most=MAX_CLASSES) if fields.has(_BY_CLASS) else []
    each = Fields({str(i): value for i, value in enumerate(own)}, f"{_DOCUMENT}: thresholds: by_class", BadEngine)
    return Thresholds(**given, by_class=tuple(each.number(str(i), least=_LEAST, most=1.0) for i in range(len(own))))
