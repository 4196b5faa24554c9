"""Schemathesis holds the server against the protocol's OpenAPI document: examples, every edge of the document's
schemas, and random requests, good and bad.

Longer, against a server of an inspection `solar-cells` whose engine is `e1`:

    schemathesis run tests/integration/serving/open_inference.yaml --url http://127.0.0.1:8080 -n 2000 \\
        --phases examples,coverage,fuzzing --exclude-checks positive_data_acceptance

One check is left out: the protocol's schema can't say that a tensor's data has as many elements as its shape, nor which
inputs a model has, so that requests by the schema alone are rightly refused. The document's example is answered, which
is checked here.
"""

import subprocess
import sys
from pathlib import Path

import yaml
from jsonschema import Draft4Validator

from benchmarks.served import Served
from tests.integration.serving.test_server_process import post

DOCUMENT = Path(__file__).with_name("open_inference.yaml")


def test_schemathesis_finds_no_violation(served: Served, tmp_path: Path):
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", str(DOCUMENT), "--url", served.url]
    command += [
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "5",
        "--seed",
        "5",
        "--exclude-checks",
        "positive_data_acceptance",
        "--no-color",
    ]
    ended = subprocess.run(
        [*command, "--continue-on-failure"], check=False, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr
    assert "No issues found" in ended.stdout, ended.stdout[-3000:]


def test_the_documents_example_is_answered_as_the_document_says(served: Served):
    document = yaml.safe_load(DOCUMENT.read_text())
    schemas = document["components"]["schemas"]
    status, answer = post(served, "/v2/models/solar-cells/infer", schemas["request"]["example"])
    assert status == 200
    Draft4Validator({**schemas["answer"], "components": document["components"]}).validate(answer)
    assert answer["id"] == "42"
    assert [o["name"] for o in answer["outputs"]] == ["verdict", "probabilities"]
