"""Files that other tools wrote: polygons, compressed run lengths, boxes, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.exports import ExportError, FileLabel
from data.exports.formats import read_labels
from data.exports.regions import mask_of_boxes, mask_of_runs, mask_of_segmentation, patches_of, run_lengths
from data.sources.sample import SourceProblem

DEFECTS = frozenset({"crack"})


def compressed(counts: list[int]) -> str:
    """As COCO's own tools write run lengths."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
    return text


masks = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1)).map(
    lambda t: np.random.default_rng(t[2]).random((t[0], t[1])) < 0.4
)


@settings(deadline=None, max_examples=40)
@given(masks)
def test_every_mask_survives_run_lengths_compressed_or_not(mask: Any) -> None:
    height, width = mask.shape
    runs = run_lengths(mask)
    assert (mask_of_runs(runs, height, width) == mask).all()
    segmentation = {"size": [height, width], "counts": compressed(runs)}
    assert (mask_of_segmentation(segmentation, height, width) == mask).all()


@settings(deadline=None, max_examples=40)
@given(masks)
def test_patches_are_the_mask_each_in_its_box(mask: Any) -> None:
    patches = patches_of(mask)
    assert (sum((pixels for _, pixels in patches), np.zeros(mask.shape, int)) == mask).all()
    for box, pixels in patches:
        inside = mask_of_boxes([box], *mask.shape)
        assert inside is None or not (pixels & ~inside).any()


def coco(folder: Path, **changed: Any) -> Path:
    document: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 10, "height": 8} for n in (1, 2, 3)],
        "categories": [{"id": 7, "name": "crack"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]},
            {"id": 2, "image_id": 2, "category_id": 7, "bbox": [2, 2, 3, 4]},
        ],
        **changed,
    }
    for n in (1, 2, 3):
        Image.new("L", (10, 8), n).save(folder / f"{n}.png")
    (folder / "mine.json").write_text(json.dumps(document))
    return folder / "mine.json"


def read(path: Path, form: str = "coco", empty: str = "") -> list[FileLabel | SourceProblem]:
    return list(read_labels(path, form, defects=DEFECTS, empty=empty))


def test_polygons_and_boxes_become_labels_with_pixels(tmp_path: Path) -> None:
    first, second, third = read(coco(tmp_path), empty="ok")
    assert isinstance(first, FileLabel)
    assert isinstance(second, FileLabel)
    assert isinstance(third, FileLabel)
    assert (first.classes, second.classes, third.classes) == (("crack",), ("crack",), ("ok",))
    assert first.defect is not None
    assert second.defect is not None
    assert (first.defect[1:4, 1:5].all(), first.defect.sum(), second.defect.sum()) == (True, 12, 12)
    assert third.defect is None


def test_an_image_without_a_box_is_a_problem_unless_one_says_what_it_is(tmp_path: Path) -> None:
    *_, last = read(coco(tmp_path))
    assert isinstance(last, SourceProblem)
    assert "--empty" in last.reason


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"image_id": 9, "category_id": 7, "bbox": [0, 0, 1, 1]}, "not in the file"),
        ({"image_id": 3, "category_id": 8, "bbox": [0, 0, 1, 1]}, "category 8"),
        ({"image_id": 3, "category_id": 7, "bbox": [0, 0, 1]}, "bbox"),
        ({"image_id": 3, "category_id": 7, "segmentation": [[0, 0, 1, 1]]}, "three points"),
        ({"image_id": 3, "category_id": 7, "segmentation": {"size": [8, 10], "counts": [5]}}, "80 pixels"),
        ({"image_id": 3, "category_id": 7, "segmentation": {"size": [8, 10], "counts": "o"}}, "middle of a number"),
        ({"image_id": [], "category_id": 7}, "not in the file"),
        (5, "not in the file"),
    ],
)
def test_a_bad_annotation_is_named_and_the_others_are_read(tmp_path: Path, annotation: Any, words: str) -> None:
    good = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [2, 2, 3, 4]}
    found = read(coco(tmp_path, annotations=[good, annotation]), empty="ok")
    problems = [item for item in found if isinstance(item, SourceProblem)]
    assert len(problems) == 1
    assert words in problems[0].reason
    assert any(isinstance(item, FileLabel) and item.classes == ("crack",) for item in found)


def test_an_image_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    Image.new("L", (10, 8)).save(tmp_path / "secret.png")
    images = [{"id": 1, "file_name": "../secret.png", "width": 10, "height": 8}]
    (found, *_) = [item for item in read(coco(tmp_path / "set", images=images)) if isinstance(item, FileLabel)]
    assert found.image is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 1}'])
def test_what_is_no_coco_is_an_error_that_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ExportError, match=r"not (JSON|COCO)"):
        read(tmp_path / "x.json")


def test_a_bad_line_of_yolo_names_itself(tmp_path: Path) -> None:
    for name, lines in {"a": "0 0.5 0.5 0.2 0.25\n", "b": "4 0.5 0.5 0.2 0.2", "c": "0 0.5 1.5 0.2 0.2"}.items():
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.new("L", (10, 8)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text("names: [crack]\n")
    first, *bad = read(tmp_path, "yolo-boxes")
    assert isinstance(first, FileLabel)
    assert first.defect is not None
    assert first.defect[3:5, 4:6].all()
    assert first.defect.sum() == 4
    reasons = [item.reason for item in bad if isinstance(item, SourceProblem)]
    assert ["class of data.yaml" in reasons[0], "leaves the frame" in reasons[1]] == [True, True]
