"""Layers of device settings: what holds where and when (the rules of `setting_layers` by number)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge_client.contract.errors import BadRelease
from edge_client.contract.matching import Match, Place
from edge_client.contract.sealing import generate_identity
from edge_client.contract.setting_keys import SETTING_KEYS, Kind
from edge_client.contract.setting_layers import Layer, LayeredSettings, resolve
from edge_client.contract.settings import DeviceSettings

AT = datetime(2026, 6, 3, 12, tzinfo=UTC)  # a Wednesday
HERE = Place(device="line-1", site="plant-a", station="aoi-1", hardware="x86_64", inspection="solar-cells")


def document(*layers: Layer, version: int = 1) -> LayeredSettings:
    return LayeredSettings(version=version, issued_at=AT, layers=layers)


def held(*documents: LayeredSettings, place: Place = HERE, at: datetime = AT, **more: object) -> dict[str, object]:
    return resolve(documents, place, at, **more)  # type: ignore[arg-type]


def budget(name: str, value: int, **conditions: object) -> Layer:
    return Layer(name=name, values={"capture.byte_budget": value}, **conditions)  # type: ignore[arg-type]


def test_a_document_reads_back_as_it_was_written() -> None:
    written = document(
        budget("all", 1),
        budget("nights", 2, match=Match(site=("plant-a",)), hours=("mon-fri 22:00-05:00",), since=AT, until=AT),
    )
    assert LayeredSettings.from_json(written.to_json()) == written
    assert DeviceSettings(advisory=True).as_layers().layers[0].values["mode.advisory"] is True


def test_the_later_layer_holds_and_the_devices_own_document_over_all_others() -> None:  # rule 1
    default = document(budget("all", 1), budget("site", 2, match=Match(site=("plant-a",))))
    own = document(Layer(name="own", values={"capture.audit_share": 0.5}))
    assert held(default, own) == {"capture.byte_budget": 2, "capture.audit_share": 0.5}
    assert held(default, document(budget("own", 3)))["capture.byte_budget"] == 3
    assert held(default, place=Place(device="line-9", site="plant-b")) == {"capture.byte_budget": 1}


def test_denied_engines_add_up_over_layers_and_cannot_be_pinned_away() -> None:  # rule 1
    default = document(Layer(name="all", values={"engines.deny": ("a" * 64,)}))
    own = document(Layer(name="own", values={"engines.deny": ("b" * 64, "a" * 64)}))
    assert held(default, own, pinned=["capture.byte_budget"])["engines.deny"] == ("a" * 64, "b" * 64)
    assert held(default, own, pinned=["engines.deny"])["engines.deny"] == ("a" * 64, "b" * 64)


def test_a_pinned_key_is_left_to_the_devices_own_file() -> None:
    assert held(document(budget("all", 1)), pinned=["capture.byte_budget"]) == {}


@pytest.mark.parametrize("kind", ["device", "site", "station", "hardware", "inspection"])
def test_a_cohort_takes_those_that_are_in_every_list(kind: str) -> None:  # rule 2
    own = getattr(HERE, kind)
    both = Match(**{kind: ("another", own)}, **({} if kind == "site" else {"site": ("plant-a",)}))
    assert held(document(budget("cohort", 7, match=both)))
    assert not held(document(budget("cohort", 7, match=Match(**{kind: ("another",)}))))


def test_hours_are_those_of_the_wall_also_on_the_nights_when_the_clocks_change() -> None:  # rule 2
    berlin = ZoneInfo("Europe/Berlin")
    nights = document(budget("nights", 1, hours=("22:00-05:00",)))
    for utc, open_there in (
        (datetime(2026, 3, 28, 20, 59, tzinfo=UTC), False),  # 21:59, winter time
        (datetime(2026, 3, 28, 21, 0, tzinfo=UTC), True),  # 22:00
        (datetime(2026, 3, 29, 2, 59, tzinfo=UTC), True),  # 04:59, summer time by now
        (datetime(2026, 3, 29, 3, 0, tzinfo=UTC), False),  # 05:00: an hour earlier than yesterday
        (datetime(2026, 10, 25, 3, 59, tzinfo=UTC), True),  # 04:59, winter time again
        (datetime(2026, 10, 25, 4, 0, tzinfo=UTC), False),  # 05:00: an hour later
    ):
        assert bool(held(nights, at=utc.astimezone(berlin))) is open_there, utc


def test_since_and_until_are_moments_whatever_the_zone() -> None:  # rule 2
    once = document(budget("once", 1, since=AT, until=AT + timedelta(hours=1)))
    elsewhere = ZoneInfo("Asia/Kolkata")
    found = [bool(held(once, at=(AT + timedelta(minutes=m)).astimezone(elsewhere))) for m in (-1, 0, 59, 60)]
    assert found == [False, True, True, False]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("capture.byte_budget", -1),
        ("capture.byte_budget", 1.5),
        ("capture.byte_budget", True),
        ("capture.window_seconds", 0.0),
        ("capture.audit_share", 1.0),
        ("upload.bytes_per_second", 1),
        ("upload.hours", ["25:00-26:00"]),
        ("upload.hours", "22:00-05:00"),
        ("mode.advisory", "yes"),
        ("threshold.defect", 0.0),
        ("threshold.anomaly", float("1e9")),
        ("cloud.recipient", "age1nonsense"),
        ("engines.deny", ["xyz"]),
    ],
)
def test_a_value_out_of_bounds_refuses_the_document_as_a_whole(key: str, value: object) -> None:  # rule 3
    plain = {
        "schema": 1,
        "version": 2,
        "issued_at": AT.isoformat(),
        "layers": [{"name": "good", "values": {"capture.audit_share": 0.4}}, {"name": "bad", "values": {key: value}}],
    }
    with pytest.raises(BadRelease, match=key):
        LayeredSettings.from_json(json.dumps(plain).encode())


def test_every_key_takes_a_value_and_says_what_it_expects(tmp_path) -> None:
    recipient = generate_identity(tmp_path / "a.age")
    examples = {
        "a whole number": 1_000_000,
        "a number": 0.5,
        "true or false": True,
        "a list of hours such as 'mon-fri 22:00-05:00'": ["mon-fri 22:00-05:00"],
        "an age recipient 'age1…'": recipient,
        "a list of SHA-256 digests": ["0" * 64],
        Kind.REGIONS.value: ["0.1,0.2 0.5,0.6"],
    }
    for key in SETTING_KEYS.values():
        example = examples[key.kind.value]
        assert key.read(example) == (tuple(example) if isinstance(example, list) else example)
        assert key.expected
        assert key.meaning


def test_what_a_newer_cloud_wrote_costs_only_itself() -> None:  # rule 4
    plain = {
        "schema": 1,
        "version": 2,
        "issued_at": AT.isoformat(),
        "signed_by_the_future": True,
        "layers": [
            {"name": "one", "values": {"capture.byte_budget": 5, "camera.exposure": 3}},
            {"name": "two", "values": {"capture.byte_budget": 6}, "while": "it rains"},
            {"name": "three", "values": {"capture.byte_budget": 7}, "match": {"planet": ["mars"]}},
        ],
    }
    read = LayeredSettings.from_json(json.dumps(plain).encode())
    assert held(read) == {"capture.byte_budget": 5}  # never the layers whose conditions nobody understood
    assert held(LayeredSettings.from_json(read.to_json())) == {"capture.byte_budget": 5}  # nor after a restart
    assert read.unknown == ("one: camera.exposure", "three: match by planet", "two: while")


def test_two_layers_of_one_name_are_refused() -> None:
    with pytest.raises(BadRelease, match="names of their own"):
        LayeredSettings.from_json(document(budget("a", 1), budget("a", 2)).to_json())
