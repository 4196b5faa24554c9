"""int8 weights of one convolution: their scales, their rounding, and the bias that goes with them.

1. Processors without VNNI multiply bytes in pairs (uint8 by int8) and add the two products in 16 bits, which
   saturate: a device would answer otherwise than the cloud. Seven-bit weights are safe but coarse. Saturation needs
   two neighbours of one sign that together exceed 128, and few pairs do: so weights use eight bits, and an output
   channel's scale grows only as far as its largest pair asks. Depthwise kernels add in 32 bits and need nothing.
2. Pairs are neighbours as the matrix product sees them: height, width, input channel.
3. Rounding each weight to the nearest is not best for the sum: the error of one weight is made up for by those not
   yet rounded, as far as their inputs move together (Frantar et al. 2023, GPTQ).
4. What error remains has a mean, by the mean of the inputs; the bias takes it away (Nagel et al. 2019, §4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 127
_LEAST = 1e-9
#: Part of the mean of the Gram matrix's diagonal that is added to it: inputs that never move must not count as free.
_DAMPING = 0.01
#: Input channels whose errors are passed on together.
_BLOCK = 64
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Weights:
    """One convolution in int8.

    Attributes:
        values: int8 [out, in, h, w].
        scale: float32 [out].
        bias: float64 [out], corrected.
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: Floats


def safe_scale(weights: Floats, *, depthwise: bool) -> Floats:
    """Return the finest scale of each output channel that no processor saturates on (rules 1 and 2).

    Args:
        weights: float [out, in, h, w].
        depthwise: Each output channel has one input channel.

    >>> row = np.array([[1.0, 0.5, -1.0, 0.9]]).reshape(1, 4, 1, 1)
    >>> (safe_scale(row, depthwise=False) * MOST).tolist()
    [1.5]
    """
    most = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    if not depthwise:
        row = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)
        row = np.pad(row, ((0, 0), (0, row.shape[1] % 2)))
        up, down = np.maximum(row, 0.0), np.maximum(-row, 0.0)
        pairs = np.maximum(up[:, 0::2] + up[:, 1::2], down[:, 0::2] + down[:, 1::2])
        most = np.maximum(most, pairs.max(axis=1))
    return np.asarray(np.maximum(most, _LEAST) / MOST, dtype=np.float64)


def quantised(
    weights: Floats, bias: Floats, input_mean: Floats, gram: Floats | None, *, depthwise: bool
) -> Int8Weights:
    """Quantise the weights of a convolution.

    Args:
        weights: float [out, in, h, w].
        bias: float [out].
        input_mean: float [in], or [out] where depthwise: mean of each input channel.
        gram: float [in, in], sum of products of the input channels, for a 1 x 1 convolution; None: round to nearest.
        depthwise: Each output channel has one input channel.
    """
    scale = safe_scale(weights, depthwise=depthwise).astype(np.float32)
    wide = scale.astype(np.float64)
    if gram is None:
        values = _nearest(weights / wide[:, None, None, None])
    else:
        values = compensated(weights[:, :, 0, 0], wide, gram)[:, :, None, None]
    error = (values * wide[:, None, None, None] - weights).sum(axis=(2, 3))
    shift = error[:, 0] * input_mean if depthwise else error @ input_mean
    return Int8Weights(values=values.astype(np.int8), scale=scale, bias=bias - shift)


def compensated(weights: Floats, scale: Floats, gram: Floats) -> Floats:
    """Round one input channel after the other, each time moving the rest to make up for the error (rule 3).

    Args:
        weights: float [out, in].
        scale: float [out].
        gram: float [in, in].

    Returns:
        Whole numbers, as float [out, in].
    """
    order = np.argsort(-np.diag(gram), kind="stable")  # the strongest first: the most is left to make up with
    damped = gram[np.ix_(order, order)] + np.eye(len(gram)) * (_DAMPING * np.diag(gram).mean() + _LEAST)
    # Upper factor of the inverse: row i says how the channels after i answer for an error in i.
    answer = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = weights[:, order].copy()
    rounded = np.empty_like(left)
    for start in range(0, left.shape[1], _BLOCK):
        stop = min(start + _BLOCK, left.shape[1])
        errors = np.empty((len(left), stop - start))
        for i in range(start, stop):
            rounded[:, i] = _nearest(left[:, i] / scale)
            errors[:, i - start] = (left[:, i] - rounded[:, i] * scale) / answer[i, i]
            left[:, i + 1 : stop] -= errors[:, i - start, None] * answer[i, i + 1 : stop]
        # What lies behind the block is moved once for all of it: one matrix product.
        left[:, stop:] -= errors @ answer[start:stop, stop:]
    values = np.empty_like(rounded)
    values[:, order] = rounded
    return _unsaturated(values)


def _nearest(values: Floats) -> Floats:
    return np.asarray(np.clip(np.round(values), -MOST, MOST))


def _unsaturated(values: Floats) -> Floats:
    """Bring pairs that compensation has moved over 128 back: the larger of the two gives way."""
    kept = values.copy()
    even = kept.shape[1] - kept.shape[1] % 2
    first, second = kept[:, 0:even:2], kept[:, 1:even:2]
    over = np.where(np.sign(first) == np.sign(second), np.abs(first + second) - (MOST + 1), 0.0)
    over = np.maximum(over, 0.0)
    larger = np.abs(first) >= np.abs(second)
    first -= np.where(larger, np.sign(first) * over, 0.0)
    second -= np.where(larger, 0.0, np.sign(second) * over)
    return kept
