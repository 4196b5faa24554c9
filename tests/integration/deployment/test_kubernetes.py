"""The manifests against the schemas of Kubernetes' own API, and against what Andon promises of every pod."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from data.services import parse_services
from infra.parts import MIGRATE, PARTS

FOLDER = Path(__file__).parents[3] / "infra" / "kubernetes"
BASE = FOLDER / "base"
VERSIONS = ("1.29", "1.37")  # the oldest and the newest that are promised
OF_KUSTOMIZE = {"kustomization.yaml"}


@lru_cache(maxsize=1)
def documents() -> list[tuple[str, dict[str, Any]]]:
    return list(_read())


def _read() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.name not in OF_KUSTOMIZE:
            for document in yaml.safe_load_all(path.read_text()):
                yield f"{path.relative_to(FOLDER)}: {document['kind']} {document['metadata']['name']}", document


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [document for _, document in documents() if document["kind"] in kinds]


def pods() -> list[tuple[str, dict[str, Any]]]:
    found = [(d["metadata"]["name"], d["spec"]["template"]) for d in of_kind("Deployment", "Job")]
    return [*found, ("a run", run_manifest()["spec"]["template"])]


def run_manifest() -> dict[str, Any]:
    """The job of a flow's run, as prefect-kubernetes makes it of the pool's template and its defaults."""
    template = json.loads((BASE / "work-pool.json").read_text())
    given = {name: value.get("default") for name, value in template["variables"]["properties"].items()}
    given |= {"name": "retrain", "command": ["prefect", "flow-run", "execute"], "image": "andon:0.1.0"}
    given |= {"labels": {"prefect.io/flow-name": "retrain"}, "annotations": {}, "env": [{"name": "A", "value": "b"}]}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        if isinstance(value, str) and (whole := re.fullmatch(r"{{ (\w+) }}", value)):
            return given[whole[1]]
        if isinstance(value, str):
            return re.sub(r"{{ (\w+) }}", lambda found: str(given[found[1]]), value)
        return value

    made: dict[str, Any] = filled(template["job_configuration"]["job_manifest"])
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(version: str) -> None:
    found = documents()
    assert len(found) > 20
    for what, document in [*found, ("a run", run_manifest())]:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise AssertionError(f"{what}: {error}") from error


def test_a_wrong_manifest_would_be_found() -> None:
    wrong = copy.deepcopy(of_kind("Deployment")[0])
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_kustomize_names_every_file() -> None:
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {p.name for p in BASE.glob("*.yaml")} - OF_KUSTOMIZE
    files = {file for made in kustomization["configMapGenerator"] for file in made["files"]}
    assert files == {"services.toml", "work-pool.json"}


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_pod_has_no_right_that_it_does_not_need(name: str, pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is (name == "worker")
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert writable == {"/tmp", "/var/lib/andon"}
    assert {m["name"] for c in spec["containers"] for m in c["volumeMounts"]} == {v["name"] for v in spec["volumes"]}


def test_every_part_runs_once_and_is_asked_whether_it_is_well() -> None:
    started = {}
    for document in of_kind("Deployment", "Job"):
        container = document["spec"]["template"]["spec"]["containers"][0]
        started[container["args"][1]] = container
    assert set(started) == set(PARTS)
    for part, container in started.items():
        assert container["args"][0] == "run"
        assert ("livenessProbe" in container) is (part != MIGRATE)


def test_a_disruption_leaves_what_can_be_left() -> None:
    budgets = {d["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]: d["spec"]
               for d in of_kind("PodDisruptionBudget")}  # fmt: skip
    deployments = {d["metadata"]["name"]: d["spec"]["replicas"] for d in of_kind("Deployment")}
    assert set(budgets) == set(deployments)
    for name, budget in budgets.items():  # one that allows no disruption at all would stop every drain of a node
        assert budget.get("minAvailable", 0) < deployments[name]


def test_all_that_listens_is_behind_a_policy_and_all_is_shut_first() -> None:
    policies = of_kind("NetworkPolicy")
    shut = next(p["spec"] for p in policies if p["metadata"]["name"] == "nothing-else")
    assert shut["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in shut
    opened = {
        (p["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], rule["ports"][0]["port"])
        for p in policies
        for rule in p["spec"].get("ingress", [])
    }
    assert opened == {(s["metadata"]["name"], s["spec"]["ports"][0]["port"]) for s in of_kind("Service")}
    for _, pod in pods():  # the policies find pods by this label
        assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "andon"


def test_services_and_secrets_fit_together(tmp_path: Path) -> None:
    for path in FOLDER.rglob("services.toml"):
        text = path.read_text()
        for name in ("database-password", "bucket-access-key", "bucket-secret-key"):
            assert f'"/run/secrets/{name}"' in text
            (tmp_path / name).write_text("x")
        found = parse_services(tomllib.loads(text.replace("/run/secrets", str(tmp_path))), path)
        assert found.all_elsewhere
        assert (found.mlflow_url, found.prefect_url) == ("http://mlflow:5000", "http://prefect:4200")
