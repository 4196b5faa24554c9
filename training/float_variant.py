"""The float twin of an int8 engine: the same head, bank and thresholds behind the float trunk.

For devices whose processor does int8 badly or otherwise than the engine's self-test says: they take it by themselves
when the int8 file fails its trial there.

1. What the twin decides is what parity was measured on (`parity`): the float features and patches, moved by their mean
   difference to the int8 ones, since the head was trained on those.
2. Its embedding is the float trunk's own, unmoved: the space's name says so, and stays the same from one retrain to
   the next.
3. It has an id of its own, since an id names one file for ever, and a self-test of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx
from onnx import helper

from edge_client.contract.engine_metadata import METADATA_KEY, EngineMetadata
from training.fit import TOLERANCE, Challenger, make_selftest
from training.frames import Frame
from training.graph_part import GraphPart
from training.parity import mean_shift
from training.trunk import Trunk

_SEAM = ("features", "patches")
_PLAIN = {"features": "features_plain", "patches": "patches_plain"}
_EMBEDDING_FROM = "pooled"  # the node in an engine that takes the embedding out of the features


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Twin:
    """Another file of a challenger's model."""

    engine: bytes
    metadata: EngineMetadata
    selftest: bytes


def float_variant(
    challenger: Challenger, shipped: Trunk, plain: Trunk, frames: Sequence[Frame], selftest_images: Sequence[Frame]
) -> Twin:
    """Make the float twin of an int8 challenger.

    Args:
        challenger: Its engine has the trunk `shipped` inside.
        shipped: In int8.
        plain: The float trunk that it was made from.
        frames: Real ones of the inspection, at least one, for the mean differences.
        selftest_images: For its self-test.
    """
    own = challenger.metadata
    metadata = replace(own, engine_id=f"{own.engine_id}-fp32"[-63:], variant=plain.variant, embedding_id=plain.id)
    features, patches = mean_shift(plain.run(frames), shipped.run(frames))
    engine = onnx.load_model_from_string(challenger.engine)
    tail = _behind_the_seam(engine.graph)
    model = onnx.load_model_from_string(plain.onnx)
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_PLAIN.get(name, name) for name in node.input]
        node.output[:] = [_PLAIN.get(name, name) for name in node.output]
    moved = GraphPart("andon-float")
    moved.node("Add", [_PLAIN["features"], moved.constant("features_shift", features)], "features")
    moved.node("Add", [_PLAIN["patches"], moved.constant("patches_shift", patches)], "patches")
    moved.behind(graph)
    for node in tail:
        if _EMBEDDING_FROM in node.output:  # rule 2
            node.input[0] = _PLAIN["features"]
    graph.node.extend(tail)
    read = {name for node in tail for name in node.input}
    graph.initializer.extend(constant for constant in engine.graph.initializer if constant.name in read)
    for kept, ours in ((graph.output, engine.graph.output), (graph.input, engine.graph.input)):
        del kept[:]
        kept.extend(ours)
    del graph.value_info[:], model.opset_import[:], model.metadata_props[:]
    graph.name = engine.graph.name
    model.opset_import.extend(engine.opset_import)
    model.ir_version = engine.ir_version
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    onnx.checker.check_model(model)
    data = bytes(model.SerializeToString(deterministic=True))
    test = make_selftest(data, selftest_images, tolerance=TOLERANCE[plain.variant])
    return Twin(engine=data, metadata=metadata, selftest=test.pack())


def _behind_the_seam(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes of an engine that are not its trunk's, in order."""
    made_by = {name: place for place, node in enumerate(graph.node) for name in node.output}
    wanted, needed = [output.name for output in graph.output], set[int]()
    while wanted:
        name = wanted.pop()
        place = made_by.get(name)  # None: a constant
        if name in _SEAM or place is None or place in needed:
            continue
        needed.add(place)
        wanted += graph.node[place].input
    return [graph.node[place] for place in sorted(needed)]
