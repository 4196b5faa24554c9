"""Backbone to ONNX as a trunk: before the network what the input choice asks for (region, resize, views, tiles)."""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper

from edge_client.contract.errors import ConfigError
from training.backbone import Backbone
from training.backbone_check import check_export, check_network
from training.backbones import BUILT_IN, BadBackbone
from training.graph_part import GraphPart
from training.input_choice import InputChoice
from training.region import region_part
from training.resize import resize_part
from training.tiles import Layout, cutting_part, joining_part, rename
from training.torch_to_onnx import to_onnx
from training.trunk import NETWORK_INPUT, choice_facts, stamp
from training.views import averaging_part, turning_part


def export_checked(backbone: Backbone, choice: InputChoice, *, weights: str = "") -> bytes:
    """Export a backbone as a trunk, and see that it keeps to the protocol before and after.

    Args:
        backbone: As `export_trunk` takes it.
        choice: What the trunk looks at.
        weights: Digest of the backbone's weights, where a user registered it.

    Raises:
        BadBackbone: It does not; the message says where.
    """
    check_network(backbone, choice)
    try:
        network = _network_of(backbone)
    except Exception as error:  # torch's exporter raises what it likes
        reason = str(error).strip().splitlines() or ["no reason given"]
        raise BadBackbone(
            f"backbone {choice.backbone!r} cannot be exported to ONNX ({type(error).__name__}: {reason[0][:300]}); "
            "write its forward without branches that depend on values"
        ) from error
    check_export(backbone, choice, network)
    return _composed(network, backbone, choice, weights)


def export_trunk(backbone: Backbone, choice: InputChoice | None = None, *, weights: str = "") -> bytes:
    """Export a backbone, with all that is done to a frame before it, as a trunk.

    Args:
        backbone: An `nn.Module` that implements `Backbone`.
        choice: What the trunk looks at; default the whole frame in one piece.
        weights: Digest of the backbone's weights, where a user registered it.

    Returns:
        One ONNX file, weights inside, any N, H and W.

    Raises:
        ConfigError: The backbone was made for another side than the choice's.
    """
    choice = InputChoice(backbone=backbone.name, side=backbone.input_size) if choice is None else choice
    if choice.side != backbone.input_size:
        raise ConfigError(f"input {choice}: its backbone was made for a side of {backbone.input_size} pixels")
    return _composed(_network_of(backbone), backbone, choice, weights)


def _network_of(backbone: Backbone) -> onnx.ModelProto:
    """Export the network alone: from its normalised input to features and patches."""
    example = torch.zeros((2, 3, backbone.input_size, backbone.input_size))
    model = to_onnx(backbone, example, input_name=NETWORK_INPUT, output_names=["features", "patches"])
    for node in (*model.graph.node, *model.graph.initializer, *model.graph.value_info):
        node.doc_string = ""
        del node.metadata_props[:]  # stack traces with paths of the machine that exported
    del model.graph.metadata_props[:]
    return model


def _composed(model: onnx.ModelProto, backbone: Backbone, choice: InputChoice, weights: str) -> bytes:
    """Put what a choice asks for round a network; the model is changed."""
    if choice.backbone not in BUILT_IN:
        _set_apart(model.graph)
    layout = Layout.of(choice, backbone.grid)
    for part in reversed(_preparation(backbone, choice, layout)):
        part.before(model.graph)
    feature_width = backbone.feature_width * (2 if choice.tiled else 1)
    if choice.tiled:
        _join(model.graph, backbone, layout)
    if choice.turned:
        _average(model.graph, backbone, layout, feature_width)
    if choice.tiled or choice.turned:
        _declare_answers(model.graph, backbone, layout, feature_width)
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3]))
    facts = {
        "variant": "fp32",
        "input_size": backbone.input_size,
        "feature_width": feature_width,
        "embedding_width": backbone.embedding_width,
        "patch_width": backbone.patch_width,
        "grid": backbone.grid,
        **choice_facts(choice),
        **({"weights": weights} if weights else {}),
    }
    return stamp(model, facts)


def _set_apart(graph: onnx.GraphProto) -> None:
    """Rename all that a user's network has inside: its `embedding` must not be taken for the engine's."""
    seams = {NETWORK_INPUT, "features", "patches", ""}
    inside = {constant.name for constant in graph.initializer} | {name for node in graph.node for name in node.output}
    names = {name: f"network.{name}" for name in inside - seams}
    rename(graph, names)
    for tensor in (*graph.initializer, *graph.value_info):
        tensor.name = names.get(tensor.name, tensor.name)


def _preparation(backbone: Backbone, choice: InputChoice, layout: Layout) -> list[GraphPart]:
    """Region, resize, turning and cutting, in order, as far as the choice has them."""
    seen = "region" if choice.cropped else "image"
    canvas = "canvas" if choice.tiled else NETWORK_INPUT
    resized = "one_view" if choice.turned else canvas
    size = (layout.rows.pixels, layout.columns.pixels)
    parts = [resize_part(*size, offset=backbone.offset, scale=backbone.scale, source=seen, target=resized)]
    if choice.cropped:
        parts.insert(0, region_part(choice.region, target=seen))
    if choice.turned:
        parts.append(turning_part(*size, source=resized, target=canvas))
    if choice.tiled:
        parts.append(cutting_part(layout, source=canvas, target=NETWORK_INPUT))
    return parts


def _join(graph: onnx.GraphProto, backbone: Backbone, layout: Layout) -> None:
    """Put what joins the tiles behind the network."""
    rename(graph, {"features": "tile_features", "patches": "tile_patches"})
    joining_part(
        layout,
        feature_width=backbone.feature_width,
        patch_width=backbone.patch_width,
        features="tile_features",
        patches="tile_patches",
    ).behind(graph)


def _average(graph: onnx.GraphProto, backbone: Backbone, layout: Layout, feature_width: int) -> None:
    """Put the mean over both views behind the network, and behind what joins its tiles."""
    rename(graph, {"features": "view_features", "patches": "view_patches"})
    averaging_part(
        feature_width=feature_width,
        patch_shape=(layout.rows.patches, layout.columns.patches, backbone.patch_width),
        features="view_features",
        patches="view_patches",
    ).behind(graph)


def _declare_answers(graph: onnx.GraphProto, backbone: Backbone, layout: Layout, feature_width: int) -> None:
    """Declare the trunk's answers anew: the exporter calls the network's batch N, which is the frames' number here."""
    del graph.value_info[:], graph.output[:]
    patches = ["N", layout.rows.patches, layout.columns.patches, backbone.patch_width]
    for name, shape in (("features", ["N", feature_width]), ("patches", patches)):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
