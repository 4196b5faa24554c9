"""What the cloud signs for devices: settings, channels, self-tests. All is written and read again once accepted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edge_client.contract.errors import BadRelease
from edge_client.contract.releases import Channel, Cohort, Staged, engine_target, selftest_target
from edge_client.contract.selftest import SelfTest
from edge_client.contract.settings import DeviceSettings
from tests.fuzz.mutations.npz import mutate_npz
from tests.fuzz.mutations.values import JSON_TOKENS, mutate_json
from tests.fuzz.seeds import INSPECTION, NOW
from tests.fuzz.target import Target


def read_settings(data: bytes) -> None:
    """Read a device's settings."""
    settings = DeviceSettings.from_json(data)
    assert DeviceSettings.from_json(settings.to_json()) == settings


def read_channel(data: bytes) -> None:
    """Read a channel document."""
    channel = Channel.from_json(data)
    assert Channel.from_json(channel.to_json()) == channel


def read_selftest(data: bytes) -> None:
    """Read a self-test; its answers must be comparable numbers."""
    test = SelfTest.unpack(data)
    assert math.isfinite(test.tolerance)
    assert test.tolerance >= 0
    for answers in (test.probabilities, test.anomaly):
        assert answers.dtype == np.float32, f"answers of {answers.dtype} passed"
        assert np.isfinite(answers).all(), "answers that are no numbers passed"
    again = SelfTest.unpack(test.pack())
    assert np.array_equal(again.frames, test.frames)
    assert np.array_equal(again.anomaly, test.anomaly)


def _settings() -> tuple[bytes, ...]:
    full = DeviceSettings(advisory=True, recipient="age1" + "q" * 58, deny_engines=("a" * 64, "b" * 64))
    return (DeviceSettings().to_json(), full.to_json(), b"{}", b'{"byte_budget":5}')


def _channels() -> tuple[bytes, ...]:
    channel = Channel(
        inspection=INSPECTION,
        channel="stable",
        engine_path=engine_target(INSPECTION, "e1"),
        engine_sha256="a" * 64,
        engine_bytes=5_000_000,
        engine_id="e1",
        version="7",
        selftest_path=selftest_target(INSPECTION, "e1"),
        issued_at=NOW,
    )
    twin = replace(channel.engines()[0], variant="fp32", provider="openvino")
    cohorts = (Cohort(percent=12.5), Cohort(sites=("plant-a",), devices=("line-1",)))
    staged = Staged(version="8", engines=(twin,), salt="salt", cohorts=cohorts)
    return (channel.to_json(), replace(channel, variant="int8", variants=(twin,), staged=staged).to_json())


def _selftests() -> tuple[bytes, ...]:
    frames = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    answers = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    anomaly = np.array([0.5, 1.5], np.float32)
    return (SelfTest(frames=frames, probabilities=answers, anomaly=anomaly, tolerance=0.01).pack(),)


SETTINGS = Target(
    name="settings", read=read_settings, refusals=(BadRelease,), seeds=_settings, mutate=mutate_json, tokens=JSON_TOKENS
)
CHANNEL = Target(
    name="channel", read=read_channel, refusals=(BadRelease,), seeds=_channels, mutate=mutate_json, tokens=JSON_TOKENS
)
SELFTEST = Target(name="selftest", read=read_selftest, refusals=(BadRelease,), seeds=_selftests, mutate=mutate_npz)
