"""A flow run that finds nothing must cost next to nothing: heavy packages stay out until they are needed."""

import json
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "mlflow", "sklearn", "onnx", "onnxruntime", "scipy", "pandas", "pytorch_lightning")
FLOWS = ("serving", "sentinel", "ingest", "release", "retrain", "watch")
ROOT = Path(__file__).parents[3]

IMPORT_AND_TELL = f"""
import importlib, json, sys
brought, seen = {{}}, set()
for flow in {FLOWS}:
    importlib.import_module("flows." + flow)
    heavy = {{name for name in {HEAVY} if name in sys.modules}}
    brought[flow] = sorted(heavy - seen)
    seen |= heavy
print(json.dumps(brought))
"""


def test_importing_a_flow_imports_nothing_heavy() -> None:
    found = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_TELL], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(found.stdout) == {flow: [] for flow in FLOWS}
