"""The edge wheel names its packages one by one: none may be forgotten."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_edge_wheel_holds_every_package_of_the_edge_client():
    named = tomllib.loads((ROOT / "edge_client" / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "edge_client").rglob("__init__.py")}
    assert set(named) == found
