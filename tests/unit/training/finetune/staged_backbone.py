"""A small backbone in three stages: 32 pixels, 16 features, one depthwise filter."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ThreeStages(nn.Module):
    """A convolution, a depthwise one, a pointwise one, each with batch normalisation."""

    name = "three-stages"
    offset, scale = 127.0, 128.0
    input_size = 32
    feature_width = 16
    embedding_width = 8
    patch_width = 8
    grid = 8

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.input_size, self.grid = size, size // 4
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.second = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.third = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
        self.eval()

    @property
    def stages(self) -> list[list[nn.Module]]:
        return [[self.first], [self.second], [self.third]]

    def first_stages(self, image: Tensor, count: int) -> tuple[Tensor, ...]:
        for stage in (self.first, self.second, self.third)[:count]:
            image = stage(image)
        return (image, image) if count else (image,)

    def last_stages(self, carried: tuple[Tensor, ...], done: int) -> tuple[Tensor, Tensor]:
        x = carried[-1]
        for stage in (self.first, self.second, self.third)[done:]:
            x = stage(x)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1), x.permute(0, 2, 3, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.last_stages((image,), 0)
