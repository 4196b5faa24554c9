"""Antialiased resize as two matrix products whose weights are computed in the graph.

`Resize` with antialiasing is missing or wrong in several ONNX runtimes. A separable triangle filter is two
matrices, one for rows and one for columns, that depend on nothing but the image's size: written with Range, Abs,
Relu and MatMul it runs everywhere and for any height and width. Same values as
`torch.nn.functional.interpolate(mode="bilinear", antialias=True, align_corners=False)`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def resize_matrix(length: int, size: int) -> Tensor:
    """Weights that take `length` samples to `size` samples.

    Args:
        length: Samples there are (a symbolic size while exporting).
        size: Samples wanted.

    Returns:
        float32 [size, length]; rows sum to 1.
    """
    source = torch.arange(length, dtype=torch.float32) + 0.5
    target = torch.arange(size, dtype=torch.float32) + 0.5
    # `length` as a tensor, not a Python number, so that the exporter keeps it symbolic.
    ratio = source.new_ones(length).sum() / size
    # The filter is as wide as one target pixel when shrinking, one source pixel when growing.
    support = torch.relu(ratio - 1.0) + 1.0
    distance = torch.abs(source[None, :] - target[:, None] * ratio) / support
    weights = torch.relu(1.0 - distance)
    return weights / weights.sum(dim=1, keepdim=True)


def resize(image: Tensor, size: int) -> Tensor:
    """Resize to a square and move channels first.

    Args:
        image: uint8 [N, H, W, 3], any H and W.
        size: Side of the square in pixels.

    Returns:
        float32 [N, 3, size, size], values 0…255.
    """
    batch, height, width, channels = image.shape
    # Rows first, in the image's own layout: the transpose then moves the smaller tensor.
    rows = torch.matmul(resize_matrix(height, size), image.to(torch.float32).reshape(batch, height, width * channels))
    planes = rows.reshape(batch, size, width, channels).permute(0, 3, 1, 2)
    return torch.matmul(planes, resize_matrix(width, size).transpose(0, 1))
