import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.resize import resize, resize_matrix
from training.trunk import Trunk

SIDES = st.integers(min_value=1, max_value=90)


@given(height=SIDES, width=SIDES, size=st.integers(min_value=1, max_value=64))
@settings(max_examples=40, deadline=None)
def test_it_is_the_antialiased_bilinear_resize_of_torch(height: int, width: int, size: int) -> None:
    image = torch.from_numpy(
        np.random.default_rng(height * 97 + width).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    )
    theirs = torch.nn.functional.interpolate(
        image.permute(0, 3, 1, 2).float(), size=(size, size), mode="bilinear", antialias=True
    )
    assert torch.allclose(resize(image, size), theirs, atol=2e-3)


@given(length=st.integers(min_value=1, max_value=4000))
@settings(max_examples=30, deadline=None)
def test_weights_of_every_target_pixel_sum_to_one(length: int) -> None:
    assert torch.allclose(resize_matrix(length, 32).sum(dim=1), torch.ones(32), atol=1e-4)


def test_the_exported_graph_takes_any_number_and_size_of_frames(trunk: Trunk, backbone: torch.nn.Module) -> None:
    for shape in ((1, 1, 1, 3), (1, 300, 300, 3), (3, 17, 211, 3), (2, 480, 33, 3)):
        frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            features, patches = backbone(resize(torch.from_numpy(frames), 32))
        got_features, got_patches = trunk._session.run(["features", "patches"], {"image": frames})
        np.testing.assert_allclose(got_features, features.numpy(), atol=1e-4)
        np.testing.assert_allclose(got_patches, patches.numpy(), atol=1e-4)
