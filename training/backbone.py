"""What the rest of training asks of a backbone: pooled features for the head, patches for the anomaly bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Backbone(Protocol):
    """A frozen image network, exportable to ONNX in one piece: an `nn.Module` in evaluation mode.

    One that a user registers is made by a factory that takes the side in pixels (`training.backbones`).

    `forward` takes float32 [N, 3, S, S] (S = `input_size`), values 0…255 less `offset`, divided by `scale`, and returns
    `(features, patches)`: features float32 [N, feature_width], of which the first `embedding_width` columns are the
    novelty embedding before L2 normalisation; patches float32 [N, grid, grid, patch_width].
    """

    @property
    def name(self) -> str:
        """Architecture and weights, for example `efficientnet-lite0`."""

    @property
    def input_size(self) -> int:
        """Side in pixels of the square the image is resized to."""

    @property
    def offset(self) -> float:
        """Subtracted from the resized frame's values 0…255."""

    @property
    def scale(self) -> float:
        """Divides them then."""

    @property
    def feature_width(self) -> int:
        """Columns of `features`."""

    @property
    def embedding_width(self) -> int:
        """How many leading columns of `features` make the engine's `embedding` output."""

    @property
    def patch_width(self) -> int:
        """Channels of one patch."""

    @property
    def grid(self) -> int:
        """Patches along one side."""

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network."""
