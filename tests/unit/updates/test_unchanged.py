"""Looks for releases that find nothing new: what they ask of the bucket, and what still ends them.

The numbers are the rules of `edge_client/updates/unchanged.py`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edge_client.contract.bucket import DirectoryBucket, Fetched
from edge_client.contract.conditional import get_changed
from edge_client.contract.errors import NotFound
from edge_client.contract.settings import DeviceSettings
from edge_client.updates.outcome import Check
from edge_client.updates.unchanged import FULL_SECONDS
from edge_client.updates.updater import Updater
from tests.unit.updates.release_world import World, serve


class AskedBucket(DirectoryBucket):
    """A folder that answers conditional requests and counts what it is asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: Counter[str] = Counter()

    def get(self, key: str, *, max_bytes: int) -> bytes:
        try:
            data = super().get(key, max_bytes=max_bytes)
        except NotFound:
            self.asked["missing"] += 1
            raise
        self.asked["get"] += 1
        return data

    def get_changed(self, key: str, *, etag: str | None, max_bytes: int) -> Fetched | None:
        found = get_changed(DirectoryBucket(self.path), key, etag=etag, max_bytes=max_bytes)
        self.asked["unchanged" if found is None else "get"] += 1
        return found

    def during(self, device: Updater) -> tuple[Check, Counter[str]]:
        self.asked.clear()
        return device.check_once().check, self.asked


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def bucket(world: World) -> AskedBucket:
    return AskedBucket(world.bucket.path)


@pytest.fixture
def device(world: World, bucket: AskedBucket) -> Updater:
    """A device that has confirmed what the channel names."""
    world.release("e1")
    device = world.device(bucket=bucket)
    device.check_once()
    serve(device, 3)
    assert device.check_once().check is Check.UP_TO_DATE
    return device


def test_a_look_that_finds_nothing_new_is_one_conditional_request(device: Updater, bucket: AskedBucket) -> None:
    assert bucket.during(device) == (Check.UP_TO_DATE, Counter(unchanged=1))


def test_a_timestamp_that_was_only_prolonged_costs_two_more(world: World, device: Updater, bucket: AskedBucket) -> None:
    """Rule 4: the documents are those of before; a new root is asked for, and is not there."""
    world.repository.refresh_timestamp()
    assert bucket.during(device) == (Check.UP_TO_DATE, Counter(get=1, missing=1))
    assert bucket.during(device) == (Check.UP_TO_DATE, Counter(unchanged=1))


def test_a_new_release_is_seen_by_the_next_look(world: World, device: Updater, bucket: AskedBucket) -> None:
    world.release("e2")
    assert bucket.during(device)[0] is Check.SWAPPED


def test_settings_that_changed_are_seen_by_the_next_look(world: World, device: Updater, bucket: AskedBucket) -> None:
    world.repository.set_settings("default", DeviceSettings(advisory=True))
    bucket.during(device)
    settings = device.settings()
    assert settings is not None
    assert settings.advisory


def test_everything_is_looked_at_again_after_some_hours(world: World, device: Updater, bucket: AskedBucket) -> None:
    """Rule 2."""
    world.clock.advance(seconds=FULL_SECONDS - 60)
    assert bucket.during(device)[1] == Counter(unchanged=1)
    world.clock.advance(seconds=61)
    assert bucket.during(device) == (Check.UP_TO_DATE, Counter(get=1, missing=1))


def test_an_unchanged_timestamp_that_has_expired_is_refused(world: World, device: Updater, bucket: AskedBucket) -> None:
    """Rule 2: the time is judged although nothing came; the monotonic clock stood still, as on a device that slept."""
    world.clock.at = world.repository.expiry()["timestamp"]
    outcome = device.check_once()
    assert outcome.check is Check.REFUSED
    assert "expired" in outcome.reason


def test_a_document_that_was_damaged_is_fetched_again_each_time(world: World, bucket: AskedBucket) -> None:
    """Rule 3."""
    world.release("e1")
    (document,) = [info.key for info in bucket.list("releases/targets/channels/")]
    whole = bucket.get(document, max_bytes=100_000)
    bucket.put(document, whole[:-1] + b" ")
    device = world.device(bucket=bucket)
    assert bucket.during(device)[0] is Check.REFUSED
    assert bucket.during(device)[0] is Check.REFUSED
    bucket.put(document, whole)
    assert bucket.during(device)[0] is Check.SWAPPED


def test_another_source_is_read_as_a_whole(world: World, device: Updater, bucket: AskedBucket) -> None:
    stick = AskedBucket(world.bucket.path)
    device.check_once(stick)
    assert stick.asked == Counter(get=1, missing=1)


def test_a_start_verifies_everything_anew(world: World, device: Updater, bucket: AskedBucket) -> None:
    """Rule 5."""
    device.stop()
    again = world.device(bucket=bucket)
    assert bucket.during(again)[1]["get"] > 1
