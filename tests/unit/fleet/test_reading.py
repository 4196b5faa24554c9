"""The rules of data/heartbeats.py and data/fleet/, on a real catalog; the numbers are theirs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.devices import heartbeat_history, register_device, revoke_device
from data.fleet import FleetFilter, fleet_page, fleet_summary, list_silences
from data.policy import RetentionPolicy
from edge_client.contract.errors import Unavailable
from edge_client.contract.heartbeat import Rollout
from edge_client.contract.names import status_key
from tests.unit.fleet.plant import INSPECTION, START, Plant, cells, counted


def test_only_what_changed_is_fetched(plant: Plant) -> None:
    names = [f"line-{i}" for i in range(20)]
    plant.enrol(*names)
    for name in names:
        plant.beat(name)
    assert len(plant.read().new) == 20
    plant.later(10)
    plant.beat("line-7")
    before = plant.meter.copy()
    report = plant.read()
    assert (report.new, report.unchanged) == (["line-7"], 19)
    assert dict(plant.meter.since(before).requests) == {"list": 1, "get": 1}


def test_a_listing_of_several_pages_is_cut_into_shards_that_read_each_object_once(plant: Plant) -> None:
    """Rules 1 and 2 of data/fleet/shards.py; a name whose key sorts otherwise than the name itself is among them."""
    names = [f"line-{i}" for i in range(11)] + ["line", "line-1-b", "line-1.c"]
    plant.enrol(*names)
    for name in names:
        plant.beat(name)
    first = plant.read(page=4)
    assert sorted(first.new) == sorted(names)
    again = plant.read(page=4)
    assert (again.new, again.unchanged, again.shards) == ([], len(names), first.shards)
    plant.enrol("line-00", "line-01", "line-02", "line-03", "line-04")  # one shard grows over a page
    for name in ("line-00", "line-01", "line-02", "line-03", "line-04"):
        plant.beat(name)
    assert len(plant.read(page=4).new) == 5
    assert plant.read(page=4).unchanged == len(names) + 5


def test_a_run_that_is_out_of_time_leaves_the_rest_for_the_next(plant: Plant) -> None:
    names = [f"line-{i}" for i in range(8)]
    plant.enrol(*names)
    for name in names:
        plant.beat(name)
    plant.read(page=2)
    for name in names:
        plant.later(1)
        plant.beat(name)
    read = [plant.read(page=2, most_seconds=-1.0).new for _ in range(4)]
    assert all(len(some) <= 3 for some in read)  # one shard each
    assert sorted(name for some in read for name in some) == names  # rule 4 of shards.py: nobody twice, nobody never


def test_a_heartbeat_that_was_refused_is_read_again_when_its_device_is_enrolled(plant: Plant) -> None:
    plant.beat("line-1")
    assert "not registered" in plant.read().rejected[0][1]
    assert plant.read().unchanged == 1
    plant.enrol("line-1")
    assert plant.read().new == ["line-1"]
    revoke_device(plant.catalog, "line-1", at=plant.clock.now())
    assert "revoked" in plant.read().rejected[0][1]
    assert plant.states() == {"line-1": "revoked"}


def test_a_device_that_is_enrolled_anew_begins_unheard(plant: Plant) -> None:
    plant.enrol("line-1")
    plant.beat("line-1")
    plant.read()
    key = Ed25519PrivateKey.generate()
    plant.enrol("line-1", key=key)
    plant.read()
    assert plant.states() == {"line-1": "unheard"}
    plant.later(1)
    plant.beat("line-1", key=key)
    assert plant.read().new == ["line-1"]
    assert cells(plant.catalog) == counted(plant.catalog)


def test_a_silence_is_an_alarm_once_and_ends_when_the_device_is_heard(plant: Plant) -> None:
    plant.enrol("line-1", "line-2")
    plant.beat("line-1")
    plant.beat("line-2", interval_seconds=3600.0)  # it said that it would be quiet for long
    plant.read()
    plant.later(3 * 300 + 50)
    assert plant.read().silent == []
    plant.later(20)
    assert plant.read().silent == ["line-1"]
    assert plant.read().silent == []
    (alarm,) = list_silences(plant.catalog, open_only=True)
    assert (alarm.device, alarm.heard_at) == ("line-1", START)
    assert fleet_summary(plant.catalog).wrong == {"silent": 1}
    plant.beat("line-1")
    assert plant.read().heard_again == ["line-1"]
    (alarm,) = list_silences(plant.catalog)
    assert alarm.cleared_at == plant.clock.now()
    assert plant.states() == {"line-1": "ok", "line-2": "ok"}


def test_an_interval_without_end_does_not_escape_the_alarm_and_no_word_at_all_is_one_too(plant: Plant) -> None:
    plant.enrol("line-1", "line-2")
    plant.beat("line-1", interval_seconds=1e12)
    plant.read()
    plant.later(24 * 3600 + 1)
    assert plant.read().silent == ["line-1", "line-2"]


def test_nobody_is_silent_while_the_cloud_does_not_look(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.enrol("line-1")
    plant.beat("line-1")
    plant.read()
    plant.later(7200)
    plant.beat("line-1")  # it is well; the bucket will not say so just now
    plant.later(10)

    class Away:
        """The bucket's listing works, its objects do not come."""

        page = staticmethod(plant.bucket.page)

        def get(self, key: str, *, max_bytes: int) -> bytes:
            raise Unavailable(f"{key} does not come")

    there, plant.bucket = plant.bucket, Away()  # type: ignore[assignment]
    report = plant.read()
    assert (report.silent, len(report.deferred)) == ([], 1)
    plant.bucket = there
    assert plant.read().new == ["line-1"]
    assert list_silences(plant.catalog) == []


def test_the_cells_are_what_the_rows_add_up_to_whatever_happens(plant: Plant) -> None:
    draw = random.Random(5)
    names = [f"line-{i}" for i in range(12)]
    plant.enrol(*names[:6], site="north")
    plant.enrol(*names[6:], site="south")
    gone: set[str] = set()
    for _ in range(8):
        plant.later(draw.choice([30.0, 400.0, 1500.0]))
        for name in draw.sample(names, 5):
            rollout = Rollout(engine_id="e2", engine_sha256="b" * 64, outcome=draw.choice(["confirmed", "trial"]))
            plant.beat(name, health=draw.choice(["ok", "degraded"]), engine_id=draw.choice("xyz"), rollout=rollout)
        if draw.random() < 0.15:
            gone.add(draw.choice(names))
            revoke_device(plant.catalog, next(iter(gone)), at=plant.clock.now())
        if draw.random() < 0.2:
            moved = draw.choice([name for name in names if name not in gone])
            plant.enrol(moved, site=draw.choice(["north", "south", "east"]))
        plant.read(page=5)
        assert cells(plant.catalog) == counted(plant.catalog)
    summary = fleet_summary(plant.catalog)
    assert summary.devices == 12
    assert sum(sum(states.values()) for states in summary.sites.values()) == 12


def test_the_history_keeps_news_and_one_in_a_while(plant: Plant) -> None:
    plant.enrol("line-1")
    retention = RetentionPolicy(heartbeat_minutes=60.0, heartbeats_per_device=4)
    for minute in range(60, 140, 5):
        plant.beat("line-1", frames=minute, health="degraded" if minute == 65 else "ok")
        plant.read(retention=retention)
        plant.later(300)
    kept = [beat.frames for beat in heartbeat_history(plant.catalog, "line-1")]
    assert kept == [60, 65, 70, 130]  # on the hour, what was news, back again, and an hour after that


def test_rows_are_filtered_sorted_and_paged_by_the_database(plant: Plant) -> None:
    plant.enrol("line-1", "line-2", site="north", station="oven")
    plant.enrol("cell-1", site="south", station="press")
    plant.beat("line-1", spool_bytes=90, spool_limit=100)
    plant.beat("cell-1", health="degraded", problems=("the disk is full",))
    plant.read()

    def names(wanted: FleetFilter | None = None, **more: object) -> list[str]:
        return [row.device for row in fleet_page(plant.catalog, wanted, **more).rows]  # type: ignore[arg-type]

    assert names() == ["cell-1", "line-2", "line-1"]  # degraded, unheard, ok
    assert names(sort="spool", descending=True)[0] == "line-1"
    assert names(sort="heard") == ["line-2", "cell-1", "line-1"]
    assert names(FleetFilter(search="OVEN")) == ["line-2", "line-1"]
    assert names(FleetFilter(search="%")) == []
    assert names(FleetFilter(site="south", state="degraded")) == ["cell-1"]
    page = fleet_page(plant.catalog, sort="device", offset=1, limit=1)
    assert (page.total, [row.device for row in page.rows]) == (3, ["line-1"])
    assert fleet_page(plant.catalog, FleetFilter(state="degraded")).rows[0].problem == "the disk is full"


def test_a_forged_heartbeat_for_another_device_changes_nothing(plant: Plant) -> None:
    plant.enrol("line-1", "line-2")
    plant.beat("line-1")
    plant.read()
    thief = Ed25519PrivateKey.generate()
    register_device(
        plant.catalog, "line-3", "north", "x", [INSPECTION], thief.public_key().public_bytes_raw().hex(), at=START
    )
    plant.beat("line-1", key=thief, health="degraded")
    report = plant.read()
    assert "not signed by the key" in dict(report.rejected)[status_key("line-1")]
    assert plant.states()["line-1"] == "ok"


def test_a_fleet_of_one_kind_is_one_cell_whatever_its_size(plant: Plant) -> None:
    names = [f"line-{i:03d}" for i in range(30)]
    plant.enrol(*names)
    for name in names:
        plant.beat(name)
    plant.read()
    assert list(cells(plant.catalog).values()) == [30]
    assert fleet_summary(plant.catalog).to_dict()["engines"] == {"e1": 30}
    assert replace(fleet_summary(plant.catalog, site="elsewhere")).devices == 0


def test_nobody_waits_for_a_device_that_was_ended_in_order(plant: Plant) -> None:
    plant.enrol("line-1")
    plant.beat("line-1", ended=True)
    plant.read()
    plant.later(3 * 86_400)
    assert plant.read().silent == []
    assert plant.states() == {"line-1": "off"}
    plant.beat("line-1")
    plant.read()
    assert plant.states() == {"line-1": "ok"}
    plant.later(3600)
    assert plant.read().silent == ["line-1"]


def test_a_shard_that_was_not_looked_at_yet_holds_back_judgement(plant: Plant) -> None:
    names = [f"line-{i}" for i in range(4)]
    plant.enrol(*names)
    for name in names:
        plant.beat(name)
    plant.read(page=2)
    plant.later(2000)
    for name in names:
        plant.beat(name)  # all are well; half of them were not read yet
    assert plant.read(page=2, most_seconds=-1.0).silent == []
    assert plant.read(page=2).silent == []
