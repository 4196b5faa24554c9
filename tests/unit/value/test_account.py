"""The account: who served which frames, what rests on which version, prices."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.catalog import Catalog
from data.catalog.models import WindowRow
from data.decisions import GateDecision, ReleaseEntry, record_decision, record_release
from data.inspections import get_inspection
from data.policy import Policy
from data.value import account_of, prices_of, state_prices
from data.value.account import Version, line_of, served_by
from edge_client.contract.errors import ConfigError
from tests.unit.data.captured_line import INSPECTION, T0, Line, new_catalog, sqlite_url


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("account")
    catalog = new_catalog(sqlite_url(folder))
    line = Line(catalog, np.random.default_rng(3))
    for _ in range(4):  # windows of 100 frames, of which 20 are captured; each sample of ten bytes
        line.stream(["ok"] * 95 + ["crack"] * 5, np.ones(100), 20)
    with catalog.session() as session:
        for window, engines in enumerate((["e1"], ["e1", "e2"], ["e2"], ["unheard"])):
            session.get_one(WindowRow, ("line-1", 1, window)).engine_ids = engines
    for version, champion in (("1", None), ("2", "1"), ("3", "2")):
        decided(catalog, version, champion)
    record_release(
        catalog,
        ReleaseEntry(
            inspection=INSPECTION,
            channel="stable",
            action="release",
            who="ann",
            version="2",
            at=T0 + timedelta(hours=30),
        ),
    )
    catalog.close()
    return folder


def cell(**values: Any) -> dict[str, Any]:
    shape = {"label": "crack", "defect": True, "before": "ok", "after": "defect", "n": 5, "units": 5, "weight": 50.0}
    return {**shape, "square": 500.0, "certain": 0, **values}


def decided(catalog: Catalog, version: str, champion: str | None) -> None:
    cells = [cell(), cell(label="ok", defect=False, after="ok", n=45, units=45, weight=450.0, square=4500.0)]
    record_decision(
        catalog,
        GateDecision(
            inspection=INSPECTION, version=version, champion_version=champion, run_id=f"run-{version}",
            snapshot_id=None, engine_id=f"e{version}", at=T0, answer="promote",
            comparison=None if champion is None else {"sets": {"field": {"cells": cells}}, "fixed": []},
        ),
    )  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path, first: Path) -> Iterator[Catalog]:
    shutil.copy(first / "catalog.db", tmp_path / "catalog.db")
    opened = Catalog.open(sqlite_url(tmp_path))
    yield opened
    opened.close()


def test_frames_of_a_version_count_for_it_and_those_of_a_change_for_the_older_one(catalog: Catalog) -> None:
    account = account_of(catalog, INSPECTION, Policy())
    assert (account.frames, account.unknown_frames) == (400, 100)
    (step,) = account.steps  # version 3 never served
    assert (step.version, step.champion, step.frames) == ("2", "1", 100)
    assert step.escapes is not None
    assert step.escapes.value == pytest.approx(100 * 50 / 500)
    assert account.escapes.value == pytest.approx(10)
    assert step.since == T0 + timedelta(hours=30)


def test_what_every_frame_would_have_taken_is_the_mean_size_times_all_frames(catalog: Catalog) -> None:
    account = account_of(catalog, INSPECTION, Policy())
    assert account.all_bytes is not None
    assert account.all_bytes.value == pytest.approx(10 * 400)
    assert account.sent_bytes == 100 * 20 * 4


def test_a_total_is_drawn_up_of_what_has_a_price(catalog: Catalog) -> None:
    state_prices(catalog, INSPECTION, {"escape": 3.0, "label": 2.0})
    account = account_of(catalog, INSPECTION, Policy.from_mapping({"value": {"currency": "CHF"}}))
    money = account.money()
    assert (account.prices.currency, account.prices.complete) == ("CHF", False)
    assert money["alarms"] is None
    assert money["total"] is not None
    assert money["total"].value == pytest.approx(30.0)
    assert money["total"].low < 30.0 < money["total"].high


def test_prices_are_an_inspections_own_else_the_policys_and_nonsense_is_refused(catalog: Catalog) -> None:
    policy = Policy.from_mapping({"value": {"escape": 5.0, "label": 1.0}}).value
    state_prices(catalog, INSPECTION, {"escape": 7.5})
    assert prices_of(get_inspection(catalog, INSPECTION), policy).escape == 7.5
    state_prices(catalog, INSPECTION, {"escape": None})
    found = prices_of(get_inspection(catalog, INSPECTION), policy)
    assert (found.escape, found.label, found.gigabyte) == (5.0, 1.0, None)
    for wrong in ({"escape": -1}, {"escape": float("nan")}, {"defect": 3}, {"currency": ""}, {"label": True}):
        with pytest.raises(ConfigError):
            state_prices(catalog, INSPECTION, wrong)


def test_a_line_of_versions_ends_at_the_first_one_and_never_runs_in_a_circle() -> None:
    versions = {
        n: Version(number=n, champion=c, engine_id=None) for n, c in {"1": None, "2": "1", "3": "2", "9": "9"}.items()
    }
    assert line_of("3", versions) == ["3", "2", "1"]
    assert line_of("9", versions) == ["9"]
    assert line_of("8", versions) == []
    assert served_by([], {"a": "1"}) == ""
