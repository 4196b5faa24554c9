"""Retrain by the fine-tune tier through real parts: what becomes champion is carried on, else nothing changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from data.inspections import create_inspection
from data.workspace import Workspace
from edge_client.contract.engine_metadata import EngineMetadata
from flows.champion import metadata_of
from flows.registry import Registry
from flows.retrain import retrain_once
from flows.tags import Tag
from flows.tuned_trunks import origin_of
from tests.integration.flows.line import import_factory_parts

NAME = "castings"
PARTS = 240


@pytest.fixture(scope="module", autouse=True)
def line(stack: object) -> Iterator[None]:
    """Factory parts, one in four cracked, looked at with 64 pixels; two stages learn for two epochs."""
    workspace: Workspace = stack.workspace  # type: ignore[attr-defined]
    policy = workspace.home / "policy.toml"
    before = policy.read_bytes() if policy.exists() else None
    policy.write_text("[finetune]\nepochs = 2\nstages = 2\nquarter_turns = true\n")
    create_inspection(
        workspace.catalog(), NAME, [("ok", "ok"), ("crack", "defect")], {"variant": "fp32", "input": {"side": 64}}
    )
    import_factory_parts(workspace, NAME, PARTS)
    yield
    policy.unlink() if before is None else policy.write_bytes(before)


def metadata(registry: Registry, version: str) -> EngineMetadata:
    return metadata_of(registry.engine_bytes(registry.api.version(NAME, version)))


def test_the_first_model_is_of_the_head_tier(workspace: Workspace, registry: Registry) -> None:
    first = retrain_once(workspace, NAME)
    assert (first.version, first.alias) == ("1", "champion")
    assert registry.api.version(NAME, "1").tags[Tag.TIER] == "head"


def test_a_fine_tuned_challenger_has_a_space_of_its_own_and_its_trunk_is_kept(
    workspace: Workspace, registry: Registry
) -> None:
    tuned = retrain_once(workspace, NAME, tier="finetune")
    again = retrain_once(workspace, NAME, tier="finetune")

    assert (tuned.version, again.version, again.reused) == ("2", "2", True)
    assert registry.api.version(NAME, "2").tags[Tag.TIER] == "finetune"
    space = metadata(registry, "2").embedding_id
    assert space != metadata(registry, "1").embedding_id
    origin = origin_of(workspace.bucket(), NAME, space)
    assert origin.weights is not None
    run = MlflowClient(registry.api.url).get_run(tuned.run_id)
    assert (run.data.params["tier"], run.data.metrics["finetune_epochs"]) == ("finetune", 2)
    # The head learnt from all examples; the trunk not from those that are held.
    assert len(origin.seen) == run.data.metrics["finetune_examples"] < 0.85 * run.data.metrics["examples"]


def test_a_challenger_that_is_not_champion_changes_nothing(workspace: Workspace, registry: Registry) -> None:
    assert registry.api.aliases(NAME)["champion"] == "1"
    third = retrain_once(workspace, NAME, seed=1)
    assert metadata(registry, third.version).embedding_id == metadata(registry, "1").embedding_id


def test_what_became_champion_is_carried_on(workspace: Workspace, registry: Registry) -> None:
    registry.api.set_alias(NAME, "champion", "2")
    fourth = retrain_once(workspace, NAME, seed=2)
    tuned = metadata(registry, "2").embedding_id
    assert metadata(registry, fourth.version).embedding_id == tuned
    assert registry.api.version(NAME, fourth.version).tags[Tag.TIER] == "head"

    warm = retrain_once(workspace, NAME, seed=2, tier="finetune")  # starts from the champion's weights
    space = metadata(registry, warm.version).embedding_id
    assert space not in (tuned, metadata(registry, "1").embedding_id)
    assert origin_of(workspace.bucket(), NAME, space).seen >= origin_of(workspace.bucket(), NAME, tuned).seen


def test_moving_up_is_measured_and_the_reason_is_kept(workspace: Workspace, registry: Registry) -> None:
    registry.api.set_alias(NAME, "champion", "1")
    fifth = retrain_once(workspace, NAME, seed=3, tier="auto")
    tags = registry.api.version(NAME, fifth.version).tags
    metrics = MlflowClient(registry.api.url).get_run(fifth.run_id).data.metrics
    if "tier_gain_low" in metrics:
        assert (tags[Tag.TIER] == "finetune") == (metrics["tier_gain_low"] > workspace.policy().finetune.worthwhile)
        assert f"{int(metrics['tier_samples'])} held samples" in tags[Tag.TIER_REASON]
    else:
        assert tags[Tag.TIER] == "head"
        assert "held samples of a side" in tags[Tag.TIER_REASON]
    same_space = metadata(registry, fifth.version).embedding_id == metadata(registry, "1").embedding_id
    assert same_space == (tags[Tag.TIER] == "head")
