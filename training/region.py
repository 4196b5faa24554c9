"""The region of interest, cut out of the frame inside the graph.

Edges are shares of the frame's sides, rounded to whole pixels: the resize behind it sees the region as if it were the
frame. However small the frame, one pixel remains.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from training.graph_part import GraphPart


def region_part(region: tuple[float, float, float, float], *, source: str = "image", target: str) -> GraphPart:
    """Build the part of the graph that cuts.

    Args:
        region: Left, top, right, bottom.
        source: Name of what it reads: uint8 [N, H, W, 3], any N, H and W.
        target: Name of what it writes: uint8 [N, h, w, 3].
    """
    left, top, right, bottom = region
    part = GraphPart("region")
    shape = part.node("Shape", [source], "region_frame", start=1, end=3)
    pixels = part.node("Cast", [shape], "region_pixels", to=TensorProto.FLOAT)

    def edge(name: str, shares: tuple[float, float]) -> str:
        product = part.node(
            "Mul", [pixels, part.constant(name, np.array(shares, dtype=np.float32))], f"region_{name}_exact"
        )
        return part.node("Round", [product], f"region_{name}_round")

    one = part.real(1.0)
    last = part.node("Sub", [pixels, one], "region_last")
    starts = part.node("Min", [edge("start", (top, left)), last], "region_start")
    least = part.node("Add", [starts, one], "region_least_end")
    ends = part.node("Max", [edge("end", (bottom, right)), least], "region_end")
    whole = [part.node("Cast", [name], f"{name}_whole", to=TensorProto.INT64) for name in (starts, ends)]
    part.node("Slice", [source, *whole, part.whole(1, 2)], target)
    return part
