"""Rollouts in the catalog (rules of data/rollouts/stored.py)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from data.catalog import Catalog
from data.catalog.models import RolloutDeviceRow, RolloutRow
from data.devices import record_heartbeat, register_device, revoke_device
from data.inspections import create_inspection
from data.policy import RolloutPolicy
from data.rollouts.fleet import followers, history
from data.rollouts.stored import (
    act,
    any_open,
    begin_rollout,
    list_rollouts,
    mark_signed,
    newest_rollout,
    records_of,
    save_rollout,
    unsigned,
)
from data.rollouts.told import told, told_devices
from data.rollouts.values import RolloutError, State
from edge_client.contract.heartbeat import Heartbeat
from flows.rollouts.look import look_at
from tests.unit.rollouts.made import AT, BASE, NEW, rollout, staged


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog.open(f"sqlite:///{tmp_path}/catalog.db")
    create_inspection(made, "cells", [("ok", "ok"), ("crack", "defect")])
    for name in ("d1", "d2", "d3"):
        register_device(made, name, "plant", "end", ["cells"], "ab" * 32, at=AT)
    return made


def beat(catalog: Catalog, device: str, sequence: int, *, engine: str = BASE, frames: int = 0, **more: object) -> None:
    fields: dict[str, object] = {
        "device": device,
        "site": "plant-b",
        "station": "end",
        "sequence": sequence,
        "sent_at": AT,
        "client_version": "1",
        "inspection": "cells",
        "channel": "stable",
        "engine_id": "e",
        "engine_sha256": engine,
        "slot": "a",
        "health": "ok",
        "frames": frames,
        "class_counts": {"ok": frames},
        "hardware": "arm",
    }
    heartbeat = Heartbeat(**{**fields, **more})  # type: ignore[arg-type]
    record_heartbeat(catalog, heartbeat, received_at=AT + timedelta(minutes=sequence))


def test_a_rollout_is_read_as_it_was_written(catalog: Catalog) -> None:
    begun = begin_rollout(catalog, rollout("2 devices site=a|b soak=1h, 40%, approve 100%", evidence={"staged": 1}))
    assert begun.id > 0
    assert newest_rollout(catalog, "cells", "stable") == begun
    assert list_rollouts(catalog, "cells") == [begun]
    assert any_open(catalog, "cells")
    assert "NaN" not in str(told(begun))


def test_a_newer_one_supersedes_the_open_one_and_forgets_its_devices(catalog: Catalog) -> None:
    first = begin_rollout(catalog, rollout())
    save_rollout(catalog, first, read=1, records={"d1": staged()})
    second = begin_rollout(catalog, rollout(version="3"))
    newest, before = list_rollouts(catalog, "cells")
    assert (newest, before.state, before.revision) == (second, State.SUPERSEDED, 2)
    with catalog.reading() as session:
        assert session.query(RolloutDeviceRow).count() == 0


def test_the_schema_allows_one_open_rollout_of_a_channel(catalog: Catalog) -> None:
    begun = begin_rollout(catalog, rollout())
    with catalog.reading() as session:
        row = session.get(RolloutRow, begun.id)
        assert row is not None
        values = {c.name: getattr(row, c.name) for c in RolloutRow.__table__.columns if c.name != "id"}

    def add_another() -> None:
        with catalog.session() as session:
            session.add(RolloutRow(**values))

    with pytest.raises(IntegrityError):
        add_another()


def test_what_was_read_before_a_persons_act_is_not_written_over_it(catalog: Catalog) -> None:
    read = begin_rollout(catalog, rollout())
    held = act(catalog, "cells", "stable", "hold", who="ann", why="lunch", at=AT)
    assert not save_rollout(catalog, replace(read, stage=1, revision=2), read=read.revision)
    assert newest_rollout(catalog, "cells", "stable") == held
    assert (held.state, held.reason, held.events[-1].who) == (State.HELD, "lunch", "ann")


def test_an_act_names_the_rollout_that_was_seen(catalog: Catalog) -> None:
    with pytest.raises(RolloutError, match="never had a rollout"):
        act(catalog, "cells", "stable", "hold", who="ann", why="", at=AT)
    first = begin_rollout(catalog, rollout())
    begin_rollout(catalog, rollout(version="3"))
    with pytest.raises(RolloutError, match="a newer rollout of version 3"):
        act(catalog, "cells", "stable", "revert", who="ann", why="", at=AT, rollout=first.id)
    with pytest.raises(RolloutError, match="is running, so it cannot resume: it can hold, advance, halt, revert"):
        act(catalog, "cells", "stable", "resume", who="ann", why="", at=AT)


def test_a_reverted_one_begins_anew_with_other_devices_first(catalog: Catalog) -> None:
    first = begin_rollout(catalog, rollout())
    act(catalog, "cells", "stable", "revert", who="ann", why="odd", at=AT)
    again = act(catalog, "cells", "stable", "resume", who="ann", why="", at=AT)
    assert (again.state, again.stage, again.signed_revision) == (State.RUNNING, 0, 0)
    assert again.id != first.id
    assert again.salt == "salt#2"


def test_what_is_not_signed_yet_is_known_until_it_is(catalog: Catalog) -> None:
    begun = begin_rollout(catalog, rollout())
    assert unsigned(catalog, "cells") == {"stable": f"rollout {begun.id} revision 1"}
    mark_signed(catalog, begun)
    assert unsigned(catalog, "cells") == {}
    act(catalog, "cells", "stable", "halt", who="ann", why="", at=AT)
    assert unsigned(catalog, "cells") == {"stable": f"rollout {begun.id} revision 2"}


def test_followers_are_known_by_what_they_say_and_by_the_register_before(catalog: Catalog) -> None:
    beat(catalog, "d1", 1)
    beat(catalog, "d2", 1, channel="canary")
    revoke_device(catalog, "d3", reason="stolen", at=AT)
    (found,) = followers(catalog, "cells", "stable")
    assert (found.name, found.facts.site, found.facts.hardware) == ("d1", "plant-b", "arm")
    assert [f.name for f in followers(catalog, "cells", "canary")] == ["d2"]
    assert found.answers_since(AT)
    assert not found.answers_since(AT + timedelta(hours=1))
    beat(catalog, "d1", 2, hardware="")  # a client that knows of no stages
    (found,) = followers(catalog, "cells", "stable")
    assert not found.answers_since(AT)


def test_a_look_folds_history_and_newest_heartbeat_and_is_stored_with_its_records(catalog: Catalog) -> None:
    for sequence in range(1, 5):
        beat(catalog, "d1", sequence, frames=100 * sequence)
        beat(catalog, "d2", sequence, frames=100 * sequence)
    assert [r.sequence for r in history(catalog, ["d1"], "cells", most=3)["d1"]] == [2, 3, 4]
    begun = begin_rollout(catalog, rollout("device=d1, 100%", started_at=AT + timedelta(minutes=4, seconds=1)))
    policy = RolloutPolicy(min_frames=1)
    now = AT + timedelta(minutes=6)
    look_at(catalog, begun, policy, now)
    beat(catalog, "d1", 5, engine=NEW, frames=500)
    beat(catalog, "d1", 6, engine=NEW, frames=700)
    looked = look_at(catalog, begun, policy, now)
    records = records_of(catalog, looked)
    assert (records["d1"].joined, records["d1"].outcome, records["d1"].earlier.frames) == (0, "confirmed", 300)
    assert (records["d2"].joined, records["d2"].later.frames) == (-1, 0)
    assert looked.ready_at == now
    assert look_at(catalog, looked, policy, now) == looked
    shown = told_devices(catalog, looked)
    assert (shown["staged"], shown["controls"]) == (1, 2)
    assert shown["devices"][0]["before"]["frames"] == 300
