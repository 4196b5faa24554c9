"""Settings and campaigns reach a device through its real updater: believed by themselves, kept, told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge_client.contract.campaigns import TARGET, Campaign, Campaigns, OfClass
from edge_client.contract.help import HelpRequest, HelpRequests, help_target
from edge_client.contract.matching import Match, Place
from edge_client.contract.setting_layers import DEFAULT, Layer, LayeredSettings, layers_target
from edge_client.contract.settings import DeviceSettings
from edge_client.settings_in_force import EffectiveSettings, SettingsInForce, SignedDocuments
from edge_client.updates.updater import Updater
from tests.unit.updates.release_world import World

AT = datetime(2026, 6, 3, 12, tzinfo=UTC)


def layers(version: int, *values: dict[str, Any], **conditions: Any) -> bytes:
    made = tuple(Layer(name=f"l{i}", values=each, **conditions) for i, each in enumerate(values))
    return LayeredSettings(version=version, issued_at=AT, layers=made).to_json()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def device(world: World) -> Updater:
    return world.device()


def publish(world: World, **documents: bytes) -> None:
    paths = {
        "default": layers_target(),
        "own": layers_target("line-1"),
        "campaigns": TARGET,
        "help": help_target("line-1"),
    }
    world.repository.publish_documents({paths[name]: data for name, data in documents.items()})


def test_documents_are_taken_over_told_and_kept_without_a_network(world: World, device: Updater) -> None:
    taken: list[EffectiveSettings] = []
    device.signed.listen(taken.append)
    campaign = Campaign(id="c", share=0.2, until=AT + timedelta(days=900), query=OfClass(name="defect"))
    publish(
        world,
        default=layers(4, {"capture.byte_budget": 1, "capture.audit_share": 0.4}),
        own=layers(2, {"capture.byte_budget": 2}),
        campaigns=Campaigns(version=7, issued_at=AT, campaigns=(campaign,)).to_json(),
    )
    device.check_once()
    device.check_once()
    assert len(taken) == 1  # nothing changed at the second look
    expected = {"capture.byte_budget": 2, "capture.audit_share": 0.4}
    assert dict(taken[0].values) == expected
    assert taken[0].versions == {"default": 4, "line-1": 2, "campaigns": 7}
    device.stop()
    again = world.device(bucket=None).settings()
    assert (dict(again.values), again.versions, [c.id for c in again.campaigns]) == (expected, taken[0].versions, ["c"])


def test_a_document_that_is_refused_leaves_the_one_before_it_and_the_others(world: World, device: Updater) -> None:
    publish(world, default=layers(1, {"capture.byte_budget": 1}), own=layers(1, {"capture.audit_share": 0.4}))
    device.check_once()
    bad = json.loads(layers(2, {"capture.byte_budget": 9}))
    bad["layers"][0]["values"]["capture.window_seconds"] = 0
    publish(world, default=json.dumps(bad).encode(), own=layers(2, {"capture.audit_share": 0.5}))
    device.check_once()
    assert device.settings().values == {"capture.byte_budget": 1, "capture.audit_share": 0.5}
    assert device.settings().versions == {"default": 1, "line-1": 2}
    assert any("capture.window_seconds" in problem for problem in device.status().problems)
    publish(world, default=layers(3, {"capture.byte_budget": 3}))
    device.check_once()
    assert device.settings().of("capture.byte_budget", None) == 3
    assert device.status().problems == ()


def test_flat_settings_of_an_older_cloud_count_as_a_layer_until_layers_are_signed(
    world: World, device: Updater
) -> None:
    world.repository.set_settings("default", DeviceSettings(byte_budget=5, recipient=None))
    device.check_once()
    assert device.settings().of("capture.byte_budget", None) == 5
    publish(world, default=layers(1, {"capture.byte_budget": 6}))
    device.check_once()
    assert device.settings().of("capture.byte_budget", None) == 6


def test_what_is_stored_by_a_client_before_layers_holds_until_the_first_look(world: World) -> None:
    device = world.device()
    device._store.save_settings(DeviceSettings(byte_budget=7))
    device.stop()
    assert world.device(bucket=None).settings().of("capture.byte_budget", None) == 7


def test_unknown_keys_are_told_and_all_else_holds(world: World, device: Updater) -> None:
    plain = json.loads(layers(1, {"capture.byte_budget": 1}))
    plain["layers"][0]["values"]["camera.exposure"] = 3
    publish(world, default=json.dumps(plain).encode())
    device.check_once()
    assert device.settings().values == {"capture.byte_budget": 1}
    assert any("camera.exposure" in problem for problem in device.status().problems)


def test_a_document_is_fetched_once_however_often_the_device_looks(world: World, device: Updater) -> None:
    publish(world, default=layers(1, {"capture.byte_budget": 1}))
    device.check_once()
    fetched: list[str] = []
    get = world.bucket.get
    world.bucket.get = lambda key, *, max_bytes: (fetched.append(key), get(key, max_bytes=max_bytes))[1]  # type: ignore[method-assign]
    device.check_once()
    assert not [key for key in fetched if "/targets/settings/" in key]


def test_requests_for_help_are_handed_on(world: World, device: Updater) -> None:
    heard: list[str] = []
    device.on_help = lambda requests: heard.extend(request.id for request in requests)
    request = HelpRequest(id="ab", verb="logs", issued_at=AT, expires_at=AT + timedelta(minutes=5))
    publish(world, help=HelpRequests(requests=(request,)).to_json())
    device.check_once()
    assert heard == ["ab"]


class Wall:
    """Settings of a device whose time a test moves."""

    def __init__(self, *layers: Layer, pinned: tuple[str, ...] = ()) -> None:
        self.at = AT
        self.told: list[dict[str, Any]] = []
        document = LayeredSettings(version=1, issued_at=AT, layers=layers)
        self.settings = SettingsInForce(
            SignedDocuments(default=document),
            place=Place(device="line-1", site="plant-a"),
            now=lambda: self.at,
            pinned=pinned,
            zone=ZoneInfo("Europe/Berlin"),
        )
        self.settings.listen(lambda settings: self.told.append(dict(settings.values)))

    def look(self, at: datetime) -> dict[str, Any]:
        self.at = at
        self.settings.refresh()
        return dict(self.settings.now.values)


def test_a_shift_begins_and_ends_by_itself_on_the_devices_wall() -> None:
    wall = Wall(
        Layer(name="all", values={"capture.byte_budget": 1}),
        Layer(
            name="late", values={"mode.advisory": True}, hours=("mon-fri 14:00-22:00",), match=Match(site=("plant-a",))
        ),
    )
    assert not wall.settings.now.advisory or wall.look(AT)
    assert wall.look(datetime(2026, 6, 3, 11, 59, tzinfo=UTC)) == {"capture.byte_budget": 1}  # 13:59 in Berlin
    assert wall.look(datetime(2026, 6, 3, 12, 0, tzinfo=UTC))["mode.advisory"]
    assert wall.look(datetime(2026, 6, 3, 20, 0, tzinfo=UTC)) == {"capture.byte_budget": 1}
    assert len(wall.told) == 3


def test_a_listener_that_fails_is_told_and_the_others_hear_all_the_same() -> None:
    wall = Wall(Layer(name="soon", values={"mode.advisory": True}, since=AT + timedelta(hours=1)))
    heard: list[bool] = []

    def fails(_: EffectiveSettings) -> None:
        raise ValueError("no")

    wall.settings.listen(fails)
    wall.settings.listen(lambda settings: heard.append(settings.advisory))
    wall.look(AT + timedelta(hours=1))
    assert heard == [True]
    assert "no" in wall.settings.problem


def test_versions_name_what_they_are_of() -> None:
    documents = SignedDocuments(own=LayeredSettings(version=3, issued_at=AT))
    assert documents.versions("line-1") == {"line-1": 3}
    assert DEFAULT not in documents.versions("line-1")
