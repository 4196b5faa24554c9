from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from data.catalog.models import SampleRow
from data.imports import ImportReport, import_samples
from data.inspections import InspectionError
from data.labels import LabelError, current_labels
from data.sources import CsvSource, FolderSource, SourceProblem, SourceSample, Stage
from tests.unit.ingest.conftest import Cloud
from tests.unit.ingest.uploads import INSPECTION, NOW, png, png_header


def sample(number: int, label: str | None = "ok", **fields: object) -> SourceSample:
    image = fields.pop("image", png(number))
    return SourceSample(path=f"{number}.png", image=image, media_type="image/png", label=label, **fields)  # type: ignore[arg-type]


def run(cloud: Cloud, samples: object, **options: object) -> ImportReport:
    return import_samples(
        cloud.catalog, cloud.lake, INSPECTION, samples, clock=lambda: NOW, checker=cloud.checker, **options  # type: ignore[arg-type]
    )  # fmt: skip


def rows(cloud: Cloud) -> list[SampleRow]:
    with cloud.catalog.reading() as session:
        return list(session.scalars(select(SampleRow)))


def test_a_folder_becomes_labelled_factory_samples(cloud: Cloud, tmp_path: Path) -> None:
    for n in range(6):
        file = tmp_path / "parts" / ("ok" if n % 2 else "crack") / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(n))
    report = run(cloud, FolderSource.open(tmp_path / "parts"))
    assert (report.found, report.imported, report.problems) == (6, 6, [])
    assert report.classes == Counter(ok=3, crack=3)
    labels = current_labels(cloud.catalog, inspection=INSPECTION)
    for row in rows(cloud):
        image, media_type = cloud.lake.image(row.lake_path, row.lake_row)
        assert hashlib.sha256(image).hexdigest() == row.image_sha256
        assert media_type == "image/png"
        assert (row.origin, row.device, row.p1, row.counted) == ("factory", None, None, False)
        assert row.group == f"image:{row.image_sha256[:32]}"
        assert row.split in ("train", "golden")
        assert row.source_path is not None
        assert labels[row.sample_id].classes == (row.source_path.split("/")[0],)
        assert labels[row.sample_id].by == "archive"


def test_importing_again_adds_nothing(cloud: Cloud) -> None:
    samples = [sample(n) for n in range(5)]
    assert run(cloud, samples).imported == 5
    again = run(cloud, [*samples, sample(9)])
    assert (again.imported, again.already) == (1, 5)
    assert len(rows(cloud)) == 6


def test_bad_images_and_unknown_labels_are_reported_and_the_rest_goes_on(cloud: Cloud) -> None:
    samples = [
        sample(1),
        sample(2, image=png(2)[:-30]),
        sample(3, image=png_header(40_000, 40_000)),
        sample(4, label="scratch"),
        SourceProblem(path="5.png", reason="is empty (0 bytes)"),
        sample(6, station="s" * 64),
        sample(7, label=None),
    ]
    report = run(cloud, samples)
    assert (report.found, report.imported) == (7, 2)
    assert [problem.path for problem in report.problems] == ["2.png", "3.png", "4.png", "5.png", "6.png"]
    assert "truncated" in report.problems[0].reason
    assert "DecompressionBomb" in report.problems[1].reason
    assert "expected one of ['ok', 'crack']" in report.problems[2].reason


def test_the_same_image_under_two_labels_keeps_the_first_and_is_reported(cloud: Cloud) -> None:
    report = run(cloud, [sample(1, "ok"), sample(2, "crack", image=png(1)), sample(3, "ok", image=png(1))])
    assert (report.imported, report.already) == (1, 1)
    assert "came before as 'ok'" in report.problems[0].reason
    later = run(cloud, [sample(1, "crack")])
    assert later.imported == 0
    assert "here it is 'crack'" in later.problems[0].reason
    assert [label.classes for label in current_labels(cloud.catalog, inspection=INSPECTION).values()] == [("ok",)]


def test_a_source_with_a_class_that_the_inspection_lacks_is_refused_before_anything_is_written(
    cloud: Cloud, tmp_path: Path
) -> None:
    for name in ("ok/1.png", "ok/2.png", "dent/1.png", "dent/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(1))
    with pytest.raises(LabelError, match="'dent'"):
        run(cloud, FolderSource.open(tmp_path))
    assert rows(cloud) == []
    with pytest.raises(InspectionError, match="unknown"):
        import_samples(cloud.catalog, cloud.lake, "none", [])


def test_only_the_stage_that_was_asked_for_is_imported(cloud: Cloud, tmp_path: Path) -> None:
    lines = ["path,label,stage,group,part_id,time"]
    for n, stage in enumerate(["factory", "stream", "holdout", ""]):
        (tmp_path / f"{n}.png").write_bytes(png(n))
        lines.append(f"{n}.png,ok,{stage},lot-{n},P{n},2031-01-0{n + 1}")
    (tmp_path / "index.csv").write_text("\n".join(lines))
    report = run(cloud, CsvSource.open(tmp_path / "index.csv"))
    assert (report.imported, report.other_stage) == (2, 2)
    assert {(row.stage, row.group, row.part_id) for row in rows(cloud)} == {
        ("factory", "group:lot-0", "P0"), ("factory", "group:lot-3", "P3"),
    }  # fmt: skip
    assert run(cloud, CsvSource.open(tmp_path / "index.csv"), stage=None).imported == 2
    assert {row.stage for row in rows(cloud)} == {stage.value for stage in Stage}


def test_an_import_larger_than_a_batch_is_told_of_as_it_goes(cloud: Cloud) -> None:
    told: list[int] = []
    report = run(cloud, (sample(n) for n in range(300)), progress=told.append)
    assert report.imported == 300
    assert told == [257, 300]


def mark(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), 255).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_defects_mark_beside_its_image_goes_to_the_lake_with_it(cloud: Cloud, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    for name, number in (("ok/1", 1), ("ok/2", 2), ("crack/3", 3), ("crack/4", 4)):
        file = parts / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(number))
    size = Image.open(parts / "crack/3.png").size
    (parts / "crack/3.mask.png").write_bytes(mark(*size))
    assert run(cloud, FolderSource.open(parts)).marks == 1
    assert cloud.lake.marked(INSPECTION) == {hashlib.sha256(png(3)).hexdigest()}
    assert cloud.lake.mark(INSPECTION, hashlib.sha256(png(3)).hexdigest()) == mark(*size)

    (parts / "crack/4_mask.png").write_bytes(mark(*size))  # an archive that got its marks later
    again = run(cloud, FolderSource.open(parts))
    assert (again.imported, again.already, again.marks) == (0, 4, 2)
    assert len(cloud.lake.marked(INSPECTION)) == 2


def test_a_mark_of_another_size_or_format_is_reported_and_its_image_imported(cloud: Cloud) -> None:
    samples = [sample(1, "crack", mark=mark(3, 3)), sample(2, "crack", mark=b"no image"), sample(3, "crack", mark=b"")]
    report = run(cloud, samples)
    assert (report.imported, report.marks) == (3, 0)
    assert [problem.path for problem in report.problems] == ["1.png", "2.png", "3.png"]
    assert "its mark is 3 x 3, the image" in report.problems[0].reason
    assert "the image is imported without it" in report.problems[1].reason
    assert cloud.lake.marked(INSPECTION) == set()
