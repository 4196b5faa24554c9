"""Columns from buffers are what pyarrow itself would make, and pandas stays out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from data.arrow_columns import blobs, half_lists, texts, whole_numbers

Halves = NDArray[np.float16] | None


def _half(*values: float) -> NDArray[np.float16]:
    return np.array(values, dtype=np.float16)


@pytest.mark.parametrize(
    "values",
    [[], [None], [_half(1, -2.5), None, _half(), _half(65504)], [None] * 9 + [_half(3)], [_half(1)] * 17],
    ids=["none", "one null", "some", "nulls beyond a byte", "no null"],
)
def test_lists_are_pyarrows_own(values: list[Halves]) -> None:
    expected = pa.array(values, pa.list_(pa.float16()))
    found = half_lists(values)
    found.validate(full=True)
    assert found.equals(expected)


@pytest.mark.parametrize("values", [[], [None, 7, None], [1, 2, 3], [0, None] * 6])
def test_whole_numbers_are_pyarrows_own(values: list[int | None]) -> None:
    found = whole_numbers(values)
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.int32()))


def test_texts_and_blobs_are_pyarrows_own() -> None:
    for values in ([], ["", "é", "abc"]):
        assert texts(values).equals(pa.array(values, pa.string()))
    for pieces in ([], [b"", b"\0\xff", b"abc"]):
        assert blobs(pieces).equals(pa.array(pieces, pa.binary()))


def test_writing_a_lake_file_does_not_import_pandas(tmp_path: Path) -> None:
    code = (
        "import sys, datetime, pathlib, numpy as np\n"
        "from data.lake import Lake, LakeRow\n"
        "from edge_client.contract.bucket import DirectoryBucket\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "row = LakeRow(sample_id='a', image=b'1', media_type='image/png', embedding=np.ones(3, dtype=np.float16))\n"
        "Lake(DirectoryBucket(folder), folder).append('tiles', datetime.date(2026, 1, 1), [row])\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
