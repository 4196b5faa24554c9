"""What a target of fuzzing is, and the verdict on one input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from edge_client.contract.errors import AndonError

SECONDS = 5
MEMORY_BYTES = 2 << 30
LONGEST_MESSAGE = 2_000


class Verdict(Enum):
    """What became of one input that did not crash."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader of foreign bytes.

    Attributes:
        name: As given on the command line.
        read: Reads one input; raises what the reader raises, and AssertionError when something accepted is of no use.
        refusals: The errors that the reader's docstring names.
        seeds: Makes valid documents (a few kB each, the same in every run).
        mutate: Changes one input with knowledge of its format.
        tokens: Byte strings of the format, for mutations that know none.
    """

    name: str
    read: Callable[[bytes], object]
    refusals: tuple[type[AndonError], ...]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    tokens: tuple[bytes, ...] = field(default=())


def run_one(target: Target, data: bytes) -> Verdict:
    """Read one input by rules 2 and 3.

    Raises:
        Exception: whatever is not a documented refusal: the crash.
    """
    try:
        target.read(data)
    except target.refusals as error:
        message = str(error)
        if len(message) > LONGEST_MESSAGE:
            raise AssertionError(f"{type(error).__name__} has {len(message)} characters: {message[:60]!r}…") from error
        message.encode()
        return Verdict.REFUSED
    return Verdict.ACCEPTED
