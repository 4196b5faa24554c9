"""The compose file and the Containerfile: what they promise of each part."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from data.services import parse_services
from infra.parts import PARTS

ROOT = Path(__file__).parents[4]
COMPOSE = ROOT / "infra" / "compose"
CONTAINERFILE = (ROOT / "infra" / "container" / "Containerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return found


def test_every_part_is_there_but_the_worker_of_a_cluster(compose: dict[str, Any]) -> None:
    parts = {s["command"][1] for s in compose["services"].values() if s.get("command", [""])[0] == "run"}
    assert parts == set(PARTS) - {"worker"}


def test_our_parts_are_read_only_and_nobody_special(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "postgres":
            continue
        assert (service["read_only"], service["user"], service["cap_drop"]) == (True, "10001:10001", ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_nothing_listens_to_other_machines(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert compose["networks"]["inner"] == {"internal": True}


def test_secrets_are_files_and_in_no_environment(compose: dict[str, Any]) -> None:
    assert {f"./secrets/{name}" for name in compose["secrets"]} == {s["file"] for s in compose["secrets"].values()}
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|KEY", name) or value.startswith("/run/secrets/"), name
        assert set(service.get("secrets", [])) <= set(compose["secrets"])


def test_who_waits_for_whom_exists_and_is_asked_whether_it_is_well(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for other, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                told = compose["services"][other]
                assert "healthcheck" in told or told["environment"]["ANDON_PART"] == other
            else:
                assert (other, condition["condition"]) == ("migrate", "service_completed_successfully")


def test_the_secrets_script_makes_what_services_toml_reads(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_text((COMPOSE / "secrets.sh").read_text())
    for _ in range(2):
        subprocess.run(["bash", str(script)], check=True, capture_output=True, timeout=30)
        made = {p.name: p.read_text() for p in (tmp_path / "secrets").iterdir()}
    assert made == {p.name: p.read_text() for p in (tmp_path / "secrets").iterdir()}  # a second time changes nothing
    text = (COMPOSE / "services.toml").read_text().replace("/run/secrets", str(tmp_path / "secrets"))
    found = parse_services(tomllib.loads(text), COMPOSE / "services.toml")
    assert found.all_elsewhere
    assert found.bucket is not None
    assert len(found.bucket.secret_access_key) >= 40


def test_the_image_runs_as_nobody_special_and_names_no_registry_and_no_processor() -> None:
    assert "\nUSER 10001:10001\n" in CONTAINERFILE
    assert re.search(r"^HEALTHCHECK ", CONTAINERFILE, re.MULTILINE)
    froms = re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)
    assert set(froms) == {"${BASE}"}
    default = re.search(r"^ARG BASE=(\S+)", CONTAINERFILE, re.MULTILINE)
    assert default is not None
    assert "/" not in default[1]
    assert not re.search(r"amd64|x86|arm64|aarch64|https?://", CONTAINERFILE)


def test_the_image_is_made_of_every_package_of_the_cloud_side() -> None:
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = set(re.findall(r"^COPY (\w+) ", CONTAINERFILE, re.MULTILINE))
    assert copied == {name.rstrip("*") for name in include}
    kept = set(re.findall(r"^!(\S+)", (ROOT / ".containerignore").read_text(), re.MULTILINE))
    assert copied | {"pyproject.toml", "constraints.txt", "README.md"} == kept
