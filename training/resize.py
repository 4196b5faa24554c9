"""Antialiased resize as banded matrix products whose weights are computed in the graph.

`Resize` with antialiasing is missing or wrong in several ONNX runtimes. A separable triangle filter is two matrices,
one for rows and one for columns, that depend on nothing but the frame's size: written with Range, Abs, Relu, Gather
and MatMul it runs everywhere and for any height and width. Values are those of
`torch.nn.functional.interpolate(mode="bilinear", antialias=True, align_corners=False)`.

1. A target pixel sees only its neighbourhood, so the matrices are bands: almost all of a whole product multiplies by
   zero. Targets are taken in blocks of a few; each block reads one window of source rows, wide enough for all of its
   targets. Windows of all blocks are equally long, so that they form one batched product.
2. Rows come first, in the frame's own layout (a window of rows is one piece of memory), and columns second, on what
   is left, with the columns moved to the front so that they are rows too.
3. The first pass goes in chunks of target rows: the widened floats of a whole 1080p frame (25 MB) would fall out of
   the processor's caches between two operators; a chunk's stay.
4. Normalisation costs no pass of its own but one subtraction: its divisor is in the column weights.
"""

from __future__ import annotations

import numpy as np

from training.graph_part import GraphPart

#: Target pixels of one block. Fewer waste less of a window, more make better use of a loaded row.
_ROW_BLOCK = 8
_COLUMN_BLOCK = 16
#: Target rows of one chunk of the first pass.
_CHUNK_ROWS = 32


def resize_part(
    height: int,
    width: int | None = None,
    *,
    offset: float,
    scale: float,
    source: str = "image",
    target: str = "network_input",
) -> GraphPart:
    """Build the part of the graph from a frame to normalised planes.

    Args:
        height: Of the planes in pixels.
        width: Of the planes in pixels; default as high as wide.
        offset: Subtracted from the resized values 0...255.
        scale: Divides them then.
        source: Name of what it reads: uint8 [N, H, W, 3], any N, H and W.
        target: Name of what it writes: float32 [N, 3, height, width].
    """
    width = height if width is None else width
    part = GraphPart("resize")
    dims = {name: part.node("Shape", [source], f"resize_{name}", start=k, end=k + 1) for k, name in enumerate("NHW")}
    upright = _rows(part, dims, height, source)
    banded = _bands(part, dims["W"], width, _divisor(width, _COLUMN_BLOCK), "column", 1.0 / scale)
    windows = part.node("Gather", [upright, banded.index], "column_windows", axis=1)
    shape = part.node(
        "Concat", [dims["N"], part.whole(banded.blocks), banded.length, part.whole(3 * height)], "column_shape", axis=0
    )
    blocks = part.node("MatMul", [banded.weights, part.node("Reshape", [windows, shape], "column_blocks")], "columns")
    square = part.node("Concat", [dims["N"], part.whole(width, 3, height)], "square_shape", axis=0)
    lying = part.node("Reshape", [blocks, square], "square_lying")
    planes = part.node("Transpose", [lying], "square", perm=[0, 2, 3, 1])
    part.node("Sub", [planes, part.real(offset / scale)], target)
    return part


class _Bands:
    """One axis in blocks: which source positions each reads, and with which weights.

    Attributes:
        index: Name of int64 [blocks * length], positions along the axis.
        weights: Name of float32 [blocks, block, length].
        length: Name of int64 [1].
        blocks: How many.
    """

    def __init__(self, index: str, weights: str, length: str, blocks: int) -> None:
        self.index, self.weights, self.length, self.blocks = index, weights, length, blocks


def _divisor(size: int, at_most: int) -> int:
    """The largest divisor of `size` that is at most so much."""
    return next(d for d in range(min(size, at_most), 0, -1) if size % d == 0)


def _rows(part: GraphPart, dims: dict[str, str], size: int, source: str) -> str:
    """The first pass; returns the name of float32 [N, W, 3, size], columns in front."""
    block = _divisor(size, _ROW_BLOCK)
    chunks = size // _CHUNK_ROWS if size % _CHUNK_ROWS == 0 else 1
    each = size // block // chunks
    bands = _bands(part, dims["H"], size, block, "row", 1.0)
    wide = part.node("Mul", [dims["W"], part.whole(3)], "row_width")
    shape = part.node("Concat", [dims["N"], part.whole(each), bands.length, wide], "row_shape", axis=0)
    by_chunk = part.node("Reshape", [bands.index, part.whole(chunks, -1)], "row_index_by_chunk")
    of_chunk = part.node("Concat", [part.whole(chunks, each, block), bands.length], "row_weights_shape", axis=0)
    weights = part.node("Reshape", [bands.weights, of_chunk], "row_weights_by_chunk")
    done = []
    for k in range(chunks):
        number = part.constant(f"number_{k}", np.int64(k))
        index = part.node("Gather", [by_chunk, number], f"row_index_{k}", axis=0)
        band = part.node("Gather", [weights, number], f"row_band_{k}", axis=0)
        window = part.node("Gather", [source, index], f"row_windows_{k}", axis=1)
        # Still bytes while they are moved; widened just before they are multiplied.
        real = part.node("Cast", [part.node("Reshape", [window, shape], f"row_blocks_{k}")], f"row_real_{k}", to=1)
        done.append(part.node("MatMul", [band, real], f"rows_{k}"))
    rows = part.node("Concat", done, "rows", axis=1) if chunks > 1 else done[0]
    whole = part.node("Concat", [dims["N"], part.whole(size), dims["W"], part.whole(3)], "rows_shape", axis=0)
    return part.node("Transpose", [part.node("Reshape", [rows, whole], "rows_whole")], "upright", perm=[0, 2, 3, 1])


def _bands(part: GraphPart, length: str, size: int, block: int, axis: str, total: float) -> _Bands:
    """Windows and weights of one axis.

    Args:
        part: Receives the nodes.
        length: Name of int64 [1], source pixels along the axis.
        size: Target pixels.
        block: Targets of one block; divides `size`.
        axis: Goes into the names.
        total: What the weights of a target sum to.
    """
    blocks = size // block

    def node(kind: str, inputs: list[str], what: str, **attributes: int) -> str:
        return part.node(kind, inputs, f"{axis}_{what}", **attributes)

    pixels = node("Squeeze", [node("Cast", [length], "pixels_vector", to=1)], "pixels")
    ratio = node("Div", [pixels, part.real(size)], "ratio")
    # The filter is as wide as one target pixel when shrinking, one source pixel when growing.
    support = node("Max", [ratio, part.real(1.0)], "support")
    # From the first target's farthest neighbour to the last one's; one more for where the first falls in its pixel.
    between = node("Mul", [ratio, part.real(block - 1.0)], "between")
    reach = node("Add", [between, node("Mul", [support, part.real(2.0)], "supports")], "reach")
    ample = node("Add", [node("Ceil", [reach], "reach_up"), part.real(1.0)], "ample")
    window = node("Min", [pixels, ample], "window")
    first = node("Mul", [ratio, part.constant(f"{axis}_firsts", np.float32(np.arange(blocks) * block + 0.5))], "first")
    farthest = node("Floor", [node("Sub", [first, support], "farthest")], "farthest_down")
    inside = node("Max", [farthest, part.real(0.0)], "inside")
    start = node("Min", [inside, node("Sub", [pixels, window], "last_start")], "start")
    steps = node("Range", [part.real(0.0), window, part.real(1.0)], "steps")
    source = node("Add", [node("Unsqueeze", [start, part.whole(1)], "start_column"), steps], "source")
    targets = part.constant(f"{axis}_targets", np.float32(np.arange(size) + 0.5).reshape(blocks, block, 1))
    centre = node("Unsqueeze", [node("Add", [source, part.real(0.5)], "centre"), part.whole(1)], "centre_row")
    gap = node("Abs", [node("Sub", [centre, node("Mul", [ratio, targets], "target")], "gap")], "distance")
    share = node("Sub", [part.real(1.0), node("Div", [gap, support], "distance_share")], "share")
    raw = node("Relu", [share], "triangle")
    summed = node("ReduceSum", [raw, part.whole(2)], "triangle_sum", keepdims=1)
    if total != 1.0:
        summed = node("Mul", [summed, part.real(1.0 / total)], "triangle_divisor")
    return _Bands(
        index=node("Reshape", [node("Cast", [source], "source_whole", to=7), part.whole(-1)], "index"),
        weights=node("Div", [raw, summed], "weights"),
        length=node("Reshape", [node("Cast", [window], "window_whole", to=7), part.whole(1)], "length"),
        blocks=blocks,
    )
