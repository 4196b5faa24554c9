"""What signed settings change in a running client, and what its own file pins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_client import Client
from edge_client.config import Config
from edge_client.contract.bucket import DirectoryBucket
from edge_client.contract.campaigns import Campaign, OfClass
from edge_client.contract.errors import ConfigError
from edge_client.contract.sealing import generate_identity
from edge_client.contract.setting_layers import Layer, LayeredSettings
from edge_client.settings_in_force import EffectiveSettings, SignedDocuments
from tests.unit.capture.device import Bundle, DrivenClock

DARKISH = np.full((16, 16, 3), 118, np.uint8)  # defect probability about 0.7
UNTIL = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


@pytest.fixture
def client(bundle: Bundle) -> Iterator[Client]:
    config = Config.load(bundle.config)
    with Client(config, bucket=DirectoryBucket(bundle.folder / "bucket"), clock=DrivenClock()) as made:
        yield made


def follow(client: Client, **values: Any) -> None:
    """As the updater does when it has read a document."""
    layer = Layer(name="all", values={name.replace("__", "."): value for name, value in values.items()})
    document = LayeredSettings(version=3, issued_at=UNTIL, layers=(layer,))
    assert client._updater is not None
    client._updater.signed.take(SignedDocuments(default=document))


def test_a_threshold_and_advisory_mode_hold_from_the_next_frame_on(client: Client) -> None:
    first = client.predict(DARKISH)
    assert (first.verdict, first.advisory) == ("defect", False)
    follow(client, threshold__defect=0.9, mode__advisory=True)
    second = client.predict(DARKISH)
    assert (second.verdict, second.advisory) == ("ok", True)
    assert client.heartbeat().settings_versions == {"default": 3}
    assert client.status()["settings"]["values"] == {"threshold.defect": 0.9, "mode.advisory": True}
    follow(client)
    assert client.predict(DARKISH).verdict == "defect"


def test_budgets_uploads_and_campaigns_are_followed(client: Client, tmp_path: Path) -> None:
    loop = client._loop
    assert loop is not None
    recipient = generate_identity(tmp_path / "new.age")
    assert loop.uplink.permission(10).granted
    follow(
        client,
        capture__byte_budget=777,
        capture__audit_share=0.5,
        upload__hours=("mon 00:00-00:01",),
        upload__bytes_per_day=400_000,
        cloud__recipient=recipient,
    )
    policy = loop.capture.intake.policy
    assert (policy.byte_budget, policy.audit_share, policy.recipient) == (777, 0.5, recipient)
    assert "upload.hours" in loop.uplink.permission(10).reason
    assert loop.outbox.shard_bytes == 100_000
    follow(client)
    assert loop.capture.intake.policy.byte_budget == Config.load(client.config.path or "").capture.byte_budget
    assert loop.uplink.permission(10).granted
    asked = Campaign(id="c", share=0.2, until=UNTIL, query=OfClass(name="defect"))
    other = Campaign(id="d", share=0.2, until=UNTIL, query=OfClass(name="no such class"))
    loop.take_settings(EffectiveSettings(campaigns=(asked, other)))
    assert loop.capture.intake.resting_campaigns(client.engine_metadata) == ["d"]


def test_a_device_that_says_advisory_itself_stays_so(bundle: Bundle) -> None:
    bundle.config.write_text(bundle.config.read_text() + "\n[mode]\nadvisory = true\n")
    with Client.from_config(bundle.config) as client:
        follow(client, mode__advisory=False)
        assert client.advisory


def test_settings_hold_after_a_start_and_what_the_file_pins_does_not_change(bundle: Bundle) -> None:
    bundle.config.write_text(
        bundle.config.read_text() + '\n[settings]\nlocal_only = ["capture.byte_budget"]\ntime_zone = "Europe/Berlin"\n'
    )
    with Client.from_config(bundle.config) as client:
        follow(client, capture__byte_budget=777, capture__audit_share=0.5)
        assert client._loop is not None
        assert client._loop.capture.intake.policy.byte_budget != 777
        assert client._loop.capture.intake.policy.audit_share == 0.5


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[settings]\nlocal_only = ["capture.bytes"]', "settings.local_only names 'capture.bytes'"),
        ('[settings]\nlocal_only = ["engines.deny"]', "settings.local_only names 'engines.deny'"),
        ('[settings]\ntime_zone = "Europe/Atlantis"', "does not know"),
        ('[settings]\ntime_zone = "../etc/passwd"', "does not know"),
        ('[help]\nallow = ["shell"]', "help.allow names 'shell'"),
    ],
)
def test_a_file_that_pins_or_allows_what_there_is_not_is_refused(bundle: Bundle, table: str, says: str) -> None:
    bundle.config.write_text(f"{bundle.config.read_text()}\n{table}\n")
    with pytest.raises(ConfigError, match=says):
        Config.load(bundle.config)
