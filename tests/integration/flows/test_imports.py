"""A flow run that finds nothing must cost next to nothing: heavy packages stay out until they are needed."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "mlflow", "sklearn", "onnx", "onnxruntime", "scipy", "pandas", "pytorch_lightning")


@pytest.mark.parametrize("module", ["ingest", "watch", "release", "retrain", "serving", "sentinel"])
def test_importing_a_flow_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, flows.{module}; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert found.stdout.strip() == "[]"
