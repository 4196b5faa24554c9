"""Views: a frame looked at as it is and turned by half, so that what is said of it depends less on how it lies.

1. The turned frame goes through the network beside the upright one, in the same batch. Half a turn keeps the frame's
   shape and only reverses its pixels: nothing is interpolated.
2. Features are the mean over both, a patch is the mean of what both say of the same place.

Averaging over transformed copies at inference is an old way to steady a network (Krizhevsky et al. 2012, section 4.1);
here it is done to features, so a head is trained on the very averages that it meets on the device.
"""

from __future__ import annotations

from training.graph_part import GraphPart
from training.input_choice import MOST_VIEWS


def turning_part(height: int, width: int, *, source: str, target: str) -> GraphPart:
    """Build the part of the graph from a frame to both views.

    Args:
        height: Pixels.
        width: Pixels.
        source: Name of what it reads: float32 [N, 3, height, width].
        target: Name of what it writes: float32 [2 N, 3, height, width], all frames as they are first.
    """
    part = GraphPart("views")
    last, before_first = part.whole(height - 1, width - 1), part.whole(-height - 1, -width - 1)
    turned = part.node("Slice", [source, last, before_first, part.whole(2, 3), part.whole(-1, -1)], "turned")
    part.node("Concat", [source, turned], target, axis=0)
    return part


def averaging_part(*, feature_width: int, patch_shape: tuple[int, int, int], features: str, patches: str) -> GraphPart:
    """Build the part of the graph from the answers for both views to one.

    Args:
        feature_width: D.
        patch_shape: h, w and C.
        features: Name of the answers' features, float32 [2 N, D].
        patches: Name of their patches, float32 [2 N, h, w, C].

    Returns:
        Writes `features` float32 [N, D] and `patches` float32 [N, h, w, C].
    """
    part = GraphPart("averaged")
    height, width, _ = patch_shape
    by_view = part.node("Reshape", [features, part.whole(MOST_VIEWS, -1, feature_width)], "features_by_view")
    part.node("ReduceMean", [by_view, part.whole(0)], "features", keepdims=0)
    grids = part.node("Reshape", [patches, part.whole(MOST_VIEWS, -1, *patch_shape)], "patches_by_view")
    upright = part.node("Slice", [grids, part.whole(0), part.whole(1), part.whole(0)], "patches_upright")
    first, behind = part.whole(1, height - 1, width - 1), part.whole(2, -height - 1, -width - 1)
    turned_back = part.node(
        "Slice", [grids, first, behind, part.whole(0, 2, 3), part.whole(1, -1, -1)], "patches_turned_back"
    )
    total = part.node("Add", [upright, turned_back], "patches_sum")
    mean = part.node("Mul", [total, part.real(0.5)], "patches_mean")
    part.node("Reshape", [mean, part.whole(-1, *patch_shape)], "patches")
    return part
