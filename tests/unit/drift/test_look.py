"""Looks at a real catalog and lake (rules of data/drift/look.py)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from data.drift.alarms import DriftAlarm, DriftError, list_alarms
from data.drift.look import look
from data.drift.look_at_pictures import thinned
from data.drift.watches import close_alarm, watched_devices
from data.policy import DriftPolicy
from tests.unit.drift.captured_days import INSPECTION, T0, Days

POLICY = DriftPolicy(reference_days=5)


def looked(days: Days) -> list[DriftAlarm]:
    return look(days.catalog, days.lake, INSPECTION, POLICY, at=T0 + timedelta(days=days.day))


def references(days: Days) -> dict[str, str]:
    return {device.kind: device.reference for device in watched_devices(days.catalog, INSPECTION)}


def test_a_device_is_compared_with_its_first_whole_days(days: Days) -> None:
    assert looked(days) == []
    assert references(days) == {}
    days.pass_by(5)
    assert looked(days) == []
    assert references(days) == {"pictures": "4 of 5 days", "rates": "4 of 5 days"}  # the fifth may go on
    days.pass_by(1)
    assert looked(days) == []
    assert references(days) == {
        "pictures": "5 days from 2030-01-01, 180 samples", "rates": "5 days of engine e1",
    }  # fmt: skip


def test_less_light_alarms_once_says_so_and_is_watched_again_when_it_was_mended(days: Days) -> None:
    days.pass_by(8)
    assert looked(days) == []  # learns
    assert looked(days) == []  # looks at the rest
    days.pass_by(3, gain=0.85)
    (alarm,) = looked(days)
    assert (alarm.kind, alarm.cause, alarm.device, alarm.station) == ("pictures", "light", "line-1", "oven")
    assert "darker by 1" in alarm.words
    assert alarm.began_at is not None
    assert abs(alarm.began_at - (T0 + timedelta(days=8))) <= timedelta(days=1)
    days.pass_by(2, gain=0.85)
    assert looked(days) == []  # it is open: known already
    closed = close_alarm(days.catalog, alarm.id, inspection=INSPECTION, who="ann", at=T0, new_normal=False)
    assert (closed.closed_by, closed.note) == ("ann", "mended")
    days.pass_by(3)
    assert looked(days) == []
    days.pass_by(3, gain=0.85)
    assert [again.cause for again in looked(days)] == ["light"]
    assert len(list_alarms(days.catalog, INSPECTION)) == 2
    assert len(list_alarms(days.catalog, INSPECTION, only_open=True)) == 1


def test_the_new_normal_begins_another_reference(days: Days) -> None:
    days.pass_by(8)
    looked(days)
    days.pass_by(3, gain=0.85)
    (alarm,) = [*looked(days), *looked(days)]
    close_alarm(days.catalog, alarm.id, inspection=INSPECTION, who="ann", at=T0, new_normal=True, note="dimmed lamp")
    assert references(days)["pictures"] == "nothing yet"
    days.pass_by(7, gain=0.85)
    assert looked(days) == []
    assert references(days)["pictures"].startswith("5 days from 2030-01-")
    days.pass_by(2, gain=0.85)
    assert looked(days) == []
    with pytest.raises(DriftError, match="closed already, by ann: dimmed lamp"):
        close_alarm(days.catalog, alarm.id, inspection=INSPECTION, who="bob", at=T0, new_normal=True)


def test_another_engine_under_an_open_alarm_answers_it(days: Days) -> None:
    days.pass_by(8)
    looked(days)
    days.pass_by(3, gain=0.85)
    assert [*looked(days), *looked(days)]
    days.pass_by(1, gain=0.85, engine="e2")
    assert looked(days) == []
    (alarm,) = list_alarms(days.catalog, INSPECTION)
    assert (alarm.closed_by, "e2 is in service" in alarm.note) == ("andon", True)
    assert references(days)["pictures"] == "nothing yet"


def test_rates_belong_to_an_engine_and_alarm_by_their_records_alone(days: Days) -> None:
    days.pass_by(8)
    looked(days)
    days.pass_by(2, cracks=0.15)
    (alarm,) = looked(days)
    assert (alarm.kind, alarm.cause) == ("rates", "rates")
    assert "usually" in alarm.words
    days.pass_by(1, cracks=0.15, engine="e2")
    looked(days)
    assert list_alarms(days.catalog, INSPECTION)[0].closed_by == "andon"
    days.pass_by(6, cracks=0.15, engine="e2")
    looked(days)
    looked(days)
    assert references(days)["rates"] == "5 days of engine e2"
    days.pass_by(2, cracks=0.15, engine="e2")
    assert looked(days) == []


def test_an_image_that_cannot_be_decoded_is_left_out(days: Days) -> None:
    days.pass_by(7, broken=True)
    looked(days)
    assert references(days)["pictures"] == "5 days from 2030-01-01, 165 samples"


def test_a_look_that_overtook_a_person_writes_nothing(days: Days) -> None:
    from dataclasses import replace

    from data.drift.watches import PICTURES, Device, Watched, load, save

    device = Device(inspection=INSPECTION, name="line-1", allowed=0.5, reference_days=5)
    with days.catalog.session() as session:
        assert save(session, device, PICTURES, Watched(), Watched(reference="4 of 5 days"))
    with days.catalog.session() as session:
        assert not save(session, device, PICTURES, Watched(), Watched(reference="0 of 5 days"))
        before = load(session, device, PICTURES)
        assert save(session, device, PICTURES, before, replace(before, engine_id="e9"))


def test_a_reference_of_too_many_samples_is_thinned_evenly() -> None:
    rows = {(1, w): list(range(10 * w, 10 * w + 10)) for w in range(5)}
    kept = thinned(rows, 20)  # type: ignore[arg-type]
    assert [row for part in kept.values() for row in part] == list(range(0, 50, 3))
    assert thinned(rows, 50) == rows  # type: ignore[arg-type]


def test_an_alarm_of_another_inspection_is_not_closed_by_mistake(days: Days) -> None:
    with pytest.raises(DriftError, match="'solder' has no drift alarm 7"):
        close_alarm(days.catalog, 7, inspection=INSPECTION, who="ann", at=T0, new_normal=False)


def test_an_engine_of_another_embedding_space_is_no_drift_and_begins_the_reference_anew(days: Days) -> None:
    for engine, space in (("e1", "first"), ("e2", "first"), ("e3", "tuned")):
        days.lake.note_space(INSPECTION, engine, space)
    days.pass_by(6)
    assert looked(days) == []  # learns
    days.pass_by(1, engine="e2")
    assert looked(days) == []
    assert references(days)["pictures"] == "5 days from 2030-01-01, 180 samples"  # the trunk is the same
    days.pass_by(7, engine="e3")
    for _ in range(3):
        assert looked(days) == []
    assert references(days)["pictures"].startswith("5 days from 2030-01-08")


def test_a_reference_is_never_learnt_of_two_spaces(days: Days) -> None:
    for engine, space in (("e1", "first"), ("e3", "tuned")):
        days.lake.note_space(INSPECTION, engine, space)
    days.pass_by(3)
    days.pass_by(3, engine="e3")
    assert looked(days) == []
    assert "another embedding space" in references(days)["pictures"]
    days.pass_by(3, engine="e3")
    assert looked(days) == []
    assert references(days)["pictures"].startswith("5 days from 2030-01-04")
