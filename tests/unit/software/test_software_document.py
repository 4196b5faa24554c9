"""The signed document of client software: who should run what, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_client.contract.errors import BadRelease
from edge_client.contract.releases import Cohort
from edge_client.contract.software import Software, SoftwareRelease, StagedSoftware, Wheel, version_key, wheel_target
from edge_client.contract.staging import DeviceFacts, stable_share

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def release(version: str) -> SoftwareRelease:
    own = Wheel(name=f"andon_edge-{version}-py3-none-any.whl", sha256=version.ljust(64, "0"), bytes=10)
    more = Wheel(name="zstd-1.5-cp311-cp311-manylinux_2_17_x86_64.whl", sha256="b" * 64, bytes=20)
    return SoftwareRelease(version=version, wheels=(more, own))


def facts(device: str = "line-1", **more: str) -> DeviceFacts:
    return DeviceFacts(device=device, **{"site": "plant-a", **more})


def test_a_document_is_read_as_it_was_written() -> None:
    staged = StagedSoftware(release=release("0.3.0"), salt="s", cohorts=(Cohort(percent=10.0, sites=("plant-b",)),))
    document = Software(issued_at=NOW, base=release("0.2.0"), staged=staged, needs={"engines/x/*": "0.2.0"})
    assert Software.from_json(document.to_json()) == document
    assert document.base is not None
    assert document.base.digest == "0.2.0".ljust(64, "0")


def test_fields_that_a_later_cloud_writes_are_passed_over() -> None:
    later = {**json.loads(Software(issued_at=NOW, base=release("0.2.0")).to_json()), "colour": "green"}
    found = Software.from_json(json.dumps(later).encode())
    assert found.base is not None
    assert found.base.version == "0.2.0"


def test_a_staged_version_goes_to_the_cohort_alone_and_a_share_only_grows() -> None:
    devices = [f"line-{i}" for i in range(400)]

    def taken(percent: float) -> set[str]:
        staged = StagedSoftware(release=release("0.3.0"), salt="client/0.3.0", cohorts=(Cohort(percent=percent),))
        document = Software(issued_at=NOW, base=release("0.2.0"), staged=staged)
        found = {d: document.release_for(facts(d)) for d in devices}
        return {d for d, r in found.items() if r is not None and r.version == "0.3.0"}

    tenth, half = taken(10), taken(50)
    assert tenth == {d for d in devices if stable_share("client/0.3.0", d) < 0.1}
    assert tenth < half
    assert 20 < len(tenth) < 65  # 40 of 400 expected; four standard errors are 24
    assert taken(0) == set()


def test_without_a_base_a_device_outside_the_cohort_keeps_what_it_has() -> None:
    staged = StagedSoftware(release=release("0.3.0"), salt="s", cohorts=(Cohort(sites=("plant-b",)),))
    document = Software(issued_at=NOW, staged=staged)
    assert document.release_for(facts()) is None
    assert document.release_for(facts(site="plant-b")) == release("0.3.0")


def test_the_greatest_of_the_needs_that_match_holds() -> None:
    needs = {"engines/*": "0.2.0", "engines/solder/*": "0.10.0", "settings/*": "0.9.0"}
    document = Software(issued_at=NOW, needs=needs)
    assert document.needed_by("engines/solder/e1.onnx") == "0.10.0"
    assert document.needed_by("engines/cells/e1.onnx") == "0.2.0"
    assert document.needed_by("settings/line-1.json") == "0.9.0"
    assert document.needed_by("channels/cells/stable.json") == ""


def test_versions_are_compared_as_numbers() -> None:
    ordered = ["0.9", "0.9.1", "0.10.0", "1.0.0rc1", "1.0", "1.0.post1", "1.0.1"]
    assert sorted(ordered, key=version_key) == ordered
    assert version_key("1.0") == version_key("1.0.0")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base": {"version": "0.2.0", "wheels": []}}, "expected one andon_edge-0.2.0"),
        ({"base": {"version": "new", "wheels": []}}, "is no version"),
        ({"needs": {"engines/*": 3}}, "patterns of target paths"),
        ({"base": {"version": "1", "wheels": [{"name": "../x.whl", "sha256": "", "bytes": 1}]}}, "is no wheel"),
        (
            {"base": {"version": "1", "wheels": [{"name": "a-1-py3-none-any.whl", "sha256": "", "bytes": 1 << 40}]}},
            "bytes",
        ),
    ],
)
def test_what_is_no_such_document_is_refused(change: dict[str, Any], says: str) -> None:
    value = {**json.loads(Software(issued_at=NOW).to_json()), **change}
    with pytest.raises(BadRelease, match=says):
        Software.from_json(json.dumps(value).encode())


@pytest.mark.parametrize("name", ["x.whl", "../a-1-py3-none-any.whl", "a-1-py3-none-any.zip", "a/b-1-py3-none-any.whl"])
def test_a_name_that_is_no_wheels_names_no_target(name: str) -> None:
    with pytest.raises(BadRelease, match="is no wheel"):
        wheel_target(name)
