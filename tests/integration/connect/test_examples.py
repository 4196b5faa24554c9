"""The examples run as they are, on an export as `andon labels export` writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.connect.exported import export_some

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_some(tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_runs(example: Path, exported: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ANDON_EXPORT": str(exported), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(example)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = {
        "labels_in_pandas": "accuracy on 4",
        "labels_in_duckdb": "west: 0.25 of 20",
        "labels_in_datasets": "'train': 16",
    }
    assert told[example.stem] in done.stdout
