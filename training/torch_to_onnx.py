"""A torch module to ONNX by torch's own exporter, without what it prints; its first axis takes any number of frames."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

import onnx
import torch
from torch import Tensor, nn

from training.trunk import OPSET


def to_onnx(
    module: nn.Module, example: Tensor, *, input_name: str, output_names: Sequence[str] | None = None
) -> onnx.ModelProto:
    """Export a module with its weights inside.

    Args:
        module: Set to `eval` by its caller.
        example: What it takes, of two frames at least, or the exporter takes their number for a constant.
        input_name: Name of the graph's input.
        output_names: Names of its outputs; as the exporter names them by default.

    Raises:
        Exception: Whatever torch's exporter raises for a module that it can't follow.
    """
    with warnings.catch_warnings(), redirect_stdout(StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("N", min=2)},),
            input_names=[input_name],
            output_names=None if output_names is None else list(output_names),
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing; expected an ONNX program")
    model: onnx.ModelProto = program.model_proto
    return model
