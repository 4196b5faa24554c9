"""What follows an alarm, by policy (rules of flows/drift.py), on a real catalog."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import DriftAlarmRow
from data.drift.alarms import list_alarms
from data.policy import Policy
from data.queue import queue_size
from edge_client.contract.errors import ConfigError
from flows.drift import action_of, answer, labels_that_start_a_retrain
from tests.unit.data.captured_line import INSPECTION, T0, Line, new_catalog, sqlite_url


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = new_catalog(sqlite_url(tmp_path))
    Line(opened, np.random.default_rng(1)).stream(["ok"] * 80, np.ones(80), keep=30)
    yield opened
    opened.close()


def alarm(catalog: Catalog) -> None:
    with catalog.session() as session:
        session.add(
            DriftAlarmRow(
                inspection=INSPECTION, device="line-1", station="oven", kind="pictures", cause="light",
                words="light: images are darker by 12%", figures={}, at=T0, window_at=T0, action="", asked=0, note="",
            )
        )  # fmt: skip


def answered(catalog: Catalog, action: str, **drift: int) -> list[tuple[str, int]]:
    policy = Policy.from_mapping({"drift": {"on_alarm": action, **drift}})
    answer(catalog, INSPECTION, policy, uniform=random.Random(2), at=T0 + timedelta(days=1))
    return [(each.action, each.asked) for each in list_alarms(catalog, INSPECTION)]


def test_labels_are_asked_for_once_with_probabilities_first_and_extras_after(catalog: Catalog) -> None:
    alarm(catalog)
    assert answered(catalog, "labels", labels=8) == [("labels", 8)]
    assert queue_size(catalog, INSPECTION).waiting == 8
    assert answered(catalog, "labels", labels=8) == [("labels", 8)]  # answered already
    alarm(catalog)
    assert answered(catalog, "labels", labels=5) == [("labels", 5), ("labels", 8)]  # leftovers of the first draw
    assert queue_size(catalog, INSPECTION).waiting == 13


def test_nothing_is_asked_for_when_policy_says_nothing_or_the_budget_is_spent(catalog: Catalog) -> None:
    alarm(catalog)
    assert answered(catalog, "nothing") == [("nothing", 0)]
    alarm(catalog)
    policy = Policy.from_mapping({"labelling": {"budget_share": 0.0}})
    answer(catalog, INSPECTION, policy, uniform=random.Random(2), at=T0)
    assert next((each.action, each.asked) for each in list_alarms(catalog, INSPECTION)) == ("labels", 0)
    assert queue_size(catalog, INSPECTION).waiting == 0


def test_an_open_alarm_with_retrain_lets_fewer_labels_start_one(catalog: Catalog) -> None:
    policy = Policy.from_mapping({"drift": {"on_alarm": "retrain", "retrain_after": 7}})
    assert labels_that_start_a_retrain(catalog, INSPECTION, policy) == 20
    alarm(catalog)
    assert answered(catalog, "retrain", labels=3) == [("retrain", 3)]
    assert labels_that_start_a_retrain(catalog, INSPECTION, policy) == 7
    with catalog.session() as session:
        session.get_one(DriftAlarmRow, 1).closed_at = T0
    assert labels_that_start_a_retrain(catalog, INSPECTION, policy) == 20


def test_an_unknown_action_is_named() -> None:
    with pytest.raises(ConfigError, match=r"on_alarm = 'shout': expected nothing, labels or retrain"):
        action_of(Policy.from_mapping({"drift": {"on_alarm": "shout"}}))
