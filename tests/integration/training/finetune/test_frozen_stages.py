"""The first stages by ONNX Runtime, the last by torch: together the network as it is."""

import pytest
import torch

from tests.unit.training.finetune.staged_backbone import ThreeStages
from training.finetune import stages
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


def test_the_same_stages_are_exported_once_and_others_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    export = stages._export
    monkeypatch.setattr(stages, "_exports", {})
    monkeypatch.setattr(stages, "_export", lambda *a: (made.append(1), export(*a))[1])
    backbone, image = ThreeStages(), torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    first = FrozenStages(backbone, 1)(image)
    again = FrozenStages(backbone, 1)(image)
    assert len(made) == 1
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    with torch.no_grad():
        next(iter(backbone.parameters())).add_(1.0)
    changed = FrozenStages(backbone, 1)(image)
    assert len(made) == 2
    assert not torch.equal(first[0], changed[0])
    FrozenStages(backbone, 2)
    assert len(made) == 3
