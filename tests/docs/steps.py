"""How a block of the documentation is executed, or why it is not.

1. A `Run` is executed by bash, line by line, in the folder where the stack runs; words that stand for something of the
   reader's are replaced. A line that goes on for ever runs until what it is there for has happened.
2. A `Python` block is executed by an interpreter of its own; what it does not define itself is set up before it.
3. `Elsewhere`: another test executes it; that test is named.
4. `Declared`: nothing executes it; the reason is written here, and something else is checked.
5. The same for single lines of a `Run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Lines are named by how they begin.

    Attributes:
        begins: How the block's first line begins.
        replace: Text of the page -> what is put there.
        until: A line that would go on for ever -> the command that succeeds when it has done what it is there for.
        ends: A line -> its exit code, where that is not 0.
        left_out: A line -> why it is not executed.
        before: Commands of the test's own, to set up what the page takes for granted.
        beside: A command of the test's own that runs while the block is executed, such as a device's client.
        last: Executed after all other pages.
    """

    begins: str
    replace: Mapping[str, str] = field(default_factory=dict)
    until: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    beside: str = ""
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """A block of Python: `before` sets up what it takes for granted, `after` asserts what came of it."""

    begins: str
    replace: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """`test` executes it; `words` are found in that file."""

    begins: str
    test: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """`check` is executed by bash at the repository's root instead."""

    begins: str
    reason: str
    check: str


Step = Run | Python | Elsewhere | Declared
