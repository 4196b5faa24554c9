"""A campaign from its examples to what it brought: real process, real bucket, real ingest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import select

from data.catalog.models import SampleRow
from data.labels import record_label
from tests.integration.fleet_settings.installation import INSPECTION, Installation, wait_until


def put(folder: Path, name: str, *, red: bool, seed: int) -> None:
    """A light frame that passes; its colours vary, and some are reddish."""
    random = np.random.default_rng(seed)
    colour = 150 + random.normal(size=3) * 6 + (np.array([25, -12, -12]) if red else 0)
    pixels = np.clip(colour + random.normal(size=(24, 24, 3)) * random.uniform(4, 12), 0, 255).astype(np.uint8)
    beside = folder / f".{name}.new"
    Image.fromarray(pixels).save(beside, format="PNG")
    beside.rename(folder / f"{name}.png")


def samples(cloud: Installation, prefix: str) -> dict[str, Any]:
    """Part id → row, of the samples that came so far."""
    cloud.andon("ingest")
    with cloud.workspace.catalog().reading() as session:
        rows = session.scalars(select(SampleRow).where(SampleRow.inspection == INSPECTION)).all()
        return {row.part_id: row for row in rows if row.part_id is not None and row.part_id.startswith(prefix)}


def test_a_campaign_like_a_few_frames_brings_more_of_them(cloud: Installation, tmp_path: Path) -> None:
    bundle = cloud.enroll("asker")
    cloud.workspace.lake().note_space(INSPECTION, "e1", "tiny-embedding")  # as registering an engine does
    process = cloud.start(bundle, "run", "--source", str(tmp_path), "--follow", "--consume")
    for i in range(45):
        put(tmp_path, f"one-{i:02d}", red=i < 5, seed=i)
    wait_until(lambda: len(samples(cloud, "one-")) == 45, "all frames are captured and ingested", every=1.0)
    first = samples(cloud, "one-")
    examples = [first[f"one-{i:02d}"].sample_id for i in range(5)]
    for name in examples:
        record_label(
            cloud.workspace.catalog(), sample_id=name, classes=["ok"], who="ann", at=datetime.now(UTC), event_id=name
        )
    asked = cloud.andon("campaign", "add", "--like", *examples, "--device", "asker", "--share", "0.3", "--name", "reds")
    assert (asked["devices"], asked["resting"], asked["wanted"]) == (["asker"], [], "ok")
    assert asked["bytes"] < 1000
    unsure = cloud.andon("campaign", "add", "--class", "defect", "--margin-below", "0.5", "--station", "elsewhere")
    assert unsure["devices"] == []

    def follows() -> bool:
        told = cloud.heartbeat("asker")
        return told is not None and told.campaigns == ("reds",)

    wait_until(follows, "the heartbeat tells of the campaign, and not of the one for another station")
    for i in range(40):
        put(tmp_path, f"two-{i:02d}", red=i % 10 == 9, seed=1000 + i)
    wait_until(lambda: len(samples(cloud, "two-")) == 40, "they are captured and ingested", every=1.0)
    second = samples(cloud, "two-")
    asked_for = {name for name, row in second.items() if "requested:reds" in row.reasons}
    reds = {name for name in second if int(name[-2:]) % 10 == 9}
    assert len(asked_for & reds) >= 3
    assert len(asked_for - reds) <= len(asked_for) / 2
    for row in second.values():
        assert abs(sum(row.reasons.values()) - row.weight) < 1e-3  # what is recorded is what was drawn by
    told = cloud.andon("campaign", "show", "reds")
    assert (told["samples"], told["followed_by"]) == (len(asked_for), ["asker"])
    assert 0 < told["paid_share"] < 0.4
    assert told["precision"]["population"] == len(asked_for)
    cloud.andon("campaign", "end", "reds", "--why", "enough")
    wait_until(lambda: not follows(), "the device has ended it")
    assert [each["campaign"] for each in cloud.andon("campaign", "list")] == [unsure["campaign"]]
    assert {each["campaign"] for each in cloud.andon("campaign", "list", "--all")} == {"reds", unsure["campaign"]}
    cloud.end(process)
