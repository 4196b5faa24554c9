from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from data.sources import CsvSource, ElpvSource, FolderSource, SourceError, SourceProblem, SourceSample, Stage
from tests.unit.ingest.uploads import png


def write(root: Path, *paths: str) -> Path:
    for seed, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(seed))
    return root


def index(root: Path, header: str, *lines: str) -> Path:
    path = root / "index.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def good(source: FolderSource | CsvSource | ElpvSource) -> list[SourceSample]:
    items = list(source)
    assert len(items) == len(source)
    assert all(isinstance(item, SourceSample) for item in items)
    return [item for item in items if isinstance(item, SourceSample)]


def test_a_folder_yields_its_images_by_class_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path, "ok/b.png", "ok/deep/a.JPG", "crack/1.webp", "crack/2.png", ".hidden/x.png", "ok/.thumb.png")
    source = FolderSource.open(tmp_path, station="s1")
    assert source.classes == ("crack", "ok")
    assert source.ignored == ()
    assert [(item.path, item.label, item.media_type) for item in good(source)] == [
        ("crack/1.webp", "crack", "image/webp"),
        ("crack/2.png", "crack", "image/png"),
        ("ok/b.png", "ok", "image/png"),
        ("ok/deep/a.JPG", "ok", "image/jpeg"),
    ]


def test_masks_and_other_files_beside_the_images_are_left_out_and_reported(tmp_path: Path) -> None:
    write(tmp_path, "crack/1.jpg", "crack/1.mask.png", "crack/2.jpg", "crack/2_mask.png", "crack/gas_mask.png")
    (tmp_path / "crack/notes.txt").write_text("hello")
    source = FolderSource.open(tmp_path)
    assert [item.path for item in good(source)] == ["crack/1.jpg", "crack/2.jpg", "crack/gas_mask.png"]
    assert [(p.path, "mask" in p.reason) for p in source.ignored] == [
        ("crack/1.mask.png", True), ("crack/2_mask.png", True), ("crack/notes.txt", False),
    ]  # fmt: skip


def test_a_group_can_be_read_from_the_path(tmp_path: Path) -> None:
    write(tmp_path, "ok/exp1_num_7.png", "ok/exp2_num_7.png", "ok/x.png")
    source = FolderSource.open(tmp_path, group_pattern="num_([0-9]+)")
    assert [item.group for item in good(source)] == ["7", "7", None]
    with pytest.raises(SourceError, match="not a regular expression"):
        FolderSource.open(tmp_path, group_pattern="(")


FOLDERS = {
    "no such folder": ([], "none", "no such folder"),
    "an empty folder": ([], "", "the folder is empty"),
    "images without a subfolder": (["a.png", "b.png"], "", "2 images lie in the folder itself"),
    "a class with one image": (["ok/a.png", "ok/b.png", "crack/1.png"], "", "class 'crack' has one image"),
    "a class with no file": (["ok/a.png", "ok/b.png", "crack/.x"], "", "class 'crack' has no file"),
    "a class of another format": (["ok/a.png", "ok/b.png", "crack/1.bmp"], "", "other formats only \\(.bmp\\)"),
    "a bad class name": (["_ok/a.png", "_ok/b.png"], "", "cannot be a class name"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path, name: str) -> None:
    paths, below, words = FOLDERS[name]
    with pytest.raises(SourceError, match=words):
        FolderSource.open(write(tmp_path, *paths) / below)


def test_files_that_cannot_be_read_are_reported_and_skipped(tmp_path: Path) -> None:
    write(tmp_path, "ok/a.png", "ok/b.png", "ok/c.png")
    (tmp_path / "ok/b.png").write_bytes(b"")
    source = FolderSource.open(tmp_path)
    (tmp_path / "ok/c.png").unlink()
    problems = [item for item in source if isinstance(item, SourceProblem)]
    assert [(p.path, p.reason) for p in problems] == [
        ("ok/b.png", "is empty (0 bytes)"), ("ok/c.png", "cannot be read: No such file or directory"),
    ]  # fmt: skip


def test_an_index_yields_every_column_in_the_order_of_time(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "c.jpg")
    path = index(
        tmp_path,
        "path,label,group,station,time,stage,part_id,colour",
        "a.png,ok,,,2031-01-02T00:00:00,,,red",
        "b.png,crack,lot-1,s1,2031-01-01T08:00:00+02:00,stream,P1,blue",
        "c.jpg,,,,,holdout,,",
    )
    first, second, third = good(CsvSource.open(path))
    assert (first.path, first.label, first.group, first.station) == ("b.png", "crack", "lot-1", "s1")
    assert (first.part_id, first.stage) == ("P1", Stage.STREAM)
    assert first.time == datetime(2031, 1, 1, 8, tzinfo=timezone(timedelta(hours=2)))
    assert (second.path, second.time, second.stage) == ("a.png", datetime(2031, 1, 2, tzinfo=UTC), Stage.FACTORY)
    assert (third.label, third.stage, third.media_type) == (None, Stage.HOLDOUT, "image/jpeg")


def test_a_column_can_have_another_name(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    path = index(tmp_path, "path,label,exposure", "a.png,ok,exp1")
    (item,) = good(CsvSource.open(path, columns={"station": "exposure"}, group_pattern="^[a-z]"))
    assert (item.station, item.group) == ("exp1", "a")
    with pytest.raises(SourceError, match="no such column to map: colour"):
        CsvSource.open(path, columns={"colour": "x"})


INDEXES = {
    "no label column": (("path,class", "a.png,ok"), "column label is missing; the header has path, class"),
    "an empty file": (("",), "column path, label is missing"),
    "a mapped column that is not there": (("path,label", "a.png,ok"), "column exposure is missing"),
    "no line": (("path,label",), "no line after the header"),
    "a missing file": (("path,label", "a.png,ok", "none.png,ok"), r"1 of 2 images are not there \(line 3: none.png"),
    "a path twice": (("path,label", "a.png,ok", "a.png,crack"), "line 3: a.png comes a second time"),
    "an unknown stage": (("path,label,stage", "a.png,ok,test"), "unknown stage 'test', expected one of factory"),
    "a bad time": (("path,label,time", "a.png,ok,yesterday"), "'yesterday' is not a time"),
    "a bad label": (("path,label", "a.png,../x"), "cannot be a label"),
    "an empty path": (("path,label", ",ok"), "line 2: the path is empty"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_that_cannot_be_used_says_why_and_where(tmp_path: Path, name: str) -> None:
    lines, words = INDEXES[name]
    columns = {"station": "exposure"} if "mapped" in name else {}
    with pytest.raises(SourceError, match=words):
        CsvSource.open(index(write(tmp_path, "a.png"), *lines), columns=columns)


def test_an_index_that_is_no_text_or_not_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00path")
    with pytest.raises(SourceError, match="not a CSV file in UTF-8"):
        CsvSource.open(tmp_path / "x.csv")
    with pytest.raises(SourceError, match="cannot be read"):
        CsvSource.open(tmp_path / "none.csv")


def test_an_index_by_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    write(tmp_path, "a b.png")
    path = tmp_path / "index.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["path", "label"], ["a b.png", "ok"], [], ["", ""]])
    assert [item.path for item in good(CsvSource.open(path))] == ["a b.png"]


def test_elpv_yields_every_cell_with_the_papers_label() -> None:
    mono, poly = ElpvSource.open("mono"), ElpvSource.open("poly")
    assert (len(mono), len(poly), len(ElpvSource.open())) == (1_074, 1_550, 2_624)
    assert sum(cell.label == "defective" for cell in mono.cells) == 369
    assert sum(cell.label == "defective" for cell in poly.cells) == 452
    first = next(iter(ElpvSource.open("poly", stage_of=lambda _: Stage.STREAM)))
    assert isinstance(first, SourceSample)
    assert first.image.startswith(b"\x89PNG")
    assert (first.media_type, first.station, first.stage) == ("image/png", "poly", Stage.STREAM)
