"""Devices and stations at the gate; numbers refer to training/slice_checks.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.unit.gate.two_models import TWO, drawn, risk, seen
from training.decision import Finding, Role
from training.evidence import Evidence, PairedSet
from training.gate_policy import GatePolicy
from training.slice_checks import slice_checks, slices

POLICY = GatePolicy(resamples=300)


def checks_of(rows: PairedSet) -> list:  # type: ignore[type-arg]
    return slice_checks(Evidence(classes=TWO, field=rows), rows, POLICY, 0)


def with_device(rows: PairedSet, device: str, separation: float, offset: float = 0.0) -> PairedSet:
    """The challenger answers for one device with another separation."""
    mask = rows.device == device
    challenger = rows.challenger.copy()
    challenger[mask] = risk(seen(rows.labels[mask], separation, np.random.default_rng(1)) + offset)
    return replace(rows, challenger=challenger)


def test_a_gain_shared_by_all_devices_rests_on_none() -> None:
    checks = checks_of(drawn(np.random.default_rng(0), 400, 0.8, 2.0, devices=3))
    assert {c.role for c in checks} == {Role.GUARD}
    assert sum("without device" in c.where for c in checks) == 3


def test_a_gain_of_one_device_alone_is_noted_and_does_not_refuse() -> None:
    rows = drawn(np.random.default_rng(3), 600, 1.2, 1.2, devices=3)
    rows = replace(rows, challenger=np.where((rows.device == "line-0")[:, None], rows.challenger, rows.champion))
    checks = checks_of(with_device(rows, "line-0", 4.0))
    notes = [c for c in checks if c.role is Role.NOTE]
    assert [c.where for c in notes] == ["field samples without device line-0"]
    assert "rests on one device" in notes[0].sentence
    assert not any(c.finding is Finding.FAILS for c in checks)


def test_harm_to_all_other_devices_refuses_though_one_device_carries_the_average() -> None:
    rng = np.random.default_rng(4)
    rows = drawn(rng, 600, 1.5, 1.5, devices=6)
    hurt = rows.challenger.copy()
    others = rows.device != "line-0"
    hurt[others] = risk(seen(rows.labels[others], 0.2, rng))
    checks = checks_of(replace(rows, challenger=hurt, weight=np.where(others, 1.0, 30.0)))
    failed = [c.where for c in checks if c.finding is Finding.FAILS]
    assert "field samples without device line-0" in failed


def test_of_two_devices_none_is_asked_about_twice() -> None:
    rows = drawn(np.random.default_rng(0), 200, 1.0, 1.5, devices=2)
    assert len([c for c in checks_of(rows) if c.role is Role.GUARD]) == 2


def test_stations_that_are_the_devices_are_no_slices_of_their_own() -> None:
    rows = drawn(np.random.default_rng(0), 90, 1.0, 1.5, devices=3)
    assert [where for where, _ in slices(rows)] == ["device line-0", "device line-1", "device line-2"]
    two = replace(rows, station=np.where(rows.device == "line-2", "b", "a"))
    assert [where for where, _ in slices(two)][3:] == ["station a", "station b"]
