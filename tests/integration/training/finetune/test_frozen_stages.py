"""The first stages by ONNX Runtime, the last by torch: together the network as it is."""

import torch

from tests.unit.training.finetune.staged_backbone import ThreeStages
from training.finetune.stages import FrozenStages


def test_frozen_stages_hand_on_what_torch_would() -> None:
    backbone, image = ThreeStages(), torch.randn((5, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    frozen = FrozenStages(backbone, 1)
    with torch.no_grad():
        expected = backbone.first_stages(image, 1)
        found = frozen(image)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        for one, other in zip(backbone.last_stages(found, 1), backbone(image), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
