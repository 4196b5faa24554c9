from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from data.catalog import Catalog
from data.devices import (
    DeviceError,
    device_statuses,
    get_device,
    heartbeat_history,
    list_devices,
    record_heartbeat,
    register_device,
    revoke_device,
    set_channel,
)
from data.inspections import (
    InspectionError,
    add_class,
    change_settings,
    create_inspection,
    get_inspection,
    list_inspections,
)
from edge_client.contract.errors import InvalidName
from edge_client.contract.heartbeat import Heartbeat
from tests.unit.data.captured_line import INSPECTION, KEY, T0

OTHER_KEY = "cd" * 32


def test_an_inspection_keeps_its_classes_in_order(catalog: Catalog) -> None:
    inspection = get_inspection(catalog, INSPECTION)
    assert inspection.class_names == ("ok", "crack", "void")
    assert inspection.defect_names == {"crack", "void"}
    assert (inspection.is_defect(["ok"]), inspection.is_defect(["ok", "void"])) == (False, True)


def test_an_inspection_may_begin_with_ok_frames_alone(catalog: Catalog) -> None:
    assert create_inspection(catalog, "new-line", [("good", "ok")], {}).defect_names == frozenset()
    assert [item.name for item in list_inspections(catalog)] == ["new-line", INSPECTION]


def test_settings_are_changed_one_by_one(catalog: Catalog) -> None:
    create_inspection(catalog, "new-line", [("good", "ok")], {"auto_retrain": False, "gate": {"golden_margin": 0.02}})
    change_settings(catalog, "new-line", {"learning": {"escape_cost": 50}, "gate": None})
    assert get_inspection(catalog, "new-line").settings == {"auto_retrain": False, "learning": {"escape_cost": 50}}
    with pytest.raises(InspectionError, match="'old-line' is unknown"):
        change_settings(catalog, "old-line", {})


def test_creating_the_same_inspection_again_is_harmless_and_another_is_refused(catalog: Catalog) -> None:
    same = [("ok", "ok"), ("crack", "defect"), ("void", "defect")]
    assert create_inspection(catalog, INSPECTION, same, {}) == get_inspection(catalog, INSPECTION)
    with pytest.raises(InspectionError, match="exists already with the classes"):
        create_inspection(catalog, INSPECTION, same[:2], {})


@pytest.mark.parametrize(
    ("name", "classes", "error", "message"),
    [
        ("../up", [("ok", "ok")], InvalidName, "inspection name"),
        ("a", [("../ok", "ok")], InvalidName, "class name"),
        ("a", [("x", "defect")], InspectionError, "no class of kind 'ok'"),
        ("a", [], InspectionError, "no class of kind 'ok'"),
        ("a", [("x", "ok"), ("x", "defect")], InspectionError, "'x' is named twice"),
        ("a", [("x", "fine")], InspectionError, "kind 'fine' is unknown"),
    ],
)
def test_bad_inspections_are_refused(
    catalog: Catalog, name: str, classes: list[tuple[str, str]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_inspection(catalog, name, classes, {})


def test_a_class_is_added_at_the_end_once(catalog: Catalog) -> None:
    for _ in range(2):
        assert add_class(catalog, INSPECTION, "burn", "defect").class_names == ("ok", "crack", "void", "burn")
    with pytest.raises(InspectionError, match="'burn' is named twice"):
        add_class(catalog, INSPECTION, "burn", "ok")


def test_an_unknown_inspection_is_an_error_that_lists_the_known(catalog: Catalog) -> None:
    with pytest.raises(InspectionError, match=r"'nothing' is unknown; known are \['solder'\]"):
        get_inspection(catalog, "nothing")


def test_a_device_name_with_a_path_in_it_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidName, match=r"device name '\.\./line-9' is not allowed"):
        register_device(catalog, "../line-9", "plant", "oven", [INSPECTION], KEY, at=T0)


def test_enrolling_again_with_another_key_needs_a_revocation(catalog: Catalog) -> None:
    assert register_device(catalog, "line-1", "plant", "press", [INSPECTION], KEY, at=T0).station == "press"
    with pytest.raises(DeviceError, match="enrolled already, with another key"):
        register_device(catalog, "line-1", "plant", "oven", [INSPECTION], OTHER_KEY, at=T0)
    revoke_device(catalog, "line-1", at=T0, reason="stolen")
    with pytest.raises(DeviceError, match="this key was revoked"):
        register_device(catalog, "line-1", "plant", "oven", [INSPECTION], KEY, at=T0)
    assert not register_device(catalog, "line-1", "plant", "oven", [INSPECTION], OTHER_KEY, at=T0).revoked


def test_bad_enrolments_are_refused(catalog: Catalog) -> None:
    with pytest.raises(DeviceError, match="not 64 lower-case hex digits"):
        register_device(catalog, "d", "plant", "oven", [INSPECTION], "xyz", at=T0)
    with pytest.raises(DeviceError, match="no inspection is given"):
        register_device(catalog, "d", "plant", "oven", [], KEY, at=T0)
    with pytest.raises(InspectionError, match="'nothing' is unknown"):
        register_device(catalog, "d", "plant", "oven", ["nothing"], KEY, at=T0)
    with pytest.raises(DeviceError, match=r"'line-9' is unknown; known are \['line-1', 'line-2'\]"):
        revoke_device(catalog, "line-9", at=T0)
    assert [device.name for device in list_devices(catalog)] == ["line-1", "line-2"]


def test_a_revocation_keeps_its_first_time_and_reason(catalog: Catalog) -> None:
    revoke_device(catalog, "line-1", at=T0, reason="stolen")
    revoke_device(catalog, "line-1", at=T0 + timedelta(days=1), reason="again")
    device = get_device(catalog, "line-1")
    assert (device.revoked, device.revoked_at, device.revoked_reason) == (True, T0, "stolen")


def test_a_device_follows_a_channel_for_each_inspection(catalog: Catalog) -> None:
    set_channel(catalog, "line-1", INSPECTION, "canary")
    assert get_device(catalog, "line-1").inspections == ((INSPECTION, "canary"),)
    with pytest.raises(DeviceError, match="does not run inspection"):
        set_channel(catalog, "line-1", "nothing", "canary")


def heartbeat(sequence: int, **values: object) -> Heartbeat:
    first = Heartbeat(
        device="line-1", site="plant", station="oven", sequence=sequence, sent_at=T0 + timedelta(seconds=sequence),
        client_version="1", inspection=INSPECTION, channel="stable", engine_id="e1", engine_sha256="0" * 64,
        slot="a", health="ok", frames=sequence * 10,
    )  # fmt: skip
    return replace(first, **values)  # type: ignore[arg-type]


def test_a_heartbeat_moves_the_status_forward_only(catalog: Catalog) -> None:
    assert record_heartbeat(catalog, heartbeat(2), received_at=T0)
    assert not record_heartbeat(catalog, heartbeat(1, engine_id="replayed"), received_at=T0)
    assert not record_heartbeat(catalog, heartbeat(2), received_at=T0)
    assert device_statuses(catalog, INSPECTION)["line-1"].heartbeat == heartbeat(2)
    assert record_heartbeat(catalog, heartbeat(3, engine_id="e2"), received_at=T0)
    assert device_statuses(catalog)["line-1"].heartbeat.engine_id == "e2"


def test_the_history_of_heartbeats_is_bounded(catalog: Catalog) -> None:
    for sequence in range(1, 8):
        record_heartbeat(catalog, heartbeat(sequence), received_at=T0, keep=3)
    assert [item.sequence for item in heartbeat_history(catalog, "line-1")] == [5, 6, 7]


def test_a_revoked_or_unknown_device_has_no_heartbeat(catalog: Catalog) -> None:
    revoke_device(catalog, "line-1", at=T0)
    with pytest.raises(DeviceError, match="was revoked"):
        record_heartbeat(catalog, heartbeat(1), received_at=T0)
    with pytest.raises(DeviceError, match="is unknown"):
        record_heartbeat(catalog, heartbeat(1, device="line-9"), received_at=T0)


def test_a_device_enrolled_anew_may_count_from_the_beginning(catalog: Catalog) -> None:
    record_heartbeat(catalog, heartbeat(50), received_at=T0)
    revoke_device(catalog, "line-1", at=T0)
    register_device(catalog, "line-1", "plant", "oven", [INSPECTION], OTHER_KEY, at=T0)
    assert record_heartbeat(catalog, heartbeat(1), received_at=T0)
