"""What a frame may also have looked like, and frames in between.

Everything is drawn from one generator that is made for each step from seed, epoch and step: a run that begins anew at
an epoch draws what the run before would have drawn.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.finetune.plan import FineTunePlan

_MIDDLE = 127.0


def generator_of(plan: FineTunePlan, epoch: int, step: int) -> np.random.Generator:
    """Return the generator of one step."""
    return np.random.default_rng([plan.seed, epoch, step, 1])


def order_of(plan: FineTunePlan, epoch: int, count: int) -> NDArray[np.int64]:
    """Return the order of frames in one epoch."""
    return np.random.default_rng([plan.seed, epoch, 0, 0]).permutation(count)


def augment(frames: Tensor, plan: FineTunePlan, random: np.random.Generator) -> Tensor:
    """Return float32 [n, 3, S, S], values about 0…255, from uint8 of that shape."""
    turned = torch.empty_like(frames)
    for index, way in enumerate(random.integers(0, 8, len(frames)).tolist()):
        frame = frames[index]
        if plan.flips and way & 1:
            frame = frame.flip(-1)
        if plan.flips and way & 2:
            frame = frame.flip(-2)
        if plan.quarter_turns and way & 4:
            frame = frame.transpose(-1, -2)
        turned[index] = frame
    real = turned.to(torch.float32)
    contrast, brightness = (
        torch.from_numpy(random.uniform(-plan.jitter, plan.jitter, (len(frames), 1, 1, 1)).astype(np.float32))
        for _ in range(2)
    )
    if plan.jitter:
        mean = real.mean((1, 2, 3), keepdim=True)
        real = (real - mean) * (1 + contrast) + mean + _MIDDLE * brightness
    return real


def mix(frames: Tensor, targets: Tensor, plan: FineTunePlan, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return frames and targets [n, K] in between pairs (mixup); as they are where the plan has none."""
    if not plan.mixup:
        return frames, targets
    share = float(random.beta(plan.mixup, plan.mixup))
    share = max(share, 1 - share)  # the first frame of a pair leads
    other = torch.from_numpy(random.permutation(len(frames)))
    return share * frames + (1 - share) * frames[other], share * targets + (1 - share) * targets[other]
