"""What a mask names never leaves the device; the numbers are those of the rules in `edge_client.masking`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_client import Client
from edge_client.config import Config
from edge_client.contract.errors import BadRelease, ConfigError
from edge_client.contract.regions import Region
from edge_client.contract.sample import SampleBlob
from edge_client.contract.setting_keys import SETTING_KEYS
from edge_client.images import decode_image
from edge_client.masking import CONTEXT_KEY, Mask
from tests.unit.capture.device import Bundle, noise
from tests.unit.capture.test_followed_settings import follow


def mask_of(*texts: str) -> Mask:
    return Mask(regions=tuple(Region.read(text) for text in texts), texts=texts)


def with_mask(bundle: Bundle, text: str) -> Bundle:
    bundle.config.write_text(f"{bundle.config.read_text()}\n[mask]\n{text}\n")
    return bundle


def sent(bundle: Bundle) -> dict[str, SampleBlob]:
    found: dict[str, Any] = {}
    for record in bundle.records():
        found.update({i: b for i, b in bundle.blobs(record).items() if isinstance(b, SampleBlob)})
    return found


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("0,0 0.5,0.25", slice(0, 5), slice(0, 10)),
        ("0.5,0.25 0,0", slice(0, 5), slice(0, 10)),  # the other way round
        ("0.26,0.51 0.49,0.99", slice(10, 20), slice(5, 10)),  # every pixel that it touches
        ("0,0 1,1", slice(0, 20), slice(0, 20)),
    ],
)
def test_a_rectangle_covers_exactly_the_pixels_that_it_touches(text: str, rows: slice, columns: slice) -> None:
    expected = np.zeros((20, 20), bool)
    expected[rows, columns] = True
    np.testing.assert_array_equal(mask_of(text).covered(20, 20), expected)
    frame = noise(1, 20) + 1
    masked = mask_of(text).applied(frame)
    assert not masked[expected].any()
    np.testing.assert_array_equal(masked[~expected], frame[~expected])
    np.testing.assert_array_equal(mask_of(text).applied(frame[None])[0], masked)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), min_size=3, max_size=6, unique=True))
def test_a_polygon_covers_every_pixel_with_a_point_of_it_inside_and_little_more(points: list[tuple[int, int]]) -> None:
    if len({x for x, _ in points}) < 2 or len({y for _, y in points}) < 2:
        return
    side, fine = 24, 8
    covered = mask_of(" ".join(f"{x / side},{y / side}" for x, y in points)).covered(side, side)
    grid = (np.arange(side * fine) + 0.5) / fine
    x, y = np.meshgrid(grid, grid)
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    touched = inside.reshape(side, fine, side, fine).any(axis=(1, 3))
    assert not (touched & ~covered).any()
    near = np.pad(touched, 2)
    grown = np.any(
        [near[2 + i : 2 + i + side, 2 + j : 2 + j + side] for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)], axis=0
    )
    lines = np.zeros((side, side), bool)  # of a polygon without an inside its lines remain
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        for share in np.linspace(0, 1, 200):
            px, py = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            lines[max(0, int(py) - 2) : int(py) + 2, max(0, int(px) - 2) : int(px) + 2] = True
    assert not (covered & ~grown & ~lines).any()


@pytest.mark.parametrize("encoded", [False, True], ids=["array", "file"])
def test_what_is_masked_is_black_in_what_is_sent_and_the_engine_sees_the_whole_frame(
    tmp_path: Path, encoded: bool
) -> None:
    bundle = with_mask(Bundle(tmp_path), 'regions = ["0,0 0.5,1"]')
    frame = noise(3)
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    with Client.from_config(bundle.config) as client:
        prediction = client.predict(buffer.getvalue() if encoded else frame, context={"humidity": 0.4})
        client.flag(prediction, reason="look")
    with Client.from_config(Bundle(tmp_path / "plain").config) as client:
        whole = client.predict(frame)
    assert prediction.probabilities == whole.probabilities
    samples = sent(bundle)
    assert samples
    for blob in samples.values():
        pixels = decode_image(blob.image)
        assert not pixels[:, :16].any()
        np.testing.assert_array_equal(pixels[:, 16:], frame[:, 16:])
        assert blob.context == {"humidity": 0.4, CONTEXT_KEY: "0,0 0.5,1"}


def test_asked_for_it_the_engine_sees_the_masked_frame(tmp_path: Path) -> None:
    bundle = with_mask(Bundle(tmp_path), 'regions = ["0,0 1,1"]\nengine = true')
    with Client.from_config(bundle.config) as client:
        masked = client.predict(np.full((16, 16, 3), 250, np.uint8))
        black = client.predict(np.zeros((16, 16, 3), np.uint8))
    assert masked.probabilities == black.probabilities


def test_the_cloud_masks_more_and_never_less_and_what_waits_is_covered_too(tmp_path: Path) -> None:
    bundle = with_mask(Bundle(tmp_path), 'regions = ["0,0 0.5,0.5"]')
    config = Config.load(bundle.config)
    with Client.from_config(bundle.config) as client:
        follow(client, mask__regions=("0.5,0.5 1,1",))
        assert client._loop is not None
        assert client._loop.capture.intake.policy.mask.texts == ("0,0 0.5,0.5", "0.5,0.5 1,1")
        follow(client, mask__regions=())
        assert client._loop.capture.intake.policy.mask.texts == config.mask.regions
        client.predict(noise(4))  # weighed by the worker later
        follow(client, mask__regions=("0,0 1,1",))
    assert all(not decode_image(blob.image)[:16, :16].any() for blob in sent(bundle).values())


def test_settings_with_too_many_regions_are_refused_and_what_held_holds_on(tmp_path: Path) -> None:
    bundle = with_mask(Bundle(tmp_path), 'regions = ["0,0 0.5,0.5"]')
    with Client.from_config(bundle.config) as client:
        follow(client, mask__regions=tuple(f"0,0 0.5,0.{i:02d}" for i in range(10, 42)))
        assert client._control.mask.texts == ("0,0 0.5,0.5",)
        assert any("regions: at most" in problem for problem in client.status()["problems"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0,0", "has 1 points"),
        ("0,0 0,1", "covers nothing"),
        ("0,0 1,1.1", "outside of the frame"),
        ("0,0 nan,1", "outside of the frame"),
        ("a,b c,d", "is no point"),
    ],
)
def test_a_region_that_is_none_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"mask.regions.*{says}"):
        Config.load(with_mask(Bundle(tmp_path), f'regions = ["{text}"]').config)
    with pytest.raises(BadRelease, match=f"mask.regions.*{says}"):
        SETTING_KEYS["mask.regions"].read([text])
