"""Which parts of a backbone learn, how fast, and the rest run once and for all.

1. A backbone that can be fine-tuned runs in stages (`Staged`). The first ones stay as they are and are run by ONNX
   Runtime, which is several times as fast at it as torch; only the last ones are ever differentiated.
2. Filters that look at one channel alone (depthwise) stay as they are at any depth: they are 1 % of the weights, and
   the gradient of their weights costs more than all others together on a processor.
3. To export the first stages takes seconds, and each fold of a retrain begins with the same ones: the last exports
   are kept by the digest of all that they are made of.
4. Running means of batch normalisation stay too: batches are small, and what is trained is then what is exported.
   Scales and offsets learn.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from edge_client.contract.errors import ConfigError
from training.backbone import Backbone
from training.finetune.plan import FineTunePlan
from training.torch_to_onnx import to_onnx

_KEPT_EXPORTS = 2
_exports: dict[str, bytes] = {}  # the newest last (rule 3)
_AT_ONCE = 8  # frames: the activations of more fall out of the processor's caches


class Staged(Backbone, Protocol):
    """A backbone that can be run in two parts."""

    @property
    def stages(self) -> list[list[nn.Module]]:
        """What learns together, in the order of depth."""

    def first_stages(self, image: Tensor, count: int) -> tuple[Tensor, ...]:
        """Run the first stages alone; with none, hand on the image."""

    def last_stages(self, carried: tuple[Tensor, ...], done: int) -> tuple[Tensor, Tensor]:
        """Go on after so many stages; returns what the backbone does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """Parameters that learn alike.

    Attributes:
        parameters: They.
        rate: At its peak.
        decay: Of weights.
    """

    parameters: list[nn.Parameter]
    rate: float
    decay: float


def as_staged(backbone: Backbone) -> Staged:
    """Return the backbone if it runs in stages.

    Raises:
        ConfigError: It does not.
    """
    if not all(hasattr(backbone, name) for name in ("stages", "first_stages", "last_stages")):
        raise ConfigError(
            f"backbone {backbone.name!r} cannot be fine-tuned: it has no stages, first_stages and last_stages "
            "(`training.finetune.stages.Staged`); give it these, or stay with --tier head"
        )
    return cast("Staged", backbone)


def frozen_count(backbone: Staged, plan: FineTunePlan) -> int:
    """How many of the first stages stay as they are."""
    return max(0, len(backbone.stages) - plan.stages)


def learning_parts(backbone: Staged, plan: FineTunePlan) -> list[Learning]:
    """Freeze what stays and return what learns, early stages slower (rules 1 and 2)."""
    for parameter in cast("nn.Module", backbone).parameters():
        parameter.requires_grad_(False)
    stages = backbone.stages
    parts = []
    for depth in range(frozen_count(backbone, plan), len(stages)):
        rate = plan.rate * plan.depth_decay ** (len(stages) - 1 - depth)
        found = [p for module in stages[depth] for p in _learnable(module)]
        for parameters, decay in (
            ([p for p in found if p.ndim > 1], plan.weight_decay),
            ([p for p in found if p.ndim <= 1], 0.0),  # scales and offsets
        ):
            if parameters:
                parts.append(Learning(parameters=parameters, rate=rate, decay=decay))
            for parameter in parameters:
                parameter.requires_grad_(True)
    return parts


def _learnable(module: nn.Module) -> list[nn.Parameter]:
    single = [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1]
    left_alone = {id(parameter) for conv in single for parameter in conv.parameters()}
    return [parameter for parameter in module.parameters() if id(parameter) not in left_alone]


class FrozenStages:
    """The first stages of a backbone as they are now.

    Args:
        backbone: Its weights are copied.
        count: How many stages; 0: what comes in goes on.
        threads: Of ONNX Runtime.
    """

    def __init__(self, backbone: Staged, count: int, *, threads: int = 1) -> None:
        self._session: onnxruntime.InferenceSession | None = None
        self._places: list[int] = [0]
        if count:
            example = torch.zeros((2, 3, backbone.input_size, backbone.input_size))
            with torch.no_grad():
                outputs = backbone.first_stages(example, count)
            # A stage's output may be a tap as well: it is computed and handed over once.
            kinds = list(dict.fromkeys(id(output) for output in outputs))
            self._places = [kinds.index(id(output)) for output in outputs]
            first = [self._places.index(kind) for kind in range(len(kinds))]
            self._session = _session(_First(backbone, count, first), example, threads)

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run them: float32 [n, 3, S, S] to what `Staged.last_stages` takes."""
        if self._session is None:
            return (image,)
        blocks = [
            self._session.run(None, {"image": block.numpy()})
            for block in image.contiguous().split(_AT_ONCE)
            if len(block)
        ]
        joined = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*blocks, strict=True)]
        return tuple(joined[place] for place in self._places)


class _First(nn.Module):  # type: ignore[misc]
    def __init__(self, backbone: Staged, count: int, kept: Sequence[int]) -> None:
        super().__init__()
        self.backbone, self.count, self.kept = backbone, count, list(kept)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = self.backbone.first_stages(image, self.count)
        return tuple(outputs[index] for index in self.kept)


def _session(module: nn.Module, example: Tensor, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch wants the same cores in between
    return onnxruntime.InferenceSession(_exported(module, example), options, providers=["CPUExecutionProvider"])


def _exported(module: nn.Module, example: Tensor) -> bytes:
    try:
        content = pickle.dumps((module, tuple(example.shape)))
    except (pickle.PicklingError, TypeError, AttributeError):  # a backbone with a lambda in it, say
        return _export(module, example)
    key = hashlib.sha256(content).hexdigest()
    found = _exports.pop(key, None) or _export(module, example)
    _exports[key] = found
    if len(_exports) > _KEPT_EXPORTS:
        del _exports[next(iter(_exports))]
    return found


def _export(module: nn.Module, example: Tensor) -> bytes:
    return cast("bytes", to_onnx(module.eval(), example, input_name="image").SerializeToString())
