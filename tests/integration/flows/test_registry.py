"""The registry against a real MLflow server with its artifacts in a real bucket."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from edge_client.contract.errors import BadEngine
from edge_client.contract.selftest import SelfTest
from flows.registry import Registry, serving_requirements
from flows.registry_api import RegistryApi, RegistryError, RegistryUnavailable
from flows.tags import Tag
from tests.integration.flows.challengers import record, register
from tests.integration.flows.stack import free_port


def test_an_engine_comes_back_to_the_byte_with_its_self_test_and_out_of_fold_predictions(
    registry: Registry, name: str
) -> None:
    made = record(name, "e1")
    run_id = registry.begin(name, made.key, name="e1", tags={})
    version = registry.log_challenger(run_id, made)

    assert registry.engine_bytes(version) == made.engine
    assert registry.selftest_bytes(version) == made.selftest
    assert registry.gate_report(version) == made.gate_report
    oof = registry.oof_of(version)
    assert (oof.ids, oof.classes) == (made.out_of_fold.ids, made.out_of_fold.classes)
    np.testing.assert_array_equal(oof.probabilities, made.out_of_fold.probabilities)


def test_a_run_holds_parameters_metrics_the_snapshot_and_readable_artifacts(registry: Registry, name: str) -> None:
    version = register(registry, name, "e1")

    client = MlflowClient(registry.api.url)
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"plan": "smote", "C": "0.001", "seed": "0"}
    assert run.data.metrics["average_precision"] == 0.75
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == "5" * 36
    assert "snapshots" in data.dataset.source
    kept = {file.path for file in client.list_artifacts(version.run_id)}
    assert {"gate_report.html", "plans.csv", "out_of_fold.parquet", "selftest.npz"} <= kept
    registered = client.get_model_version(name, version.number)
    assert registered.description == "e1: promote"
    assert registered.tags[Tag.ENGINE_ID] == "e1"
    assert registered.tags[Tag.DECISION] == "promote"
    assert len(registered.tags[Tag.ENGINE_SHA256]) == 64


def test_mlflows_own_tools_get_the_engines_answers(registry: Registry, name: str, tmp_path: Path) -> None:
    import mlflow

    made = record(name, "e1")
    version = registry.log_challenger(registry.begin(name, made.key, name="e1", tags={}), made)
    uri = f"models:/{name}/{version.number}"
    selftest = SelfTest.unpack(made.selftest)

    loaded = mlflow.pyfunc.load_model(uri)
    answer = loaded.predict({"image": selftest.frames})
    np.testing.assert_allclose(answer["probabilities"], selftest.probabilities, atol=1e-6)
    np.testing.assert_allclose(answer["anomaly"], selftest.anomaly, atol=1e-6)
    example = loaded.metadata.load_input_example(mlflow.artifacts.download_artifacts(uri))
    np.testing.assert_array_equal(example["image"], selftest.frames[:1])

    out = tmp_path / "answer.json"
    mlflow.models.predict(uri, input_data={"image": selftest.frames}, env_manager="local", output_path=str(out))
    told = json.loads(out.read_text())["predictions"]
    np.testing.assert_allclose(told["probabilities"], selftest.probabilities, atol=1e-6)
    needs = Path(mlflow.pyfunc.get_model_dependencies(uri)).read_text().split()
    assert set(serving_requirements()) <= set(needs)


def test_a_registration_that_was_killed_before_its_version_is_finished_by_find(registry: Registry, name: str) -> None:
    made = record(name, "e1")
    run_id = registry.begin(name, made.key, name="e1", tags={})
    registry.api.ensure_model = _killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        registry.log_challenger(run_id, made)
    afterwards = Registry(registry.api.url)
    assert afterwards.api.versions(name) == []

    version = afterwards.find(name, made.key)

    assert version is not None
    assert afterwards.engine_bytes(version) == made.engine
    assert afterwards.find(name, made.key) == version
    assert [v.number for v in afterwards.api.versions(name)] == ["1"]


def test_a_run_that_was_killed_while_training_is_marked_and_begun_anew(registry: Registry, name: str) -> None:
    lost = registry.begin(name, "key", name="e1", tags={})
    assert registry.find(name, "key") is None

    again = registry.begin(name, "another key: labels came in", name="e2", tags={})

    client = MlflowClient(registry.api.url)
    assert again != lost
    assert client.get_run(lost).info.status == "KILLED"
    assert client.get_run(again).info.status == "RUNNING"


def test_an_engine_that_was_exchanged_in_mlflow_is_refused(registry: Registry, name: str) -> None:
    version = register(registry, name, "e1")
    tampered = replace(version, tags={**version.tags, Tag.ENGINE_SHA256: "0" * 64})
    with pytest.raises(BadEngine, match="do not release it"):
        registry.engine_bytes(tampered)


def test_aliases_and_tags_are_those_that_mlflows_own_client_sees(registry: Registry, name: str) -> None:
    first, second = register(registry, name, "e1"), register(registry, name, "e2")
    client = MlflowClient(registry.api.url)

    registry.api.set_alias(name, "champion", first.number)
    client.set_registered_model_alias(name, "challenger", second.number)
    registry.api.tag_model(name, {"andon.channel.stable": "1"})
    registry.api.tag_version(name, "2", {"note": "x" * 9_000})

    assert registry.api.aliases(name) == {"champion": "1", "challenger": "2"}
    assert client.get_model_version_by_alias(name, "champion").version == "1"
    assert client.get_registered_model(name).tags == {"andon.channel.stable": "1"}
    assert registry.api.version(name, "2").tags["note"].endswith("…")
    registry.api.delete_alias(name, "challenger")
    registry.api.delete_alias(name, "challenger")
    registry.api.untag_model(name, "andon.channel.stable", "never there")
    registry.api.untag_version(name, "2", "note", "never there")
    assert registry.api.aliases(name) == {"champion": "1"}
    assert client.get_registered_model(name).tags == {}


def test_what_is_not_there_and_a_server_that_is_away_are_told_apart(registry: Registry) -> None:
    assert registry.api.model("nothing") is None
    assert registry.api.versions("nothing") == []
    with pytest.raises(RegistryError, match="has no version 7"):
        registry.api.version("nothing", "7")
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        RegistryApi(f"http://127.0.0.1:{free_port()}", timeout_seconds=2).model("nothing")


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
