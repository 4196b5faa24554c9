"""Tiles and regions: where they lie, and what the graph makes of them."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

import training.frame_map
from tests.unit.training.part_runs import model_of, run
from training.frame_map import MOST_CELLS, cells, frame_map_part, frame_map_shape, shown
from training.input_choice import InputChoice
from training.region import region_part
from training.tiles import Axis, Layout, cutting_part, joining_part

Region = tuple[float, float, float, float]
axes = st.builds(
    lambda count, grid, cell, overlap: Axis(
        count=count, side=grid * cell, grid=grid, step=max(1, grid - round(overlap * grid))
    ),
    count=st.integers(1, 5),
    grid=st.integers(2, 20),
    cell=st.integers(1, 32),
    overlap=st.floats(0, 0.5),
)


@given(axis=axes)
def test_stitched_patches_lie_where_their_tile_saw_them(axis: Axis) -> None:
    cell = axis.side / axis.grid
    assert len(axis.sources()) == axis.patches
    assert axis.pixels == axis.starts[-1] + axis.side
    for place, (tile, inside) in enumerate(axis.sources()):
        assert 0 <= inside < axis.grid
        # Where the patch is on the canvas, by its tile and by the stitched grid: at most rounding apart.
        assert abs((axis.starts[tile] + inside * cell) - place * cell) <= 0.5
    # Where tiles overlap, the patch is nearest to the middle of the tile that it is taken from.
    for place, (_, inside) in enumerate(axis.sources()):
        for other in range(axis.count):
            there = place - other * axis.step
            if 0 <= there < axis.grid:
                assert abs(2 * inside + 1 - axis.grid) <= abs(2 * there + 1 - axis.grid)


def test_overlap_is_rounded_to_whole_patches() -> None:
    layout = Layout.of(InputChoice(tiles=(2, 3), overlap=0.25), 14)
    assert (layout.rows.step, layout.rows.starts, layout.columns.starts) == (10, [0, 160], [0, 160, 320])
    assert (layout.rows.pixels, layout.columns.patches) == (384, 34)


def test_tiles_are_cut_and_joined_again() -> None:
    layout = Layout.of(InputChoice(side=32, tiles=(2, 3), overlap=0.25), 8)
    shape = (layout.rows.pixels, layout.columns.pixels)
    canvas = np.random.default_rng(0).normal(size=(3, 3, *shape)).astype(np.float32)
    (cut,) = run(model_of([cutting_part(layout, source="canvas", target="out")], {"canvas": 1}, []), {"canvas": canvas})
    assert cut.shape == (6 * 3, 3, 32, 32)
    np.testing.assert_array_equal(cut[3 * 5 + 2], canvas[2, :, layout.rows.starts[1] :, layout.columns.starts[2] :])
    # A network that answers each patch's mean and, as features, each tile's mean.
    patches = cut.reshape(18, 3, 8, 4, 8, 4).mean(axis=(3, 5)).transpose(0, 2, 3, 1)
    features = cut.mean(axis=(2, 3))
    joined = model_of(
        [joining_part(layout, feature_width=3, patch_width=3, features="f", patches="p")], {"f": 1, "p": 1}, []
    )
    pooled, stitched = run(joined, {"f": features, "p": patches})
    whole = canvas.reshape(3, 3, shape[0] // 4, 4, shape[1] // 4, 4).mean(axis=(3, 5)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(stitched, whole, atol=1e-6)
    of_frame = features.reshape(6, 3, 3)
    np.testing.assert_allclose(pooled, np.concatenate([of_frame.mean(axis=0), of_frame.max(axis=0)], axis=1), atol=1e-6)


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    edges=st.lists(st.integers(0, 50), min_size=4, max_size=4, unique=True),
)
@settings(max_examples=40, deadline=None)
def test_a_region_is_cut_at_the_nearest_whole_pixel(height: int, width: int, edges: list[int]) -> None:
    left, right = sorted(edge / 50 for edge in edges[:2])
    top, bottom = sorted(edge / 50 for edge in edges[2:])
    frame = np.random.default_rng(height * 61 + width).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    model = model_of([region_part((left, top, right, bottom), target="out")], {"image": TensorProto.UINT8}, [])
    (found,) = run(model, {"image": frame})

    def span(pixels: int, start: float, end: float) -> slice:
        first = min(round(float(np.float32(start) * np.float32(pixels))), pixels - 1)
        return slice(first, max(round(float(np.float32(end) * np.float32(pixels))), first + 1))

    np.testing.assert_array_equal(found, frame[:, span(height, top, bottom), span(width, left, right)])


def test_another_implementation_of_the_operators_cuts_the_same() -> None:
    region: Region = (0.25, 0.1, 0.8, 0.55)
    frame = np.random.default_rng(0).integers(0, 256, (1, 37, 53, 3), dtype=np.uint8)
    model = model_of([region_part(region, target="out")], {"image": TensorProto.UINT8}, ["out"])
    (reference,) = run(model, {"image": frame}, by_reference=True)
    np.testing.assert_array_equal(reference, run(model, {"image": frame})[0])


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    edges=st.lists(st.integers(0, 40), min_size=4, max_size=4, unique=True),
)
@settings(max_examples=25, deadline=None)
def test_no_patch_is_missing_from_the_frames_map_and_none_is_outside_the_region(
    shape: tuple[int, int], edges: list[int]
) -> None:
    (left, right), (top, bottom) = (sorted(edge / 40 for edge in pair) for pair in (edges[:2], edges[2:]))
    region: Region = (left, top, right, bottom)
    model = model_of([frame_map_part(shape, region, source="map", target="out")], {"map": 1}, [])
    scores = np.zeros((2, *shape), dtype=np.float32)
    scores[0], scores[1, shape[0] // 2, shape[1] // 2] = 0.5, 2.0
    (laid,) = run(model, {"map": scores})
    assert laid.shape[1:] == frame_map_shape(shape, region)
    assert max(laid.shape[1:]) <= MOST_CELLS
    rows, columns = ((np.arange(n) + 0.5) / n for n in laid.shape[1:])
    inside = ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))[None]
    # A cell of which only a corner is in the region may go either way.
    sure = ~((np.abs(rows - top) < 1 / len(rows)) | (np.abs(rows - bottom) < 1 / len(rows)))[:, None] & ~(
        (np.abs(columns - left) < 1 / len(columns)) | (np.abs(columns - right) < 1 / len(columns))
    )
    assert ((laid[0] > 0) == inside)[sure].all()
    assert laid[1].max() == 2.0
    at = np.argwhere(laid[1] == 2.0).mean(axis=0) + 0.5
    meant = (
        top + (shape[0] // 2 + 0.5) / shape[0] * (bottom - top),
        left + (shape[1] // 2 + 0.5) / shape[1] * (right - left),
    )
    for axis, (middle, truth) in enumerate(zip(at, meant, strict=True)):
        size = max(1 / laid.shape[axis + 1], (bottom - top, right - left)[axis] / shape[axis])
        assert abs(middle / laid.shape[axis + 1] - truth) <= size


@settings(max_examples=40, deadline=None)
@given(
    patches=st.integers(1, 300), edges=st.tuples(st.integers(0, 50), st.integers(0, 50)).filter(lambda e: e[0] != e[1])
)
def test_every_patch_is_shown_somewhere(patches: int, edges: tuple[int, int]) -> None:
    start, end = sorted(edge / 50 for edge in edges)
    places = shown(patches, start, end)
    assert len(places) == cells(patches, start, end)
    assert {patch for some in places for patch in some} == set(range(patches))


@pytest.mark.parametrize("module", [training.frame_map])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert (tried.attempted > 0, tried.failed) == (True, 0)
