from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from data.policy import Policy
from data.workspace import Workspace
from edge_client.contract.errors import ConfigError


def test_a_missing_policy_file_means_the_defaults(tmp_path: Path) -> None:
    assert Policy.load(tmp_path / "policy.toml") == Policy()


def test_the_explained_defaults_are_a_policy_file_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(Policy.default_toml())
    assert Policy.load(path) == Policy()
    uncommented = "\n".join(line.removeprefix("# ") for line in Policy.default_toml().splitlines()[2:])
    assert Policy.from_mapping(tomllib.loads(uncommented)) == Policy()


def test_what_is_written_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        "[retrain]\nmin_new_labels = 5\nauto_promote = true\n[split]\nholdout_share = 0\n[gate]\nmargin = 0.02\n"
        "[learning]\nescape_cost = 50\n"
    )
    policy = Policy.load(path)
    assert (policy.retrain.min_new_labels, policy.retrain.auto_promote) == (5, True)
    assert (policy.split.holdout_share, policy.gate) == (0.0, {"margin": 0.02})
    assert policy.learning == {"escape_cost": 50}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[release]\nmin_frames = 3\n", r"section \[release\] is gone: .* \[rollout\]"),
        ("[retrian]\n", r"unknown section \[retrian\]; known are"),
        ("[retrain]\nmin_labels = 5\n", r"\[retrain\]: unknown key 'min_labels'; known are \['auto_promote'"),
        ("[retrain]\nmin_new_labels = 'many'\n", r"min_new_labels = 'many': expected a int"),
        ("[retrain]\nmin_new_labels = true\n", "expected a int"),
        ("[retrain]\nmin_new_labels = 0\n", "expected at least 1"),
        ("[split]\ngolden_share = 1.5\n", "expected 0.0 to 0.9"),
        ("[split]\ngolden_share = nan\n", "expected 0.0 to 0.9"),
        ("retrain = 3\n", "expected a section"),
        ("[gate]\nx = [1]\n", "expected a number, a text, true or false"),
        ("[learning]\nmeasure = ['a']\n", r"\[learning\] measure = \['a'\]: expected a number, a text"),
        ("[retrain\n", "is not TOML"),
    ],
)
def test_a_mistake_in_the_policy_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Policy.load(path)


def stack(home: Path) -> None:
    home.mkdir()
    urls = {"bucket": "http://127.0.0.1:8333", "mlflow": "http://127.0.0.1:5000"}
    (home / "stack.json").write_text(json.dumps({"urls": urls, "bucket": {"name": "andon"}, "pids": {}}))
    (home / "secrets.json").write_text(json.dumps({"access_key_id": "root", "secret_access_key": "hidden-key"}))


def test_a_workspace_knows_where_its_parts_are(tmp_path: Path) -> None:
    home = tmp_path / "home"
    stack(home)
    workspace = Workspace.open(home, environ={})
    assert workspace.bucket_settings.endpoint_url == "http://127.0.0.1:8333"
    assert (workspace.mlflow_url, workspace.console_url) == ("http://127.0.0.1:5000", None)
    assert workspace.catalog() is workspace.catalog()
    assert (home / "catalog.db").exists()
    assert workspace.policy() == Policy()
    assert "hidden-key" not in repr(workspace)


def test_the_home_directory_comes_from_the_environment(tmp_path: Path) -> None:
    stack(tmp_path / "elsewhere")
    environ = {"ANDON_HOME": str(tmp_path / "elsewhere"), "ANDON_CATALOG_URL": "postgresql://db/andon"}
    workspace = Workspace.open(environ=environ)
    assert (workspace.home, workspace.catalog_url) == (tmp_path / "elsewhere", "postgresql://db/andon")


def test_without_a_stack_the_error_says_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run `andon up`"):
        Workspace.open(tmp_path, environ={})


def test_a_half_written_stack_file_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    stack(home)
    (home / "stack.json").write_text('{"urls": {')
    with pytest.raises(ConfigError, match=r"stack\.json: cannot be read"):
        Workspace.open(home, environ={})


def test_the_heading_that_an_earlier_version_wrote_does_no_harm(tmp_path):
    (tmp_path / "policy.toml").write_text("[release]  # When a staged rollout goes on\n# canary_devices = 1\n")
    assert Policy.load(tmp_path / "policy.toml") == Policy()
