"""Frames for fine-tuning: what the exported graph makes of a frame before the network."""

import numpy as np
import pytest

from edge_client.contract.errors import ConfigError
from tests.unit.training.finetune.staged_backbone import ThreeStages
from training.backbone import Backbone
from training.finetune.frames import network_frames
from training.input_choice import InputChoice
from training.torch_export import export_trunk
from training.trunk import Trunk

FRAMES = [np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8) for i in range(3)]


def brought(backbone: Backbone, **choice: object) -> np.ndarray:
    made = InputChoice.from_dict({"backbone": backbone.name, "side": 32, **choice})
    trunk = Trunk.load(export_trunk(backbone, made))
    return network_frames(trunk, backbone, len(FRAMES), lambda i: FRAMES[i])


def test_a_trunk_of_two_views_learns_from_frames_as_they_are() -> None:
    backbone = ThreeStages()
    upright = brought(backbone)
    assert upright.shape == (3, 3, 32, 32)
    assert upright.std() > 20
    np.testing.assert_array_equal(brought(backbone, views=2), upright)


def test_tiles_are_refused_with_the_next_step() -> None:
    with pytest.raises(ConfigError, match="set one tile, or stay with head"):
        brought(ThreeStages(), tiles="2x2")
