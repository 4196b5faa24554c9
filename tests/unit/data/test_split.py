from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from data.policy import SplitPolicy
from data.split import group_of, side_of, split_of

AT = datetime(2030, 1, 1, 23, 30, tzinfo=UTC)
shares = st.fixed_dictionaries({"holdout": st.floats(0, 0.5), "golden": st.floats(0, 0.4)})


@given(group=st.text(max_size=40), salt=st.text(max_size=10), shares=shares)
def test_the_side_of_a_group_depends_on_nothing_but_the_group(group: str, salt: str, shares: dict[str, float]) -> None:
    side = split_of(group, salt, shares)
    assert side == split_of(group, salt, dict(reversed(shares.items())))
    assert side in ("train", "holdout", "golden")


@given(group=st.text(max_size=40), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_larger_holdout_keeps_what_the_smaller_one_held(group: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    if split_of(group, "s", {"holdout": low}) == "holdout":
        assert split_of(group, "s", {"holdout": high}) == "holdout"


def test_the_shares_are_kept_over_many_groups() -> None:
    n = 20_000
    held = sum(split_of(f"part:{i}", "s", {"holdout": 0.2}) == "holdout" for i in range(n))
    # Five standard errors of a binomial with p = 0.2.
    assert abs(held / n - 0.2) < 5 * (0.2 * 0.8 / n) ** 0.5


def test_all_samples_of_a_part_are_on_one_side() -> None:
    groups = {group_of(part_id="A-1", device=device, captured_at=AT) for device in ("a", "b", None)}
    assert groups == {"part:A-1"}


def test_without_a_part_the_lot_and_without_a_lot_the_devices_day_is_the_group() -> None:
    assert group_of(part_id=None, device="a", captured_at=AT, context={"lot": 7.0}) == "lot:7.0"
    assert group_of(part_id="", device="a", captured_at=AT, context={"lot": ""}) == "day:a:2030-01-01"
    tokyo = AT.astimezone(timezone(timedelta(hours=9)))  # already the next day there: the day is UTC's
    assert group_of(part_id=None, device="a", captured_at=tokyo) == "day:a:2030-01-01"


def test_factory_samples_are_held_out_as_golden_and_field_samples_as_holdout() -> None:
    policy = SplitPolicy(golden_share=0.5, holdout_share=0.5)
    factory = {side_of(f"part:{i}", inspection="a", origin="factory", policy=policy) for i in range(50)}
    field = {side_of(f"part:{i}", inspection="a", origin="field", policy=policy) for i in range(50)}
    assert (factory, field) == ({"train", "golden"}, {"train", "holdout"})


def test_inspections_are_split_independently_and_a_new_salt_draws_anew() -> None:
    def held(inspection: str, salt: str) -> set[int]:
        policy = SplitPolicy(salt=salt, holdout_share=0.5)
        return {
            i for i in range(200) if side_of(f"{i}", inspection=inspection, origin="field", policy=policy) != "train"
        }

    assert len({frozenset(held(*key)) for key in [("a", "s"), ("b", "s"), ("a", "t")]}) == 3
