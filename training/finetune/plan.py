"""How a trunk is fine-tuned, as a value: the same plan on the same frames gives the same weights."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from edge_client.contract.errors import ConfigError

#: Of the default backbone: the stem, sixteen blocks, the last convolution.
DEPTH = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTunePlan:
    """How to fine-tune.

    Attributes:
        stages: How many of the last stages of the backbone learn; the others stay as they are, `DEPTH` is all.
        epochs: How often each frame is seen, at most.
        rate: Learning rate of the last stage, at its peak.
        depth_decay: What a stage's rate is to that of the stage after it: early stages know edges and textures already.
        head_rate: Learning rate of the linear head.
        weight_decay: Of AdamW; scales and offsets have none.
        mixup: α of Beta(α, α), from which the share of a second frame is drawn (Zhang et al. 2018); 0: none.
        smoothing: Of labels: how much of each goes to all classes alike.
        flips: Frames may be mirrored, upright and sideways.
        quarter_turns: Frames may be turned by quarters: only where a turned part is judged as an upright one is.
        jitter: Largest change of brightness and of contrast, as a share of the range.
        average: Decay a step of the averaged weights, which are what is kept (EMA).
        balance: `logit_adjustment` adds the log of class shares in the loss (`training.rebalance`); `none` does not.
        patience: Epochs without a better loss on the frames set aside after which training ends; 0: never.
        batch: Frames a step.
        precision: `bfloat16` is faster on processors that multiply it; `float32` everywhere.
        seed: Of everything that is drawn.
    """

    stages: int = 12
    epochs: int = 10
    rate: float = 5e-4
    depth_decay: float = 0.8
    head_rate: float = 1e-3
    weight_decay: float = 0.02
    mixup: float = 0.2
    smoothing: float = 0.05
    flips: bool = True
    quarter_turns: bool = False
    jitter: float = 0.1
    average: float = 0.99
    balance: Literal["none", "logit_adjustment"] = "none"
    patience: int = 0
    batch: int = 32
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"fine-tuning: {name} = {value!r}; expected {low:g} to {high:g}")

    @property
    def id(self) -> str:
        """A name that differs where anything differs."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:16]

    def with_seed(self, seed: int) -> FineTunePlan:
        """Return the same plan with another seed."""
        return replace(self, seed=seed)

    def __str__(self) -> str:
        """Return for example `last 12 stages, 10 epochs, rate 0.0005`."""
        return f"last {self.stages} stages, {self.epochs} epochs, rate {self.rate:g}"


def fastest_precision(cpu_flags: str | None = None) -> Literal["float32", "bfloat16"]:
    """Return what this processor multiplies fastest: bfloat16 where it has tiles for it (AMX), else float32.

    >>> fastest_precision("fma avx2"), fastest_precision("avx512_bf16 amx_bf16 amx_tile")
    ('float32', 'bfloat16')
    """
    if cpu_flags is None:
        try:
            cpu_flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
        except OSError:  # not Linux
            return "float32"
    return "bfloat16" if "amx_bf16" in cpu_flags else "float32"


_LIMITS = (
    ("stages", 1, DEPTH),
    ("epochs", 1, 200),
    ("rate", 1e-7, 1.0),
    ("depth_decay", 0.01, 1.0),
    ("head_rate", 1e-7, 1.0),
    ("weight_decay", 0.0, 1.0),
    ("mixup", 0.0, 10.0),
    ("smoothing", 0.0, 0.5),
    ("jitter", 0.0, 0.5),
    ("average", 0.0, 0.99999),
    ("patience", 0, 200),
    ("batch", 2, 1024),
)
