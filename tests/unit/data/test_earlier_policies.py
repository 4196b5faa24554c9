"""Policy files of earlier versions are taken."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from data.policy import Policy
from edge_client.contract.errors import ConfigError

POLICIES = Path(__file__).parent / "earlier_policies"


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_value_that_an_earlier_version_knew_is_taken(path: Path) -> None:
    """Each file has every value that some earlier version had, set to that version's default."""
    document = tomllib.loads(path.read_text())
    former = document.pop("release", None)
    assert Policy.from_mapping(document)
    if former:  # its one section that is gone says where its meaning is now
        with pytest.raises(ConfigError, match=r"\[release\] is gone.*\[rollout\]"):
            Policy.load(path)
