"""Wheels are inspected before they are signed; the document names only approved ones, and a device checks again."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.client_wheels import packed, wheel_name
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.errors import BadRelease
from edge_client.contract.releases import Cohort
from edge_client.contract.software import SOFTWARE_TARGET
from edge_client.updates.outcome import Check
from edge_client.updates.signed import SoftwareOffer
from edge_client.updates.updater import Updater
from edge_client.version import VERSION
from flows import software
from tests.unit.updates.release_world import World, passing, serve

NOW = datetime(2026, 6, 2, tzinfo=UTC)


def wheel(version: str = "0.2.0", *, name: str = "andon-edge", **files: str) -> bytes:
    """A wheel with next to nothing in it."""
    info = f"andon_edge-{version}.dist-info"
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: numpy\n"
    return packed(
        {
            "edge_client/__init__.py": b"",
            f"{info}/METADATA": told.encode(),
            **{k: v.encode() for k, v in files.items()},
        },
        info,
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def offers_to(world: World, **changes: object) -> list[SoftwareOffer | None]:
    """What a device is offered at a look for releases."""
    found: list[SoftwareOffer | None] = []
    device = Updater.open(
        world.config(**changes),
        world.bucket,
        clock=world.clock,
        tries=passing,
        on_software=lambda o, _: found.append(o),
    )
    device.check_once()
    device.stop()
    return found


def test_a_device_is_offered_what_was_approved_and_named(world: World) -> None:
    data = wheel()
    (facts,) = software.approve(world.repository, {wheel_name("0.2.0"): data})
    assert (facts.version, facts.bytes, facts.needs) == ("0.2.0", len(data), ("numpy",))
    assert offers_to(world) == [None]  # approving names nobody
    software.choose(world.repository, "0.2.0", NOW)
    (offer,) = offers_to(world)
    assert offer is not None
    assert (offer.release.version, [f.path for f in offer.files]) == ("0.2.0", [f"client/{wheel_name('0.2.0')}"])


def test_a_version_that_was_not_approved_cannot_be_named(world: World) -> None:
    with pytest.raises(BadRelease, match="not approved; approved are: none"):
        software.choose(world.repository, "0.2.0", NOW)


def test_a_stolen_rollouts_key_cannot_name_software_that_no_person_approved(world: World) -> None:
    software.approve(world.repository, {wheel_name("0.2.0"): wheel()})
    document = software.choose(world.repository, "0.2.0", NOW)
    for forged in (
        document.to_json().replace(b'"bytes":', b'"bytes":1'),
        document.to_json().replace(b"0.2.0", b"0.6.6"),
    ):
        world.repository.put_document(SOFTWARE_TARGET, forged)
        device = world.device()
        device.check_once()
        (problem,) = device.status().problems
        device.stop()
        assert "client software is not taken over" in problem
        assert offers_to(world) == [None]


def test_wheels_lie_under_the_engines_key_and_not_under_rollouts(world: World) -> None:
    software.approve(world.repository, {wheel_name("0.2.0"): wheel()})
    metadata = DirectoryBucket(world.bucket.path)
    newest = world.repository.versions()
    engines = json.loads(metadata.get(f"releases/metadata/{newest['engines']}.engines.json", max_bytes=1 << 20))
    rollouts = json.loads(metadata.get(f"releases/metadata/{newest['rollouts']}.rollouts.json", max_bytes=1 << 20))
    assert f"client/{wheel_name('0.2.0')}" in engines["signed"]["targets"]
    assert rollouts["signed"]["targets"] == {}


def test_a_name_is_one_file_for_ever(world: World) -> None:
    software.approve(world.repository, {wheel_name("0.2.0"): wheel()})
    with pytest.raises(BadRelease, match="one file for ever"):
        software.approve(world.repository, {wheel_name("0.2.0"): wheel(extra="x")})


def rezipped(data: bytes, name: str, content: bytes) -> bytes:
    """The wheel with another member, that its RECORD does not know."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (wheel_name("0.2.0"), b"no zip", "cannot be read"),
        (wheel_name("0.2.0"), rezipped(wheel(), "edge_client/more.py", b"evil"), "not what its RECORD says"),
        (wheel_name("0.2.0"), rezipped(wheel(), "../../etc/cron.d/x", b"evil"), "leaves its folder"),
        (wheel_name("0.3.0"), wheel("0.2.0"), "cannot be read"),
        (wheel_name("0.2.0"), wheel(name="other"), "says inside that it is other"),
        ("numpy-2.0-py3-none-any.whl", b"", "has 0 bytes"),
    ],
)
def test_what_is_not_what_it_says_is_not_signed(world: World, name: str, data: bytes, says: str) -> None:
    with pytest.raises(BadRelease, match=says):
        software.approve(world.repository, {name: data})
    assert world.repository.wheels() == {}


def test_stages_only_add_devices_and_halt_takes_them_back(world: World) -> None:
    for version in ("0.2.0", "0.3.0", "0.4.0"):
        software.approve(world.repository, {wheel_name(version): wheel(version)})
    software.choose(world.repository, "0.2.0", NOW)
    software.stage(world.repository, "0.3.0", Cohort(sites=("plant-b",)), NOW)
    document = software.stage(world.repository, "0.3.0", Cohort(percent=10.0), NOW)
    assert document.staged is not None
    assert document.staged.cohorts == (Cohort(sites=("plant-b",)), Cohort(percent=10.0))
    with pytest.raises(BadRelease, match=r"0\.3\.0 is staged"):
        software.stage(world.repository, "0.4.0", Cohort(), NOW)
    (offer,) = offers_to(world, site="plant-b")
    assert offer is not None
    assert offer.release.version == "0.3.0"
    software.halt(world.repository, NOW)
    (offer,) = offers_to(world, site="plant-b")
    assert offer is not None
    assert offer.release.version == "0.2.0"


def test_a_device_below_the_least_version_keeps_what_it_has_and_says_so(world: World) -> None:
    world.release("e1")
    device = world.device()
    assert device.check_once().check is Check.SWAPPED
    assert serve(device, 3) == 0
    software.need(world.repository, "engines/solar-cells/*", "99.0", NOW)
    world.release("e2")
    outcome = device.check_once()
    assert outcome.check is Check.REFUSED
    assert f"needs client 99.0, this device runs {VERSION}: it keeps what it has" in outcome.reason
    assert device.status().engine_id == "e1"
    software.need(world.repository, "engines/solar-cells/*", VERSION, NOW)
    assert device.check_once().check is Check.SWAPPED
    device.stop()


def test_settings_that_need_a_newer_client_are_not_taken_over(world: World) -> None:
    from edge_client.contract.settings import DeviceSettings

    world.repository.set_settings("default", DeviceSettings(byte_budget=1))
    software.need(world.repository, "settings/*", "99.0", NOW)
    device = world.device()
    before = device.settings()
    device.check_once()
    assert device.settings() == before
    assert any("needs client 99.0" in problem for problem in device.status().problems)
    software.need(world.repository, "settings/*", "", NOW)
    device.check_once()
    settings = device.settings()
    assert settings is not None
    assert settings.values["capture.byte_budget"] == 1
    device.stop()
