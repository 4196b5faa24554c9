"""What is remembered of the software over a power cut, by launchers and clients of other versions too."""

from __future__ import annotations

import json
from pathlib import Path

from edge_client.software import rules
from edge_client.software.rules import Environment, Phase, Place, SoftwareState
from edge_client.software.store import SoftwareStore

RELEASE = Environment(version="0.2.0", digest="ab" * 32)


def probation() -> SoftwareState:
    state, place = rules.build_begins(SoftwareState())
    return rules.switched(rules.staged(state, place, RELEASE))


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = SoftwareStore(tmp_path / "software")
    assert store.load() == SoftwareState()
    state = rules.failed(probation(), "ended with code 3", certain=True)
    store.save(state)
    assert SoftwareStore(tmp_path / "software").load() == state


def test_what_another_version_wrote_beside_it_is_passed_over(tmp_path: Path) -> None:
    store = SoftwareStore(tmp_path)
    store.save(probation())
    value = json.loads(store.path.read_text())
    value["later"], value["a"] = {"x": 1}, {**(value["a"] or {}), "colour": "green"} if value["a"] else None
    del value["note"]
    store.path.write_text(json.dumps(value))
    assert (store.load().phase, store.load().at(store.load().active)) == (Phase.PROBATION, RELEASE)


def test_a_file_that_is_no_state_is_set_aside_and_the_base_runs(tmp_path: Path) -> None:
    store = SoftwareStore(tmp_path)
    for broken in ("{", "[]", '{"phase": "steady", "active": "a", "good": "a"}', '{"phase": "unheard of"}'):
        store.path.write_text(broken)
        assert store.load().active is Place.BASE
        assert store.path.with_name("software.json.damaged").read_text() == broken
        assert not store.path.exists()


def test_a_change_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    store = SoftwareStore(tmp_path)
    store.save(SoftwareState(starts=1))
    before = store.path.stat().st_mtime_ns
    assert store.change(lambda s: s).starts == 1
    assert store.path.stat().st_mtime_ns == before
