"""Whether a backbone keeps to the protocol: each fault has a message of its own that says what to change.

1. Before the export: attributes, shapes, numbers that are numbers, each frame answered for itself and always alike.
2. After it: only operators that devices accept, no more nodes and bytes than they take, answers equal to torch's for
   any number of frames.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_client.contract.onnx_check import ALLOWED_OPERATORS, MAX_NODES
from edge_client.contract.releases import MAX_ENGINE_BYTES
from training.backbone import Backbone
from training.backbones import BadBackbone
from training.input_choice import InputChoice
from training.trunk import NETWORK_INPUT

_COUNTS = ("input_size", "feature_width", "embedding_width", "patch_width", "grid")
_ATTRIBUTES = ("name", *_COUNTS, "offset", "scale")
_MOST_GRID = 256
#: How far the file's answers may be from torch's, beside the largest of them.
_TOLERANCE = 1e-3
_SHOWN = 5


def check_network(backbone: Backbone, choice: InputChoice) -> None:
    """See that a network, as torch runs it, keeps to the protocol (rule 1).

    Raises:
        BadBackbone: It does not.
    """
    name = choice.backbone
    _check_attributes(backbone, choice)
    frames = _frames(backbone, 3)
    features, patches = _answers(backbone, name, frames)
    shapes = {
        "features": (features, [3, backbone.feature_width], "[N, feature_width]"),
        "patches": (
            patches,
            [3, backbone.grid, backbone.grid, backbone.patch_width],
            "[N, grid, grid, patch_width], channels last",
        ),
    }
    for what, (found, expected, words) in shapes.items():
        if found.dtype != torch.float32 or list(found.shape) != expected:
            raise BadBackbone(
                f"backbone {name!r} answers {what} of {str(found.dtype).removeprefix('torch.')} {list(found.shape)} "
                f"for 3 frames; expected float32 {expected}, which is {words}"
            )
        if not bool(torch.isfinite(found).all()):
            raise BadBackbone(
                f"backbone {name!r} answers {what} that are not finite for frames of noise, black and white; expected "
                "numbers: look at its weights, and at offset and scale"
            )
    again, _ = _answers(backbone, name, frames)
    if not torch.equal(features, again):
        raise BadBackbone(
            f"backbone {name!r} answers the same frames differently the second time; expected the same: take dropout "
            "and random numbers out of its forward"
        )
    alone, _ = _answers(backbone, name, frames[:1])
    if not torch.allclose(features[:1], alone, atol=_TOLERANCE * max(1.0, float(features.abs().max()))):
        raise BadBackbone(
            f"backbone {name!r} answers a frame differently in a batch than alone; expected each frame for itself: "
            "normalise by stored statistics, never by the batch's"
        )


def check_export(backbone: Backbone, choice: InputChoice, network: onnx.ModelProto) -> None:
    """See that what was exported is what devices accept, and answers as torch does (rule 2).

    Args:
        backbone: As torch runs it.
        choice: Whose backbone it is.
        network: As it was exported, without what comes before it.

    Raises:
        BadBackbone: It does not.
    """
    name = choice.backbone
    strange = sorted(
        {
            f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
            for node in network.graph.node
            if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPERATORS
        }
    )
    if strange or network.functions:
        words = ", ".join(strange[:_SHOWN]) or "functions of its own"
        raise BadBackbone(
            f"backbone {name!r} is exported with {words}, which edge devices refuse; expected operators of "
            "edge_client.contract.onnx_check.ALLOWED_OPERATORS: no loops, branches or custom operators"
        )
    size = network.ByteSize()
    if len(network.graph.node) > MAX_NODES or size > MAX_ENGINE_BYTES:
        raise BadBackbone(
            f"backbone {name!r} is exported with {len(network.graph.node)} nodes and {size} bytes; devices take at "
            f"most {MAX_NODES} and {MAX_ENGINE_BYTES}"
        )
    frames = _frames(backbone, 3)
    for count in (1, 3):
        with torch.no_grad():
            expected = [answer.numpy() for answer in backbone(frames[:count])]
        _check_answers(name, expected, _run(network, name, frames[:count].numpy()), count)


def _check_attributes(backbone: Backbone, choice: InputChoice) -> None:
    name = choice.backbone
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(backbone, attribute)]
    if missing:
        raise BadBackbone(
            f"backbone {name!r} has no attribute {', '.join(missing)}; expected {', '.join(_ATTRIBUTES)}: "
            "see training.backbone.Backbone"
        )
    for attribute in _COUNTS:
        value: Any = getattr(backbone, attribute)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadBackbone(f"backbone {name!r}: its {attribute} is {value!r}; expected a whole number from 1")
    if backbone.input_size != choice.side:
        raise BadBackbone(
            f"backbone {name!r} was made for a side of {choice.side} pixels and has input_size {backbone.input_size}; "
            "expected the side that its factory was given"
        )
    if backbone.embedding_width > backbone.feature_width or backbone.grid > _MOST_GRID:
        raise BadBackbone(
            f"backbone {name!r}: embedding_width {backbone.embedding_width}, feature_width {backbone.feature_width}, "
            f"grid {backbone.grid}; expected the first at most the second, and a grid of at most {_MOST_GRID}"
        )
    for attribute in ("offset", "scale"):
        value = getattr(backbone, attribute)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadBackbone(f"backbone {name!r}: its {attribute} is {value!r}; expected a number")
    if backbone.scale <= 0:
        raise BadBackbone(f"backbone {name!r}: its scale is {backbone.scale!r}; expected a number above 0")


def _frames(backbone: Backbone, count: int) -> Tensor:
    """Noise, black and white, as the resize hands them over."""
    side = backbone.input_size
    noise = torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0)) * 255.0
    noise[1:2], noise[2:3] = 0.0, 255.0
    return (noise - backbone.offset) / backbone.scale


def _answers(backbone: Backbone, name: str, frames: Tensor) -> tuple[Tensor, Tensor]:
    try:
        with torch.no_grad():
            found: Any = backbone(frames)
    except Exception as error:  # a user's forward may raise anything
        raise BadBackbone(
            f"backbone {name!r} fails on float32 {list(frames.shape)} ({type(error).__name__}: {error}); expected "
            "(features, patches)"
        ) from error
    if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(part, Tensor) for part in found):
        raise BadBackbone(f"backbone {name!r} answers a {type(found).__name__}; expected the tuple (features, patches)")
    return found


def _run(network: onnx.ModelProto, name: str, frames: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    try:
        session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
        return list(session.run(["features", "patches"], {NETWORK_INPUT: frames}))
    except Exception as error:  # the binding raises a dozen unrelated classes
        raise BadBackbone(
            f"backbone {name!r} is exported to a file that ONNX Runtime does not run on {len(frames)} frames "
            f"({str(error).strip().splitlines()[0][:300]}); expected any number of frames: reshape by -1, not by 3"
        ) from error


def _check_answers(
    name: str, expected: list[NDArray[np.float32]], found: list[NDArray[np.float32]], count: int
) -> None:
    for what, one, other in zip(("features", "patches"), expected, found, strict=True):
        if one.shape != other.shape:
            raise BadBackbone(
                f"backbone {name!r}: its exported file answers {what} {list(other.shape)} for {count} frames, torch "
                f"{list(one.shape)}; expected the same: reshape by -1, not by a number"
            )
        gap = float(np.abs(one - other).max())
        if not gap <= _TOLERANCE * max(1.0, float(np.abs(one).max())):
            raise BadBackbone(
                f"backbone {name!r}: its exported file answers {what} that differ from torch's by up to {gap:.3g} for "
                f"{count} frames; expected the same: write its forward without branches that depend on values"
            )
