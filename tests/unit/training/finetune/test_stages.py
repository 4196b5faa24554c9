"""What learns, and what stays."""

import pytest
import torch

from edge_client.contract.errors import ConfigError
from tests.unit.training.finetune.staged_backbone import ThreeStages
from training.finetune.plan import FineTunePlan
from training.finetune.stages import as_staged, frozen_count, learning_parts


def test_the_last_stages_learn_later_ones_faster_and_depthwise_filters_stay() -> None:
    backbone = ThreeStages()
    parts = learning_parts(backbone, FineTunePlan(stages=2, rate=1e-3, depth_decay=0.5))
    learning = {id(p) for part in parts for p in part.parameters}
    named = {name: id(p) in learning for name, p in backbone.named_parameters()}
    assert named == {
        "first.0.weight": False,
        "first.1.weight": False,
        "first.1.bias": False,
        "second.0.weight": False,  # depthwise
        "second.1.weight": True,
        "second.1.bias": True,
        "third.0.weight": True,
        "third.1.weight": True,
        "third.1.bias": True,
    }
    assert [p.requires_grad for p in backbone.parameters()] == list(named.values())
    assert {part.rate for part in parts if part.parameters[0] is backbone.second[1].weight} == {5e-4}
    assert {part.rate for part in parts if part.parameters[0] is backbone.third[0].weight} == {1e-3}
    assert all(part.decay == 0 for part in parts if part.parameters[0].ndim == 1)


def test_more_stages_than_there_are_means_all() -> None:
    assert frozen_count(ThreeStages(), FineTunePlan(stages=18)) == 0


def test_a_backbone_without_stages_is_refused_with_the_next_step() -> None:
    class Plain(torch.nn.Module):
        name = "plain"

    with pytest.raises(ConfigError, match="--tier head"):
        as_staged(Plain())  # type: ignore[arg-type]
