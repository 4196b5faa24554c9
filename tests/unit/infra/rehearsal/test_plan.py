from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sources.sample import Stage
from edge_client.contract.engine_metadata import Kind
from edge_client.contract.errors import ConfigError
from infra.rehearsal.plan import Frame, Plan, make_plan


def frame(
    i: int,
    *,
    label: str = "ok",
    group: str | None = None,
    station: str | None = None,
    time: datetime | None = None,
    stage: Stage | None = None,
) -> Frame:
    return Frame(
        frame_id=f"f{i:06d}",
        path=Path(f"{i}.png"),
        label=label,
        group=group or f"g{i}",
        station=station,
        time=time,
        stage=stage,
    )


def ids(frames: tuple[Frame, ...]) -> set[str]:
    return {f.frame_id for f in frames}


def plan(frames: list[Frame], rounds: int = 3, devices: int = 2, seed: int = 0) -> Plan:
    return make_plan(frames, rounds=rounds, devices=devices, seed=seed)


@given(seed=st.integers(0, 1000), per_group=st.integers(1, 4), rounds=st.integers(1, 5), devices=st.integers(1, 3))
def test_every_frame_has_one_stage_and_groups_never_straddle(
    seed: int, per_group: int, rounds: int, devices: int
) -> None:
    frames = [frame(i, label="ok" if i % 5 else "crack", group=f"g{i // per_group}") for i in range(200)]
    found = plan(frames, rounds, devices, seed)
    parts = [found.factory, found.streamed(), found.holdout]
    assert sorted(i for part in parts for i in ids(part)) == sorted(f.frame_id for f in frames)
    groups = [{f.group for f in part} for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    frames = [frame(i, label="ok" if i % 5 else "crack") for i in range(200)]
    assert plan(frames, seed=1) == plan(frames, seed=1)
    assert plan(frames, seed=1) != plan(frames, seed=2)


def test_with_times_the_factory_knows_the_past_and_the_stream_is_in_order() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    frames = [frame(i, label="ok" if i % 5 else "crack", time=start + timedelta(hours=i)) for i in range(200)]
    found = plan(frames, devices=1)
    assert max(f.time for f in found.factory if f.time) < min(f.time for f in found.streamed() if f.time)
    times = [f.time for f in found.streamed()]
    assert times == sorted(t for t in times if t)


def test_given_stages_are_kept() -> None:
    stages = [Stage.FACTORY, Stage.STREAM, Stage.HOLDOUT]
    frames = [frame(i, label="ok" if i % 5 else "crack", stage=stages[i % 3]) for i in range(90)]
    found = plan(frames)
    assert {f.stage for f in found.factory} == {Stage.FACTORY}
    assert len(found.streamed()) == len(found.holdout) == 30


def test_a_group_in_two_stages_is_refused() -> None:
    stages = [Stage.FACTORY, Stage.STREAM, Stage.HOLDOUT]
    frames = [frame(i, group="same", stage=stages[i % 3]) for i in range(90)]
    with pytest.raises(ConfigError, match="two stages"):
        plan(frames)


def test_a_station_belongs_to_one_device() -> None:
    frames = [frame(i, label="ok" if i % 5 else "crack", station=f"Exp {i % 7}") for i in range(200)]
    found = plan(frames, devices=3)
    seen = [{f.station for part in d.rounds for f in part} for d in found.devices]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 7
    assert found.devices[0].station == "exp-0-exp-3-exp-6"


def test_the_label_budget_is_never_passed() -> None:
    found = plan([frame(i, label="ok" if i % 5 else "crack") for i in range(200)])
    last = found.rounds - 1
    assert found.labels_until(last, 0.1) <= 0.1 * len(found.streamed())


def test_the_ok_class_must_be_known() -> None:
    frames = [frame(i, label="a" if i % 5 else "b") for i in range(200)]
    with pytest.raises(ConfigError, match="--ok-class"):
        plan(frames)
    found = make_plan(frames, rounds=1, devices=1, seed=0, ok_classes=["a"])
    assert [(c.name, c.kind) for c in found.classes] == [("a", Kind.OK), ("b", Kind.DEFECT)]
    with pytest.raises(ConfigError, match="no frame has the class"):
        make_plan(frames, rounds=1, devices=1, seed=0, ok_classes=["c"])


def test_an_archive_that_is_too_small_says_so() -> None:
    with pytest.raises(ConfigError, match="at least"):
        plan([frame(i) for i in range(12)])
