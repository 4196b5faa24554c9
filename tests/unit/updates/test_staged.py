"""A device that follows a channel with a rollout under way, and one that names several files of one model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_client.contract.releases import Channel, Cohort, NamedEngine, Staged
from edge_client.updates.outcome import Check
from edge_client.updates.trial import TrialOrder, TrialReport
from tests.tiny_engine import tiny_engine
from tests.unit.updates.release_world import INSPECTION, World, digest, serve


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def named(world: World, engine_id: str, *, variant: str = "", provider: str = "", approved: bool = True) -> NamedEngine:
    data = tiny_engine(engine_id=engine_id, variant=variant or "fp32")
    described = world.publish(data, engine_id) if approved else world.channel(data, engine_id)
    return replace(described.engines()[0], variant=variant, provider=provider)


def next_version(*engines: NamedEngine, **cohort: object) -> Staged:
    return Staged(version="2", engines=engines, salt="salt", cohorts=(Cohort(**cohort),))  # type: ignore[arg-type]


def say(world: World, channel: Channel) -> None:
    world.cloud_clock.advance(minutes=1)
    world.clock.advance(minutes=1)
    world.repository.set_channel(replace(channel, issued_at=world.cloud_clock.now()))


def signed_by_a_thief(world: World, channel: Channel) -> None:
    """Sign a channel with the stolen `rollouts` key, past the repository's own check."""
    state = world.repository._load()
    world.repository._set_rollout(state, f"channels/{INSPECTION}/stable.json", channel.to_json())


def failing(*bad: str) -> object:
    """A trial that the named engines do not pass."""

    def tries(order: TrialOrder) -> TrialReport:
        if order.engine_id in bad:
            return TrialReport(passed=False, certain=True, reason=f"{order.engine_id} answers otherwise here")
        return TrialReport(passed=True, latency_ms=1.0)

    return tries


def test_a_staged_device_takes_the_next_engine_another_one_stays_and_both_end_on_it(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1"), "e1")
    say(world, base)
    lines = [
        world.device(device=name, site=site, state=world.folder / name)
        for name, site in (("line-1", "plant-a"), ("line-2", "plant-b"))
    ]
    for line in lines:
        line.check_once()
        serve(line, 3)
    second = named(world, "e2")
    say(world, replace(base, staged=next_version(second, sites=("plant-a",))))
    assert [line.check_once().engine_id for line in lines] == ["e2", "e1"]
    serve(lines[0], 3)
    assert lines[0].status().rollout.outcome == "confirmed"
    say(world, world.channel(tiny_engine(engine_id="e2"), "e2"))
    assert [line.check_once().check for line in lines] == [Check.UP_TO_DATE, Check.SWAPPED]


def test_a_rollout_that_is_taken_back_brings_the_device_back_at_once(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1"), "e1")
    say(world, base)
    device = world.device()
    device.check_once()
    serve(device, 3)
    say(world, replace(base, staged=next_version(named(world, "e2"))))
    device.check_once()
    serve(device, 3)
    assert device.status().engine_id == "e2"
    say(world, base)
    assert device.check_once().check is Check.SWAPPED
    assert (device.status().engine_id, device.status().quarantined) == ("e1", ())


@pytest.mark.parametrize("where", ["staged", "variants"])
def test_a_file_that_the_engines_key_has_not_signed_is_refused_with_its_reason(world: World, where: str) -> None:
    base = world.publish(tiny_engine(engine_id="e1"), "e1")
    say(world, base)
    device = world.device()
    device.check_once()
    serve(device, 3)
    evil = named(world, "evil", approved=False)
    signed_by_a_thief(
        world, replace(base, staged=next_version(evil)) if where == "staged" else replace(base, variants=(evil,))
    )
    outcome = device.check_once()
    assert outcome.check is Check.REFUSED
    assert "evil.onnx" in outcome.reason
    assert "has not approved" in outcome.reason
    assert device.status().engine_id == "e1"


def test_a_staged_digest_that_differs_from_the_signed_one_is_refused(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1"), "e1")
    other = replace(named(world, "e2"), engine_sha256="0" * 64)
    signed_by_a_thief(world, replace(base, staged=next_version(other)))
    outcome = world.device().check_once()
    assert outcome.check is Check.REFUSED
    assert "approved is" in outcome.reason


def test_a_device_that_is_not_staged_does_not_ask_about_the_staged_engine(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1"), "e1")
    signed_by_a_thief(world, replace(base, staged=next_version(named(world, "evil", approved=False), percent=0.0)))
    assert world.device().check_once().engine_id == "e1"


def test_the_first_variant_that_passes_here_is_taken_and_the_release_is_not_quarantined(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1-int8", variant="int8"), "e1-int8")
    say(world, replace(base, variant="int8", variants=(named(world, "e1-fp32", variant="fp32"),)))
    device = world.device(tries=failing("e1-int8"))  # type: ignore[arg-type]
    assert device.check_once().check is Check.SWAPPED
    serve(device, 3)
    status = device.status()
    assert (status.engine_id, status.variant, status.rollout.outcome) == ("e1-fp32", "fp32", "confirmed")
    assert status.rollout.engine_id == "e1-fp32"
    assert [q.engine_sha256 for q in status.quarantined] == [base.engine_sha256]
    assert device.check_once().check is Check.UP_TO_DATE


def test_only_when_no_variant_passes_the_release_is_quarantined(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1-int8", variant="int8"), "e1-int8")
    say(world, replace(base, variant="int8", variants=(named(world, "e1-fp32", variant="fp32"),)))
    device = world.device(tries=failing("e1-int8", "e1-fp32"))  # type: ignore[arg-type]
    assert device.check_once().check is Check.QUARANTINED
    assert device.slot.engine.sha256 == digest(world.factory)
    assert device.status().rollout.outcome == "quarantined"
    assert len(device.status().quarantined) == 2
    assert device.check_once().check is Check.QUARANTINED


def test_a_variant_that_fails_on_probation_leaves_the_next_one(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1-int8", variant="int8", nan=True), "e1-int8")
    say(world, replace(base, variant="int8", variants=(named(world, "e1-fp32", variant="fp32"),)))
    device = world.device()
    device.check_once()
    device.observe(False, 1.0, base.engine_sha256)
    assert device.status().engine_id == "factory"
    assert device.check_once().check is Check.SWAPPED
    assert device.status().engine_id == "e1-fp32"


def test_a_file_for_another_provider_is_not_tried(world: World) -> None:
    base = world.publish(tiny_engine(engine_id="e1"), "e1")
    vino = named(world, "e1-vino", provider="openvino")
    say(world, replace(base, provider="openvino", variants=(vino,)))
    outcome = world.device().check_once()
    assert outcome.check is Check.REFUSED
    assert "no engine for the provider 'cpu'" in outcome.reason
