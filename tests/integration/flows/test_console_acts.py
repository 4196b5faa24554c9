"""What the console does with versions, on a real MLflow: the alias moves as a person would move it, and says who."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console.model_acts import ActError, hold, make_champion
from console.model_registry import RegistryView
from data.registry_api import RegistryApi, RegistryError, RegistryUnavailable
from data.workspace import Workspace
from flows.approval import approval_of
from flows.registry import Registry
from flows.release import release_once
from flows.tags import Tag
from tests.integration.flows.challengers import register
from tests.integration.flows.stack import free_port

NOW = datetime(2031, 5, 6, tzinfo=UTC)


def test_promoting_moves_the_alias_and_the_release_says_who(
    workspace: Workspace, registry: Registry, name: str
) -> None:
    for engine in ("e1", "e2"):
        register(registry, name, engine)
    make_champion(registry.api, name, "1", seen=None, who="ann", why="", at=NOW)
    release_once(workspace, name)
    hold(registry.api, name, "2", who="bob", why="wait for the audit")
    assert registry.api.version(name, "2").tags[Tag.HELD] == "bob: wait for the audit"
    with pytest.raises(ActError, match=r"champion .* is version 1 by now, not none"):
        make_champion(registry.api, name, "2", seen=None, who="ann", why="", at=NOW)
    make_champion(registry.api, name, "2", seen="1", who="ann", why="", at=NOW)
    (released,) = [each for each in release_once(workspace, name).released if each.channel == "stable"]
    assert (released.version, released.approved_by) == ("2", "ann, on the console")
    assert Tag.HELD not in registry.api.version(name, "2").tags
    make_champion(registry.api, name, "1", seen="2", who="bob", why="", at=NOW)
    back = next(each for each in release_once(workspace, name).released if each.channel == "stable")
    assert (back.version, back.rollback, back.approved_by) == ("1", True, "bob, on the console")
    with pytest.raises(ActError, match="hold its rollout, or roll back"):
        hold(registry.api, name, "1", who="bob", why="")


def test_what_the_gate_refused_needs_a_reason(registry: Registry, name: str) -> None:
    register(registry, name, "bad", decision="reject")
    with pytest.raises(ActError, match="say why"):
        make_champion(registry.api, name, "1", seen=None, who="ann", why="", at=NOW)
    assert registry.api.aliases(name) == {}
    make_champion(registry.api, name, "1", seen=None, who="ann", why="the line stands still", at=NOW)
    tags = registry.api.version(name, "1").tags
    assert "the line stands still" in approval_of(tags, "champion").by


def test_the_gates_report_comes_from_mlflow_and_a_wrong_one_is_refused(registry: Registry, name: str) -> None:
    version = register(registry, name, "e1")
    assert registry.api.artifact_text(version.run_id, "gate_report.html") == "<!doctype html><title>Gate</title>"
    with pytest.raises(RegistryError):
        registry.api.artifact_text(version.run_id, "nothing.html")


def test_a_page_does_not_wait_for_mlflow_and_keeps_what_it_knew(registry: Registry, name: str) -> None:
    register(registry, name, "e1")
    registry.api.set_alias(name, "champion", "1")
    patient = RegistryView(registry.api, patience=60)
    assert patient.now(name).aliases == {"champion": "1"}
    away = RegistryView(RegistryApi(f"http://127.0.0.1:{free_port()}"), patience=60)
    read = away.now(name)
    assert (read.known, read.aliases) == (None, {})
    assert "cannot be reached" in read.problem
    patient.api = away.api  # the server went away
    patient.forget(name)
    later = patient.now(name)
    assert later.aliases == {"champion": "1"}
    assert "cannot be reached" in later.problem
    with pytest.raises(RegistryUnavailable):
        make_champion(RegistryApi(f"http://127.0.0.1:{free_port()}"), name, "1", seen=None, who="a", why="", at=NOW)
