from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data.drift.quality import GRID, MEASURES, measure, measure_file

BRIGHTNESS, CONTRAST, SHARPNESS, CLIPPED = range(len(MEASURES))


@pytest.fixture
def part() -> np.ndarray:
    """Texture on a gradient, as a metal plate has it."""
    rng = np.random.default_rng(6)
    return np.clip(np.linspace(90, 150, 192)[:, None] + rng.normal(0, 8, (192, 224)), 0, 255).astype(np.uint8)


def test_more_light_shows_as_the_logarithm_of_its_gain_and_in_nothing_else(part: np.ndarray) -> None:
    before = measure(part).values
    after = measure(np.round(part * 1.1).astype(np.uint8)).values
    assert after[BRIGHTNESS] - before[BRIGHTNESS] == pytest.approx(np.log(1.1), abs=0.005)
    assert after[CONTRAST] == pytest.approx(before[CONTRAST], abs=0.02)
    assert after[SHARPNESS] == pytest.approx(before[SHARPNESS], abs=0.02)


def test_blur_takes_fine_detail_and_leaves_the_light(part: np.ndarray) -> None:
    before = measure(part).values
    after = measure(np.asarray(Image.fromarray(part).filter(ImageFilter.GaussianBlur(1.5)))).values
    assert after[SHARPNESS] < before[SHARPNESS] - 0.5
    assert after[BRIGHTNESS] == pytest.approx(before[BRIGHTNESS], abs=0.05)


def test_clipped_is_the_share_of_pixels_at_the_ends() -> None:
    image = np.full((100, 100), 120, dtype=np.uint8)
    image[:10], image[10:15] = 255, 0
    assert measure(image).values[CLIPPED] == pytest.approx(0.15)


def test_a_speck_shows_in_its_cell_alone(part: np.ndarray) -> None:
    dirty = part.copy()
    dirty[60:66, 70:77] = dirty[60:66, 70:77] // 2  # the cell in row 10 and column 10
    difference = measure(dirty).spots - measure(part).spots
    assert int(np.argmin(difference)) == 10 * GRID + 10
    assert difference.min() < -0.5
    assert np.sort(difference)[1] > -0.1


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (40, 5)])
def test_small_images_have_measures(size: tuple[int, int]) -> None:
    found = measure(np.full(size, 7, dtype=np.uint8))
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.spots).all()


def test_colours_and_large_images_are_measured_from_their_file() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2100, 2000), (90, 90, 90)).save(buffer, "PNG")
    assert measure_file(buffer.getvalue()).values[BRIGHTNESS] == pytest.approx(np.log(91), abs=0.01)
    with pytest.raises(OSError, match="identify"):
        measure_file(b"no image")
