"""`andon inputs` on a real bucket and catalog: choices are compared, one is set, the next trunk is of that choice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.imports import import_samples
from data.inspections import change_settings, create_inspection, get_inspection
from data.snapshots import take_snapshot
from data.sources.sample import SourceSample, Stage
from data.workspace import Workspace
from edge_client.contract.errors import ConfigError, NotFound
from flows.input_settings import input_of
from flows.trunks import MAX_TRUNK_BYTES, trunk_key, trunk_of
from infra.cli.main import main
from tests.integration.flows.line import CLASSES, part
from training.input_choice import DEFAULT_CHOICE, InputChoice
from training.trunk import Trunk

INSPECTION = "looked-at"
SMALL = "plant_nets:Small@64"


@pytest.fixture(scope="module")
def plant_nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The backbone of the documentation, where Python finds it."""
    page = (Path(__file__).parents[3] / "docs" / "inputs.md").read_text()
    folder = tmp_path_factory.mktemp("site")
    (folder / "plant_nets.py").write_text(page.split("```python\n", 1)[1].split("```", 1)[0])
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("plant_nets", None)


def test_choices_are_compared_and_one_that_is_set_makes_the_next_trunk(
    workspace: Workspace, plant_nets: None, capsys: pytest.CaptureFixture[str]
) -> None:
    home, catalog = ["--home", str(workspace.home)], workspace.catalog()
    create_inspection(catalog, INSPECTION, [("ok", "ok"), ("crack", "defect")])
    samples = (
        SourceSample(
            image=part(seed, cracked=seed % 4 == 0, field=False), media_type="image/png",
            label=CLASSES[seed % 4 == 0], path=f"{seed}.png", stage=Stage.FACTORY,
        )
        for seed in range(70_000, 70_100)
    )  # fmt: skip
    import_samples(catalog, workspace.lake(), INSPECTION, samples)
    assert main(["inputs", INSPECTION, *home, "--json", "--frames", "60", "--try", SMALL, "--try", f"{SMALL}/2x2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["choice"] for row in told["choices"]] == [str(DEFAULT_CHOICE), SMALL, f"{SMALL}/2x2"]
    assert (told["frames"], told["of"]) == (60, told["of"])
    assert 60 <= told["of"] <= 100
    assert all(row["ms_a_frame"] > 0 and row["engine_bytes"] > 0 for row in told["choices"])
    assert told["choices"][0]["difference"] is None
    assert told["choices"][1]["difference"]["n"] == 60
    with pytest.raises(NotFound):  # nothing is changed by comparing
        workspace.bucket().get(trunk_key(INSPECTION), max_bytes=MAX_TRUNK_BYTES)
    assert input_of(get_inspection(catalog, INSPECTION), workspace.policy()) == DEFAULT_CHOICE

    snapshot = take_snapshot(catalog, workspace.lake(), INSPECTION, policy=workspace.policy())
    change_settings(catalog, INSPECTION, {"variant": "fp32"})
    first = trunk_of(workspace, snapshot)
    assert first.choice == DEFAULT_CHOICE
    assert trunk_of(workspace, snapshot).id == first.id

    assert main(["inputs", INSPECTION, *home, "--set", f"{SMALL}/region=0,0.1,1,1"]) == 0
    assert "from the next retrain on" in capsys.readouterr().out
    second = trunk_of(workspace, snapshot)
    assert second.choice == InputChoice.parse(f"{SMALL}/region=0,0.1,1,1")
    stored = workspace.bucket().get(trunk_key(INSPECTION), max_bytes=MAX_TRUNK_BYTES)
    assert Trunk.load(stored).id == second.id == trunk_of(workspace, snapshot).id

    assert main(["inputs", INSPECTION, *home, "--set", "resnet@224"]) == 1
    assert "backbone 'resnet' is unknown" in capsys.readouterr().err
    assert input_of(get_inspection(catalog, INSPECTION), workspace.policy()) == second.choice
    change_settings(catalog, INSPECTION, {"input": {"side": 225, "tiles": [9, 9]}})
    with pytest.raises(ConfigError, match="81 tiles"):
        trunk_of(workspace, snapshot)
