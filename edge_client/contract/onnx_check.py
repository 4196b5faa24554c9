"""Look into an ONNX file before any runtime parses it.

An engine comes from outside. Even when it is signed, the person who signed it may have been deceived, so the file is
first read
here, by a protobuf reader that allocates nothing but a summary:

1. The size is bounded before the first byte is looked at.
2. The file must be a complete, well-formed ONNX model with one graph; fields this reader does not know are refused,
   so that the runtime can't understand more than was checked.
3. Every operator is on an allow-list of the standard domain. Loops, branches, subgraphs, model-local functions and
   custom domains are refused: a Loop of 221 bytes runs until it is killed.
4. No tensor refers to another file.
5. Inputs, outputs, their types and ranks are those of the engine contract, and the metadata under ``andon`` can be
   read.

Numbers of fields are from ``onnx.proto`` (ONNX 1.19, IR version 12).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from edge_client.contract.engine_metadata import METADATA_KEY, EngineMetadata
from edge_client.contract.errors import BadEngine
from edge_client.contract.releases import MAX_ENGINE_BYTES

MAX_NODES = 20_000  # EfficientNet-B7 in QDQ form has about 5,000
MAX_TENSORS = 20_000
MAX_TEXT = 1024  # bytes in a name
MAX_METADATA_BYTES = 1024 * 1024
OPSETS = range(11, 24)  # 11: first with QDQ per channel in use; 23: newest that ONNX Runtime 1.22+ implements in full

_ARITHMETIC = "Abs Add Ceil Clip Div Erf Exp Floor Log Max Mean Min Mod Mul Neg Pow Reciprocal Round Sign Sqrt Sub Sum"
_LOGIC = "And Equal Greater GreaterOrEqual Less LessOrEqual Not Or Where IsNaN IsInf"
_NETWORK = (
    "AveragePool BatchNormalization Conv Elu Flatten Gelu Gemm GlobalAveragePool GlobalMaxPool GroupNormalization "
    "HardSigmoid HardSwish InstanceNormalization LayerNormalization LeakyRelu LogSoftmax LpNormalization "
    "MatMul MaxPool "
    "Mish PRelu Relu Selu Sigmoid Softmax Softplus Tanh"
)
_QUANTISED = "DequantizeLinear DynamicQuantizeLinear QuantizeLinear"
_REDUCTION = (
    "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare TopK"
)
_SHAPE = (
    "Cast CastLike Concat Constant ConstantOfShape DepthToSpace Expand Gather GatherElements GatherND "
    "Identity Pad Range "
    "Reshape Resize Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
)
ALLOWED_OPERATORS = frozenset(" ".join((_ARITHMETIC, _LOGIC, _NETWORK, _QUANTISED, _REDUCTION, _SHAPE)).split())

# TensorProto.DataType
_FLOAT, _UINT8 = 1, 2
_TYPE_NAMES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 8: "string", 10: "float16", 11: "float64"}
_CONTRACT_OUTPUTS = {"probabilities": 2, "anomaly": 1, "anomaly_map": 3, "embedding": 2}  # name -> rank

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}  # wire type -> bytes
# A varint's number, the inside of a string or message, or the bytes of a fixed number. The last two are kept apart: a
# runtime skips a message that is written as a fixed number, so it must not be read as one here.
_Value: TypeAlias = int | memoryview | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """A graph input or output.

    Attributes:
        element_type: ONNX type number (1 float32, 2 uint8).
        shape: One entry a dimension: its length, or None where it is free; None when the file does not say.
    """

    name: str
    element_type: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSummary:
    """What the file holds, without its weights."""

    bytes: int
    opset: int
    operators: Mapping[str, int]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: EngineMetadata


def check_onnx(data: bytes, *, max_bytes: int = MAX_ENGINE_BYTES) -> OnnxSummary:
    """Check an engine file and return what it holds.

    Args:
        data: The whole file.
        max_bytes: Largest size that is looked at.

    Raises:
        BadEngine: With what was found and what was expected.
    """
    if len(data) > max_bytes:
        raise BadEngine(f"engine has {len(data)} bytes: at most {max_bytes} are loaded")
    if not data:
        raise BadEngine("engine is empty: expected an ONNX file; download or export it again")
    model = _Model()
    model.read(memoryview(data))
    summary = model.summary(len(data))
    _check_contract(summary)
    return summary


def _check_contract(summary: OnnxSummary) -> None:
    """Rule 5: names, types and ranks."""
    names = [i.name for i in summary.inputs]
    if names != ["image"]:
        raise BadEngine(f"engine has the inputs {names}: expected the one input 'image'")
    image = summary.inputs[0]
    if image.element_type != _UINT8 or (image.shape is not None and len(image.shape) != 4):
        raise BadEngine(f"engine input is {_describe(image)}: expected image uint8 [N, H, W, 3]")
    if image.shape is not None and image.shape[3] not in (3, None):
        raise BadEngine(f"engine input is {_describe(image)}: expected 3 colour channels in the last place")
    found = {o.name: o for o in summary.outputs}
    missing = [name for name in _CONTRACT_OUTPUTS if name not in found]
    if missing or len(found) != len(summary.outputs):
        raise BadEngine(
            f"engine has the outputs {[o.name for o in summary.outputs]}: expected {list(_CONTRACT_OUTPUTS)}, each once"
        )
    for name, rank in _CONTRACT_OUTPUTS.items():
        output = found[name]
        if output.element_type != _FLOAT or (output.shape is not None and len(output.shape) != rank):
            raise BadEngine(f"engine output is {_describe(output)}: expected {name} float32 of {rank} dimensions")
    shape, k = found["probabilities"].shape, len(summary.metadata.classes)
    if shape is not None and shape[1] not in (None, k):
        raise BadEngine(f"engine gives {shape[1]} probabilities a frame but its metadata names {k} classes")


def _describe(tensor: TensorInfo) -> str:
    kind = _TYPE_NAMES.get(tensor.element_type, f"type {tensor.element_type}")
    shape = "of unknown rank" if tensor.shape is None else str(["?" if d is None else d for d in tensor.shape])
    return f"{tensor.name} {kind} {shape}"


class _Model:
    """Collects the summary while the messages are read."""

    def __init__(self) -> None:
        self.opset: int | None = None
        self.operators: Counter[str] = Counter()
        self.inputs: list[TensorInfo] = []
        self.outputs: list[TensorInfo] = []
        self.metadata: str | None = None
        self.tensors = 0
        self.graphs = 0

    def read(self, data: memoryview) -> None:
        """ModelProto."""
        for field, value in _fields(data, "model"):
            if field in (1, 5):  # ir_version, model_version
                _number(value, "model version")
            elif field in (2, 3, 4, 6):  # producer name and version, domain, documentation
                _message(value, "model text")
            elif field == 7:
                self.graphs += 1
                self.read_graph(_message(value, "graph"))
            elif field == 8:
                self.read_opset(_message(value, "operator set"))
            elif field == 14:
                self.read_metadata(_message(value, "metadata"))
            elif field == 25:
                raise BadEngine("engine defines functions of its own: only operators of ai.onnx are accepted")
            else:
                raise _unknown("model", field, "such as training steps or device configurations")
        if self.graphs != 1:
            raise BadEngine(f"engine file holds {self.graphs} graphs: expected one; it is not a complete ONNX model")

    def summary(self, size: int) -> OnnxSummary:
        """Return what was read, once the whole model has been."""
        if self.opset is None:
            raise BadEngine("engine names no operator set: expected one of ai.onnx")
        if self.metadata is None:
            raise BadEngine(
                f"engine has no metadata under {METADATA_KEY!r}: it is an ONNX model but no Andon engine; "
                "export it again"
            )
        return OnnxSummary(
            bytes=size,
            opset=self.opset,
            operators=dict(self.operators),
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            metadata=EngineMetadata.from_json(self.metadata),
        )

    def read_opset(self, data: memoryview) -> None:
        """OperatorSetIdProto."""
        domain, version = "", 0
        for field, value in _fields(data, "operator set"):
            if field == 1:
                domain = _text(value, "operator set's domain")
            elif field == 2:
                version = _number(value, "operator set's version")
        if domain not in ("", "ai.onnx"):
            return  # quantisers declare domains they don't use; a node of one is refused
        if self.opset is not None and self.opset != version:
            raise BadEngine(f"engine names two versions of the operator set, {self.opset} and {version}")
        if version not in OPSETS:
            raise BadEngine(
                f"engine uses version {version} of the operator set: expected {OPSETS.start} to {OPSETS.stop - 1}"
            )
        self.opset = version

    def read_metadata(self, data: memoryview) -> None:
        """StringStringEntryProto."""
        if len(data) > MAX_METADATA_BYTES:
            raise BadEngine(f"engine has a metadata entry of {len(data)} bytes: at most {MAX_METADATA_BYTES}")
        key, text = _entry(data)
        if key == METADATA_KEY:
            if self.metadata is not None:
                raise BadEngine(f"engine has metadata under {METADATA_KEY!r} twice")
            self.metadata = text

    def read_graph(self, data: memoryview) -> None:
        """GraphProto."""
        nodes = 0
        for field, value in _fields(data, "graph"):
            if field == 1:
                nodes += 1
                if nodes > MAX_NODES:
                    raise BadEngine(f"engine has more than {MAX_NODES} nodes")
                self.read_node(_message(value, "node"))
            elif field == 5:
                self.read_tensor(_message(value, "tensor"))
            elif field == 11:
                self.inputs.append(_value_info(_message(value, "input")))
            elif field == 12:
                self.outputs.append(_value_info(_message(value, "output")))
            elif field in (2, 10, 13, 14, 16):  # name, documentation, value_info, quantisation notes, metadata
                _message(value, "graph text")
            else:
                raise _unknown("graph", field, "such as sparse tensors")
            if max(len(self.inputs), len(self.outputs)) > 64:
                raise BadEngine("engine has more than 64 inputs or outputs")

    def read_node(self, data: memoryview) -> None:
        """NodeProto."""
        operator, domain = "", ""
        attributes: list[memoryview] = []
        for field, value in _fields(data, "node"):
            content = _message(value, "node")
            if field == 4:
                operator = _text(content, "operator's name")
            elif field == 5:
                attributes.append(content)
            elif field == 7:
                domain = _text(content, "operator's domain")
            elif field not in (1, 2, 3, 6, 9):  # inputs, outputs, name, documentation, metadata
                raise _unknown("node", field, "such as an overload or device configuration")
        if domain not in ("", "ai.onnx"):
            raise BadEngine(f"engine uses the operator {domain}::{operator}: only the domain ai.onnx is accepted")
        if operator not in ALLOWED_OPERATORS:
            raise BadEngine(
                f"engine uses the operator {operator!r}, which is not on the list of accepted ones: "
                "export the engine without loops, branches, random or exotic operators"
            )
        self.operators[operator] += 1
        for attribute in attributes:
            self.read_attribute(attribute, operator)

    def read_attribute(self, data: memoryview, operator: str) -> None:
        """AttributeProto."""
        for field, value in _fields(data, "attribute"):
            if field in (6, 11):  # g, graphs
                raise BadEngine(f"engine has a graph inside its operator {operator!r}: loops and branches are refused")
            if field in (5, 10):  # t, tensors
                self.read_tensor(_message(value, "tensor"))
            elif field not in (
                1,
                2,
                3,
                4,
                7,
                8,
                9,
                13,
                20,
            ):  # name, f, i, s, floats, ints, strings, documentation, type
                raise _unknown(f"attribute of {operator!r}", field, "such as types, sparse tensors or references")

    def read_tensor(self, data: memoryview) -> None:
        """TensorProto."""
        self.tensors += 1
        if self.tensors > MAX_TENSORS:
            raise BadEngine(f"engine has more than {MAX_TENSORS} constant tensors")
        name = "?"
        for field, value in _fields(data, "tensor"):
            if field == 8:
                name = _text(value, "tensor's name")
            elif field == 13 or (field == 14 and value != 0):
                raise BadEngine(
                    f"engine keeps the tensor {name!r} in another file: one file must hold everything; "
                    "export with external_data=False"
                )
            elif field == 3:
                raise _unknown("tensor", field, "a segment")
            elif field not in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 16):
                raise _unknown("tensor", field, "")


def _value_info(data: memoryview) -> TensorInfo:
    """ValueInfoProto -> TypeProto -> TypeProto.Tensor -> TensorShapeProto."""
    name, element, shape = "", 0, None
    for field, value in _once(data, "input or output"):
        if field == 1:
            name = _text(value, "name of an input or output")
        elif field == 2:
            for kind, content in _once(_message(value, "type"), "type"):
                if kind == 6:  # denotation
                    continue
                if kind != 1:
                    raise BadEngine(f"engine input or output {name!r} is no plain tensor (type field {kind})")
                element, shape = _tensor_type(_message(content, "tensor type"))
    return TensorInfo(name=name, element_type=element, shape=shape)


def _tensor_type(data: memoryview) -> tuple[int, tuple[int | None, ...] | None]:
    element, shape = 0, None
    for field, value in _once(data, "tensor type"):
        if field == 1:
            element = _number(value, "element type")
        elif field == 2:
            shape = tuple(_dimension(_message(d, "dimension")) for _, d in _fields(_message(value, "shape"), "shape"))
    return element, shape


def _dimension(data: memoryview) -> int | None:
    length: int | None = None
    for field, value in _fields(data, "dimension"):
        if field == 1:
            length = _number(value, "dimension")
        elif field == 2:
            length = None
    return length


def _entry(data: memoryview) -> tuple[str, str]:
    key = text = ""
    for field, value in _fields(data, "metadata"):
        if field == 1:
            key = _text(value, "metadata key")
        elif field == 2:
            text = _text(value, "metadata value", most=MAX_METADATA_BYTES)
    return key, text


def _unknown(where: str, field: int, hint: str) -> BadEngine:
    return BadEngine(f"engine's {where} has the field {field}, which is not accepted {hint}".rstrip())


def _message(value: _Value, what: str) -> memoryview:
    if not isinstance(value, memoryview):
        raise BadEngine(f"engine file is damaged: {what} is a number where bytes were expected")
    return value


def _number(value: _Value, what: str) -> int:
    if not isinstance(value, int):
        raise BadEngine(f"engine file is damaged: {what} is bytes where a number was expected")
    return value


def _text(value: _Value, what: str, *, most: int = MAX_TEXT) -> str:
    content = _message(value, what)
    if len(content) > most:
        raise BadEngine(f"engine file has a {what} of {len(content)} bytes: at most {most}")
    try:
        return bytes(content).decode()
    except UnicodeDecodeError:
        raise BadEngine(f"engine file is damaged: a {what} is not UTF-8") from None


def _fields(data: memoryview, what: str) -> Iterator[tuple[int, _Value]]:
    """Yield (field number, value) of one protobuf message.

    Wire format: https://protobuf.dev/programming-guides/encoding/. Groups (wire types 3 and 4) do not occur in ONNX.
    """
    position, end = 0, len(data)
    varint: Callable[[memoryview, int, str], tuple[int, int]] = _varint
    while position < end:
        tag, position = varint(data, position, what)
        field, wire = tag >> 3, tag & 7
        if field == 0:
            raise BadEngine(f"engine file is damaged or no ONNX file: field 0 in its {what}")
        if wire == _VARINT:
            number, position = varint(data, position, what)
            yield field, number
            continue
        if wire == _BYTES:
            length, position = varint(data, position, what)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise BadEngine(f"engine file is damaged or no ONNX file: wire type {wire} in its {what}")
        if length > end - position:
            raise BadEngine(
                f"engine file is damaged or no ONNX file: its {what} ends {length - (end - position)} bytes early"
            )
        content = data[position : position + length]
        yield field, content if wire == _BYTES else bytes(content)
        position += length


def _once(data: memoryview, what: str) -> Iterator[tuple[int, _Value]]:
    """Yield the fields of a message that has each at most once.

    A runtime merges a message that is given twice: it would see both shapes, one behind the other, and this reader one.
    """
    seen: set[int] = set()
    for field, value in _fields(data, what):
        if field in seen:
            raise BadEngine(f"engine file is damaged: field {field} twice in its {what}")
        seen.add(field)
        yield field, value


def _varint(data: memoryview, position: int, what: str) -> tuple[int, int]:
    value = shift = 0
    for index in range(position, min(position + 10, len(data))):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, index + 1
        shift += 7
    raise BadEngine(f"engine file is damaged or no ONNX file: a number in its {what} does not end")
