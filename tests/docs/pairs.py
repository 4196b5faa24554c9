"""Blocks and what the plan says of them, side by side."""

from __future__ import annotations

from tests.docs.blocks import SHELL, Block, blocks
from tests.docs.plan import PLAN
from tests.docs.steps import Step

PLANNED = {*SHELL, "python"}


def pairs(page: str) -> list[tuple[Block, Step]]:
    """(block, step) of a page, in its order.

    Raises:
        AssertionError: A block without a step, a step without a block, or another order.
    """
    found = [block for block in blocks() if block.page == page and block.language in PLANNED]
    steps = PLAN.get(page, ())
    for block, step in zip(found, steps, strict=False):
        first = block.lines[0]
        assert first.startswith(step.begins), (
            f"{block.where} begins {first!r}: tests/docs/plan.py expects {step.begins!r}"
        )
    assert len(found) == len(steps), (
        f"{page} has {len(found)} blocks to execute, tests/docs/plan.py speaks of {len(steps)}: add the step that "
        f"executes it, or declare why none does (first lines: {[block.lines[0][:40] for block in found]})"
    )
    return list(zip(found, steps, strict=True))
