"""A block as a script: what goes wrong in it is told, and nothing of it is left running."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import Block
from tests.docs.script import script_of
from tests.docs.steps import Run


def executed(tmp_path: Path, text: str, step: Run) -> subprocess.CompletedProcess[str]:
    script = script_of(Block(page="p.md", line=1, language="sh", text=text), step)
    return subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)


def test_lines_share_what_they_set_and_their_output_is_there(tmp_path: Path) -> None:
    done = executed(tmp_path, "NAME=line-1\necho it is $NAME  # a comment\n", Run(begins=""))
    assert (done.returncode, done.stdout) == (0, "it is line-1\n")


@pytest.mark.parametrize("line", ["false", "cat missing.txt | cat", "echo $unset_name"])
def test_a_line_that_fails_is_named_and_the_rest_is_not_executed(tmp_path: Path, line: str) -> None:
    done = executed(tmp_path, f"true\n{line}\ntouch after\n", Run(begins=""))
    assert done.returncode != 0
    assert not (tmp_path / "after").exists()
    if "unset" not in line:
        assert f"line 2 ended with 1: {line}" in done.stderr


def test_an_exit_code_that_is_expected_must_come(tmp_path: Path) -> None:
    assert executed(tmp_path, "false\n", Run(begins="", ends={"false": 1})).returncode == 0
    assert executed(tmp_path, "true\n", Run(begins="", ends={"true": 1})).returncode == 1


def test_a_line_for_ever_runs_until_it_has_done_its_work_and_is_ended(tmp_path: Path) -> None:
    (tmp_path / "serve.sh").write_text('trap "touch ended; exit 0" TERM\ntouch ready\nwhile :; do sleep 0.05; done\n')
    step = Run(begins="", until={"bash serve.sh": "test -e ready"})
    done = executed(tmp_path, "bash serve.sh  # for ever\ntest -e ready && ! test -e ended\n", step)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ended").exists()


def test_a_line_for_ever_that_ends_early_is_told_with_what_it_said(tmp_path: Path) -> None:
    (tmp_path / "serve.sh").write_text("echo no such camera >&2\nexit 3\n")
    done = executed(tmp_path, "bash serve.sh\n", Run(begins="", until={"bash serve.sh": "test -e ready"}))
    assert done.returncode == 1
    assert "no such camera" in done.stderr
