"""The anomaly score over patches of a real, small trunk."""

from collections.abc import Callable

import numpy as np

from training.fit import FitRequest, score_examples
from training.trunk import Trunk


def test_spots_stand_out_of_real_trunk_patches(
    make_request: Callable[..., FitRequest], make_picture: Callable[..., np.ndarray], trunk: Trunk
) -> None:
    scored = score_examples(make_request([0] * 60 + [1] * 4))
    ok = scored.bank.score(trunk.run([make_picture(1000 + i, 0) for i in range(30)]).patches)
    spots = scored.bank.score(trunk.run([make_picture(2000 + i, 1) for i in range(30)]).patches)
    assert spots.min() > np.median(ok)
    assert (spots > 1).mean() > 0.9
