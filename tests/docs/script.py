"""A block as a script of bash that says which line went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.docs.blocks import Block
from tests.docs.steps import Run

_HEAD = """\
set -uo pipefail
failed() { echo "line $1 ended with $2: $3" >&2; exit 1; }
at_work=()
end_all() { for one in "${at_work[@]}"; do kill -TERM "$one" 2>/dev/null; done; wait; }
trap end_all EXIT
expect() { [ "$2" = "$3" ] || failed "$1" "$2" "$4"; }
"""
_BACKGROUND = """\
{command} >background-{number}.log 2>&1 &
process=$!; at_work+=($process)
for _ in $(seq 600); do
    {until} && break
    kill -0 $process 2>/dev/null || {{ cat background-{number}.log >&2; wait $process; failed {number} $? early; }}
    sleep 0.5
done
{until} || {{ cat background-{number}.log >&2; failed {number} - "did not do what it is there for"; }}
"""
_END = """\
for one in "${at_work[@]}"; do kill -TERM "$one"; wait "$one"; expect end $? 0 "a process told to end"; done
"""


def script_of(block: Block, step: Run) -> str:
    """The script."""
    parts = [_HEAD]
    if step.beside:
        parts.append(f"{step.beside} >beside.log 2>&1 &\nat_work+=($!)\n")
    for number, line in enumerate(block.lines, 1):
        if _of(step.left_out, line) is not None:
            continue
        command = replaced(line, step)
        until = _of(step.until, line)
        if until is not None:
            parts.append(_BACKGROUND.format(command=without_comment(command), number=number, until=until))
            continue
        wanted = _of(step.ends, line) or 0
        parts.append(f"{command}\ncode=$?; expect {number} $code {wanted} {_quoted(line)}\n")
    return "".join([*parts, _END])


def replaced(line: str, step: Run) -> str:
    """The line with the reader's own words put in; longer ones first."""
    for old in sorted(step.replace, key=len, reverse=True):
        line = line.replace(old, step.replace[old])
    return line


def without_comment(line: str) -> str:
    """A line without the comment at its end.

    >>> without_comment("andon up   # starts it")
    'andon up'
    """
    return re.sub(r"\s+#[^'\"]*$", "", line)


def left_out(block: Block, step: Run) -> dict[str, str]:
    """Lines that are not executed, with the reasons."""
    return {line: why for line in block.lines if (why := _of(step.left_out, line)) is not None}


def _of(table: Mapping[str, Any], line: str) -> Any:
    for beginning, value in table.items():
        if line.strip().startswith(beginning):
            return value
    return None


def _quoted(line: str) -> str:
    return "'" + line.replace("'", "'\\''") + "'"
