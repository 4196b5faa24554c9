"""Backbone and resize to ONNX, by torch's own exporter. The only place where training meets torch for export."""

from __future__ import annotations

import logging
import warnings
from contextlib import redirect_stdout
from io import StringIO

import onnx
import torch
from torch import Tensor, nn

from training.backbone import Backbone
from training.resize import resize
from training.trunk import OPSET, stamp


class ImageToFeatures(nn.Module):  # type: ignore[misc]
    """A uint8 image to features and patches: what the trunk's file holds."""

    def __init__(self, backbone: Backbone) -> None:
        """Wrap a backbone (an `nn.Module` that implements `Backbone`)."""
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Take uint8 [N, H, W, 3] to features [N, D] and patches [N, h, w, C]."""
        return self.backbone(resize(image, self.backbone.input_size))


def export_trunk(backbone: Backbone) -> bytes:
    """Export a backbone, with the resize before it, as a trunk.

    Args:
        backbone: An `nn.Module` that implements `Backbone`.

    Returns:
        One ONNX file, weights inside, any N, H and W.
    """
    module = ImageToFeatures(backbone).eval()
    # Sizes that differ from one another and from 1, or the exporter takes them for constants.
    example = torch.zeros((2, 150, 111, 3), dtype=torch.uint8)
    dims = {index: torch.export.Dim(name, min=2) for index, name in enumerate(("N", "H", "W"))}
    with warnings.catch_warnings(), redirect_stdout(StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes={"image": dims},
            input_names=["image"],
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
    facts: dict[str, str | int] = {
        "variant": "fp32",
        "input_size": backbone.input_size,
        "feature_width": backbone.feature_width,
        "embedding_width": backbone.embedding_width,
        "patch_width": backbone.patch_width,
        "grid": backbone.grid,
    }
    return stamp(model, facts)
