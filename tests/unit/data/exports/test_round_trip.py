"""Every form comes back as it went out, into the same catalog and into another one."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.catalog import Catalog
from data.catalog.models import SampleRow
from data.decode import ImageChecker
from data.exports import ExportError, Labelled, Taken, labelled_now, take_labels, write_export
from data.exports.formats import READABLE, read_labels
from data.exports.regions import png_of_mask
from data.imports import import_samples
from data.inspections import get_inspection
from data.labels import label_history, record_label
from data.lake import Lake
from data.sources import SourceSample
from edge_client.contract.bucket import DirectoryBucket
from tests.unit.data.captured_line import INSPECTION, sqlite_url

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
SIZE = (24, 16)  # width, height


@dataclass
class Plant:
    catalog: Catalog
    lake: Lake
    checker: ImageChecker

    def labelled(self) -> list[Labelled]:
        return labelled_now(self.catalog, INSPECTION)

    def export(self, to: Path, form: str, **more: object) -> Path:
        write_export(self.lake, get_inspection(self.catalog, INSPECTION), self.labelled(), to, form, **more)  # type: ignore[arg-type]
        return to

    def take(self, path: Path, form: str, **more: object) -> Taken:
        empty = str(more.pop("empty", ""))
        defects = get_inspection(self.catalog, INSPECTION).defect_names
        rows = read_labels(path, form, defects=defects, empty=empty)
        return take_labels(
            self.catalog, self.lake, INSPECTION, rows, who="bob", source="import:test", clock=lambda: NOW,
            checker=self.checker, **more  # type: ignore[arg-type]
        )  # fmt: skip

    def marks(self) -> set[str]:
        return self.lake.marked(INSPECTION)


@pytest.fixture(scope="module")
def checker() -> Iterator[ImageChecker]:
    with ImageChecker() as checker:
        yield checker


@pytest.fixture
def plants(tmp_path: Path, first_catalog: Path, checker: ImageChecker) -> Iterator[Callable[[str], Plant]]:
    made: list[Plant] = []

    def make(name: str) -> Plant:
        home = tmp_path / name
        home.mkdir()
        shutil.copy(first_catalog, home / "catalog.db")
        made.append(
            Plant(Catalog.open(sqlite_url(home)), Lake(DirectoryBucket(home / "bucket"), home / "cache"), checker)
        )
        return made[-1]

    yield make
    for plant in made:
        plant.catalog.close()


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((SIZE[1], SIZE[0], 3), number * 9 % 256, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def mark() -> bytes:
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    mask[2:5, 3:9] = True
    mask[3, 4] = False  # a hole
    mask[10:12, 20:24] = True
    return png_of_mask(mask)


@pytest.fixture
def plant(plants: Callable[[str], Plant]) -> Plant:
    plant = plants("first")
    samples = [
        SourceSample(path="0.png", image=picture(0), media_type="image/png", label="ok", part_id="=1+1", station="'s"),
        SourceSample(path="1.png", image=picture(1), media_type="image/png", label="crack", mark=mark(), side="golden"),
        SourceSample(
            path="2.png", image=picture(2), media_type="image/png", label="void", group="lot 7", side="golden"
        ),
        SourceSample(
            path="3.png", image=picture(3), media_type="image/png", side="train", time=NOW - timedelta(days=9)
        ),
        SourceSample(path="4.png", image=picture(4), media_type="image/png"),
    ]
    import_samples(
        plant.catalog, plant.lake, INSPECTION, samples, clock=lambda: NOW - timedelta(days=3), checker=plant.checker
    )
    two = next(row for row in rows_of(plant) if row.source_path == "3.png")
    said = {"sample_id": two.sample_id, "classes": ["crack", "void"], "at": NOW - timedelta(hours=1)}
    record_label(plant.catalog, who="Ann Ö", event_id="e1", **said)  # type: ignore[arg-type]
    return plant


def rows_of(plant: Plant) -> list[SampleRow]:
    with plant.catalog.reading() as session:
        return list(session.query(SampleRow))


def told(plant: Plant) -> list[tuple[object, ...]]:
    return sorted(
        (one.image_sha256, one.classes, one.by, one.at, one.side, one.group, one.part_id, one.station, one.captured_at)
        for one in plant.labelled()
    )


@pytest.mark.parametrize("form", READABLE)
def test_what_went_out_comes_back_into_another_catalog(
    plant: Plant, plants: Callable[[str], Plant], tmp_path: Path, form: str
) -> None:
    other = plants("other")
    taken = other.take(plant.export(tmp_path / "out", form), form)
    assert (taken.problems, taken.imported, taken.recorded) == ([], 4, 4)
    assert told(other) == told(plant)
    if form == "yolo":  # folders of images alone
        return
    assert other.marks() == plant.marks()
    if form != "yolo-boxes":  # boxes alone
        (digest,) = plant.marks()
        assert other.lake.mark(INSPECTION, digest) == plant.lake.mark(INSPECTION, digest)


@pytest.mark.parametrize("form", READABLE)
def test_taking_back_what_one_has_changes_nothing(plant: Plant, tmp_path: Path, form: str) -> None:
    before = told(plant), plant.marks()
    taken = plant.take(plant.export(tmp_path / "out", form), form)
    assert (taken.problems, taken.imported, taken.recorded, taken.unchanged, taken.marks) == ([], 0, 0, 4, 0)
    assert (told(plant), plant.marks()) == before


def test_a_file_moved_to_another_folder_is_labelled_anew_by_who_imports_it(plant: Plant, tmp_path: Path) -> None:
    root = plant.export(tmp_path / "out", "folders")
    (ok,) = root.glob("*/ok/*.png")
    (root / "train" / "crack").mkdir(parents=True, exist_ok=True)
    ok.rename(root / "train" / "crack" / ok.name)
    taken = plant.take(root, "folders")
    assert (taken.problems, taken.recorded, taken.unchanged) == ([], 1, 3)
    newest = label_history(plant.catalog, ok.stem)[-1]
    assert (newest.classes, newest.who, newest.at, newest.source) == (("crack",), "bob", NOW, "import:test")


def test_an_old_file_does_not_overrule_a_later_answer(plant: Plant, tmp_path: Path) -> None:
    (sample,) = (one.sample_id for one in plant.labelled() if one.by == "Ann Ö")
    root = plant.export(tmp_path / "out", "csv", images=False)
    later = {"sample_id": sample, "classes": ["ok"], "at": NOW}
    record_label(plant.catalog, who="Ann Ö", event_id="e2", **later)  # type: ignore[arg-type]
    file = root / "labels.csv"
    assert plant.take(file, "csv").recorded == 1  # these words, at that instant, were not said in a file yet
    record_label(plant.catalog, who="Ann Ö", event_id="e3", **later)  # type: ignore[arg-type]
    assert plant.take(file, "csv").recorded == 0


def test_bad_lines_are_named_and_the_rest_goes_in(plant: Plant, tmp_path: Path) -> None:
    good, other, third = (one.sample_id for one in plant.labelled()[:3])
    lines = [
        "sample_id,label,labelled_at,split",
        f"{good},void,,",
        f"{other},dent,,",
        f"{other},,,",
        f"{good},ok,,",
        "feedbeef,ok,,",
        f"{third},ok,yesterday,",
        f"{third},ok,2031-01-01T00:00:00,",
        f"{third},ok,,left",
    ]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(lines))
    taken = plant.take(file, "csv")
    assert (taken.rows, taken.recorded) == (8, 1)
    told_of = sorted((p.path, p.reason.split(";")[0]) for p in taken.problems)
    assert [where for where, _ in told_of] == [f"mine.csv, line {n}" for n in (3, 4, 5, 6, 7, 8, 9)]
    words = ("'dent' is unknown", "empty", "same sample as mine.csv, line 2", "unknown", "no", "yet to come", "'left'")
    for (_, reason), word in zip(told_of, words, strict=True):
        assert word in reason


def test_a_folder_that_is_there_is_left_alone_and_a_failed_export_leaves_none(plant: Plant, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="is there already"):
        plant.export(taken, "csv")
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    with pytest.raises(RuntimeError, match="stop"):
        plant.export(tmp_path / "half", "csv", progress=stop)
    assert not [path.name for path in tmp_path.iterdir() if "half" in path.name]


def stop(done: int) -> None:
    if done == 2:
        raise RuntimeError("stop")


def test_a_new_image_keeps_its_groups_side(plant: Plant, tmp_path: Path) -> None:
    for name, number in (("a.png", 11), ("b.png", 12)):
        (tmp_path / name).write_bytes(picture(number))
    file = tmp_path / "new.csv"
    file.write_text("path,label,split,group\na.png,ok,train,group:lot 7\nb.png,ok,val,group:lot 8\n")
    taken = plant.take(file, "csv")
    assert taken.imported == 2
    assert [p.path for p in taken.problems] == ["new.csv, line 2"]
    sides = {row.source_path: row.split for row in rows_of(plant)}
    assert (sides["new.csv, line 2"], sides["new.csv, line 3"]) == ("golden", "golden")
