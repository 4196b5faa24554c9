"""Every block of the documentation is executed as it is written, page by page, against one real stack."""

from __future__ import annotations

import pytest

from tests.docs.blocks import ROOT, Block
from tests.docs.pairs import pairs
from tests.docs.plan import PLAN
from tests.docs.script import script_of
from tests.docs.steps import Declared, Python, Run, Step
from tests.docs.world import World

ALL = [(block, step) for page in PLAN for block, step in pairs(page)]
LAST = [(block, step) for block, step in ALL if isinstance(step, Run) and step.last]
TO_EXECUTE = [(block, step) for block, step in ALL if isinstance(step, Run | Python) and (block, step) not in LAST]


def _named(value: object) -> str | None:
    return value.where if isinstance(value, Block) else ""


@pytest.mark.parametrize(("block", "step"), TO_EXECUTE + LAST, ids=_named)
def test_a_block_does_what_the_page_says(world: World, block: Block, step: Run | Python) -> None:
    if isinstance(step, Run):
        if step.before:
            world.bash("set -euo pipefail\n" + step.before)
        world.bash(script_of(block, step))
        return
    text = block.text
    for old, new in step.replace.items():
        assert old in text, f"{block.where} has no {old!r}"
        text = text.replace(old, new)
    world.python("\n".join([step.before, text, step.after]))


@pytest.mark.parametrize(("block", "step"), [pair for pair in ALL if isinstance(pair[1], Declared)], ids=_named)
def test_a_block_that_is_only_declared_holds_what_can_be_checked(world: World, block: Block, step: Step) -> None:
    assert isinstance(step, Declared)
    world.bash("set -euo pipefail\n" + step.check, folder=ROOT)
