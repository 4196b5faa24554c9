"""Which engine a device should run: the channel document, and the rules of `staging.py` by their numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.contract.errors import BadRelease
from edge_client.contract.releases import Channel, Cohort, NamedEngine, Staged, engine_target, selftest_target
from edge_client.contract.staging import (
    DeviceFacts,
    as_channel,
    choice_for,
    first_usable,
    is_staged,
    stable_share,
    takes,
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)


def engine(engine_id: str, **changes: Any) -> NamedEngine:
    named = NamedEngine(
        engine_path=engine_target("solar-cells", engine_id),
        engine_sha256=engine_id[0] * 64,
        engine_bytes=100,
        engine_id=engine_id,
        selftest_path=selftest_target("solar-cells", engine_id),
    )
    return replace(named, **changes)


def channel(**changes: Any) -> Channel:
    base = engine("a1")
    plain = Channel(
        inspection="solar-cells",
        channel="stable",
        engine_path=base.engine_path,
        engine_sha256=base.engine_sha256,
        engine_bytes=base.engine_bytes,
        engine_id=base.engine_id,
        version="1",
        selftest_path=base.selftest_path,
        issued_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    return replace(plain, **changes)


def staged(*cohorts: Cohort, salt: str = "salt") -> Staged:
    return Staged(version="2", engines=(engine("b2", variant="int8"), engine("c2")), salt=salt, cohorts=cohorts)


def test_a_document_without_the_new_fields_reads_and_is_written_as_before() -> None:
    written = json.loads(channel().to_json())
    assert not {"variant", "provider", "variants", "staged"} & set(written)
    assert Channel.from_json(channel().to_json()) == channel()


def test_a_document_with_variants_and_a_rollout_survives_the_wire() -> None:
    full = channel(
        variant="int8",
        variants=(engine("d1", variant="fp32", provider="openvino"),),
        staged=staged(Cohort(percent=12.5), Cohort(sites=("plant-a",), hardware=("x86_64",), devices=("line-1",))),
    )
    assert Channel.from_json(full.to_json()) == full


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("percent", 101),
        ("percent", -1),
        ("sites", ["../x"]),
        ("hardware", "x86_64"),
        ("engines", []),
        ("engine_path", "engines/solar-cells/other.onnx"),
        ("selftest_path", "engines/other/b2.selftest"),
    ],
)
def test_a_staged_part_that_is_not_acceptable_is_refused_by_name(where: str, value: object) -> None:
    document = json.loads(channel(staged=staged(Cohort())).to_json())
    part = document["staged"]
    place = {"engines": part, "engine_path": part["engines"][0], "selftest_path": part["engines"][0]}
    place.get(where, part["cohorts"][0])[where] = value
    with pytest.raises(BadRelease, match=where):
        Channel.from_json(json.dumps(document).encode())


@given(salt=st.text(max_size=40), device=NAMES)
def test_a_share_is_stable_and_below_one(salt: str, device: str) -> None:
    share = stable_share(salt, device)
    assert 0.0 <= share < 1.0
    assert stable_share(salt, device) == share


def test_shares_are_uniform_and_differ_between_rollouts() -> None:
    names = [f"line-{i}" for i in range(4_000)]
    first, second = ([stable_share(salt, name) for name in names] for salt in ("one", "two"))
    below = sum(share < 0.1 for share in first)
    assert abs(below - 400) < 4 * (4_000 * 0.1 * 0.9) ** 0.5
    both = sum(a < 0.1 and b < 0.1 for a, b in zip(first, second, strict=True))
    assert abs(both - 40) < 4 * 40**0.5


@given(device=NAMES, site=NAMES, lower=st.floats(0, 100), more=st.floats(0, 100))
def test_who_is_staged_stays_staged_when_stages_are_added(device: str, site: str, lower: float, more: float) -> None:
    facts = DeviceFacts(device=device, site=site)
    before = (Cohort(percent=lower), Cohort(sites=("plant-a", site[:3])))
    after = (Cohort(percent=max(lower, more)), *before[1:], Cohort(percent=more))
    if is_staged(channel(staged=staged(*before)), facts):
        assert is_staged(channel(staged=staged(*after)), facts)


@pytest.mark.parametrize(
    ("cohort", "expected"),
    [
        (Cohort(), True),
        (Cohort(percent=0), False),
        (Cohort(sites=("plant-a",), stations=("aoi-3",), hardware=("x86_64",)), True),
        (Cohort(sites=("plant-a",), stations=("aoi-4",)), False),
        (Cohort(hardware=("aarch64",)), False),
        (Cohort(devices=("line-2", "line-1")), True),
        (Cohort(devices=("line-2",)), False),
    ],
)
def test_a_cohort_takes_who_is_in_all_of_its_lists(cohort: Cohort, expected: bool) -> None:
    facts = DeviceFacts(device="line-1", site="plant-a", station="aoi-3", hardware="x86_64")
    assert takes(cohort, "salt", facts) is expected


def test_a_staged_device_gets_the_next_version_and_another_one_the_base() -> None:
    document = channel(staged=staged(Cohort(devices=("line-1",))))
    chosen = choice_for(document, DeviceFacts(device="line-1"))
    assert (chosen.staged, chosen.version, [e.engine_id for e in chosen.engines]) == (True, "2", ["b2", "c2"])
    chosen = choice_for(document, DeviceFacts(device="line-2"))
    assert (chosen.staged, chosen.version, [e.engine_id for e in chosen.engines]) == (False, "1", ["a1"])
    read = as_channel(document, choice_for(document, DeviceFacts(device="line-1")), engine("c2"))
    assert (read.engine_id, read.version, read.staged, read.variants) == ("c2", "2", None, ())


def test_a_file_for_a_provider_is_offered_to_devices_with_that_provider_alone() -> None:
    document = channel(variants=(engine("d1", provider="openvino"), engine("e1")))
    assert [e.engine_id for e in choice_for(document, DeviceFacts(device="x")).engines] == ["a1", "e1"]
    facts = DeviceFacts(device="x", provider="openvino")
    assert [e.engine_id for e in choice_for(document, facts).engines] == ["a1", "d1", "e1"]


def test_the_first_usable_file_is_taken_and_the_last_one_when_none_is() -> None:
    files = (engine("a1"), engine("b2"))
    assert first_usable(files, lambda f: f.engine_sha256, ()) == files[0]
    assert first_usable(files, lambda f: f.engine_sha256, {"a" * 64}) == files[1]
    assert first_usable(files, lambda f: f.engine_sha256, {"a" * 64, "b" * 64}) == files[1]
