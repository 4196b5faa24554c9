"""Backbone to ONNX by torch's own exporter, the resize before it. The only place where training meets torch."""

from __future__ import annotations

import logging
import warnings
from contextlib import redirect_stdout
from io import StringIO

import onnx
import torch
from onnx import TensorProto, helper

from training.backbone import Backbone
from training.resize import resize_part
from training.trunk import NETWORK_INPUT, OPSET, stamp


def export_trunk(backbone: Backbone) -> bytes:
    """Export a backbone, with the resize before it, as a trunk.

    Args:
        backbone: An `nn.Module` that implements `Backbone`.

    Returns:
        One ONNX file, weights inside, any N, H and W.
    """
    # More than one frame, or the exporter takes their number for a constant.
    example = torch.zeros((2, 3, backbone.input_size, backbone.input_size))
    with warnings.catch_warnings(), redirect_stdout(StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            backbone,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("N", min=2)},),
            input_names=[NETWORK_INPUT],
            output_names=["features", "patches"],
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing; expected an ONNX program")
    model: onnx.ModelProto = program.model_proto
    for node in (*model.graph.node, *model.graph.initializer, *model.graph.value_info):
        node.doc_string = ""
        del node.metadata_props[:]  # stack traces with paths of the machine that exported
    del model.graph.metadata_props[:]
    resize_part(backbone.input_size, offset=backbone.offset, scale=backbone.scale).before(model.graph)
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3]))
    facts: dict[str, str | int] = {
        "variant": "fp32",
        "input_size": backbone.input_size,
        "feature_width": backbone.feature_width,
        "embedding_width": backbone.embedding_width,
        "patch_width": backbone.patch_width,
        "grid": backbone.grid,
    }
    return stamp(model, facts)
