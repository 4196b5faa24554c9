"""Nothing in the documentation goes unread: each block is executed, or it is written down why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, SHELL, andon_commands, blocks, pages
from tests.docs.pairs import pairs
from tests.docs.parsers import read_toml
from tests.docs.plan import PLAN
from tests.docs.script import replaced, script_of
from tests.docs.steps import Declared, Elsewhere, Run

BLOCKS = blocks()
KINDS = {*SHELL, "python", "toml", "text"}


def test_every_block_says_what_it_is() -> None:
    assert len(BLOCKS) > 90
    strange = [f"{block.where}: {block.language or 'no language'}" for block in BLOCKS if block.language not in KINDS]
    assert not strange


@pytest.mark.parametrize("page", [page for page in pages() if "/adr/" not in page])
def test_every_block_of_shell_and_python_has_its_step(page: str) -> None:
    pairs(page)


def test_decisions_have_no_blocks_to_execute() -> None:
    assert [block.where for block in BLOCKS if "/adr/" in block.page and block.language != "text"] == []


def test_the_plan_speaks_of_pages_that_are_there() -> None:
    assert set(PLAN) <= set(pages())


def test_what_is_executed_elsewhere_is_there() -> None:
    for steps in PLAN.values():
        for step in steps:
            if isinstance(step, Elsewhere):
                assert step.words in (ROOT / step.test).read_text(encoding="utf-8"), step


def test_what_is_not_executed_has_its_reason() -> None:
    for steps in PLAN.values():
        for step in steps:
            reasons = [step.reason] if isinstance(step, Declared) else []
            reasons += step.left_out.values() if isinstance(step, Run) else []
            assert all(len(reason) > 20 for reason in reasons), step


def test_what_a_step_says_of_a_line_is_of_a_line_that_is_there() -> None:
    for page in PLAN:
        for block, step in pairs(page):
            if isinstance(step, Run):
                for beginning in {*step.until, *step.ends, *step.left_out}:
                    assert any(line.startswith(beginning) for line in block.lines), (block.where, beginning)
                for old in step.replace:
                    assert any(old in line for line in block.lines), (block.where, old)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "toml"], ids=lambda block: block.where
)
def test_the_product_reads_each_file_that_is_shown(block, tmp_path: Path) -> None:
    read_toml(block.text, tmp_path)


def test_a_script_replaces_leaves_out_and_expects() -> None:
    block = next(block for block in BLOCKS if block.page == "docs/serving.md" and block.language == "sh")
    step = Run(begins="", replace={"andon.toml": "X"}, left_out={"pip": "no index"}, ends={"curl": 3})
    script = script_of(block, step)
    assert "pip install" not in script
    assert "--config X" in script
    assert "expect 3 $code 3" in script
    assert replaced("a.toml andon.toml", step) == "a.toml X"


def test_commands_are_found_in_a_line_of_shell() -> None:
    assert list(andon_commands("source x; andon up && cat 'a b' | andon-edge run --source - # andon down")) == [
        ["andon", "up"],
        ["andon-edge", "run", "--source", "-"],
    ]
