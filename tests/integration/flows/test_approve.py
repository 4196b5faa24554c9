"""Approval by a person: a release waits while the `engines` key is away, and goes on after `andon approve`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.decisions import list_releases
from data.workspace import Workspace
from edge_client.contract.selftest import SelfTest
from flows.registry import Registry
from flows.release import release_once
from flows.releases.repository import ReleaseRepository
from flows.tags import Tag
from infra.cli.main import main
from tests.integration.flows.challengers import record, register


@pytest.fixture
def stick(workspace: Workspace, tmp_path: Path) -> Iterator[Path]:
    """The `engines` key in a person's pocket, for one test."""
    here, there = workspace.keys / "engines.pem", tmp_path / "engines.pem"
    here.rename(there)
    yield tmp_path
    there.rename(here)


def andon(workspace: Workspace, *words: str) -> int:
    return main([*words, "--home", str(workspace.home)])


def test_an_engine_waits_for_its_person_and_is_shown_before_it_is_signed(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str, stick: Path, capsys
) -> None:
    (stick / "engines.pem").rename(workspace.keys / "engines.pem")
    register(registry, name, "e1")
    registry.api.set_alias(name, "champion", "1")
    release_once(workspace, name)
    (workspace.keys / "engines.pem").rename(stick / "engines.pem")
    register(registry, name, "e2", metrics={"average_precision": 0.82})
    registry.api.set_alias(name, "champion", "2")

    outcome = release_once(workspace, name)  # the flow: it does not fail, it waits

    assert outcome.released == ()
    assert {r.channel for r in outcome.refused} == {"stable", "canary"}
    waits = registry.api.version(name, "2").tags[Tag.ROLLOUT_STATE]
    assert f"waits for approval: the key `engines` is a person's and not at hand; look at it and sign with `andon approve {name} 2`" in waits  # fmt: skip # noqa: E501
    newest = list_releases(workspace.catalog(), name)[0]
    assert (newest.action, "waits for approval" in newest.detail["reason"]) == ("refused", True)
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    assert channel.version == "1"

    capsys.readouterr()
    assert andon(workspace, "approve", "--json") == 0
    (waiting,) = [c for c in json.loads(capsys.readouterr().out) if c["inspection"] == name]
    assert (waiting["version"], waiting["compared_with"], waiting["aliases"]) == ("2", "1", ["champion"])
    assert waiting["sha256"] == registry.api.version(name, "2").tags[Tag.ENGINE_SHA256]
    assert waiting["decision"] == "promote: field AP 0.75 against 0.53"
    assert "average_precision: 0.75 → 0.82" in waiting["differences"]

    assert andon(workspace, "approve", name) == 1  # nobody to ask
    assert andon(workspace, "approve", name, "--yes") == 1  # no key
    assert "not at hand" in capsys.readouterr().err
    assert andon(workspace, "approve", name, "2", "--yes", "--keys", str(stick)) == 0
    said = capsys.readouterr().out
    assert "against    version 1, which runs now" in said
    assert "stable released to version 2" in said
    channel = repository.read_channel(name, "stable")
    assert channel is not None
    assert channel.version == "2"
    assert andon(workspace, "approve", name, "2", "--yes", "--keys", str(stick)) == 1
    assert "signed already" in capsys.readouterr().err


def test_an_engine_that_fails_its_self_test_is_not_signed_and_the_version_says_why(
    workspace: Workspace, registry: Registry, repository: ReleaseRepository, name: str
) -> None:
    good = SelfTest.unpack(record(name, "e1").selftest)
    wrong = SelfTest(
        frames=good.frames, probabilities=1 - good.probabilities, anomaly=good.anomaly, tolerance=good.tolerance
    )
    register(registry, name, "e1", selftest=wrong.pack())
    registry.api.set_alias(name, "champion", "1")

    outcome = release_once(workspace, name)

    assert outcome.released == ()
    assert "is not signed, its self-test did not pass" in registry.api.version(name, "1").tags[Tag.ROLLOUT_STATE]
    assert repository.approved(name) == {}
