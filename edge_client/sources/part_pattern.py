r"""Part id and station from a frame's name, by a regular expression with the named groups ``part`` and ``station``.

>>> whose = part_pattern(r"(?P<station>[a-z]+)_(?P<part>\d+)")
>>> whose(SourceFrame(name="aoi_0042_left.png", image=b""))
Whose(part_id='0042', station='aoi')

A name that does not match has no part id: a wrong one would be worse than none.
"""

import re

from edge_client.contract.errors import ConfigError
from edge_client.sources.frame import PartOf, SourceFrame, Whose

_GROUPS = {"part", "station"}
_MOST_CHARACTERS = 256  # what a part id may have


def part_pattern(pattern: str) -> PartOf:
    """Return the function that reads names by `pattern`; it may match anywhere in the name.

    Raises:
        ConfigError: Not a regular expression, or one without either group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"part pattern {pattern!r} is no regular expression: {error}") from error
    groups = set(compiled.groupindex)
    if not groups & _GROUPS or groups - _GROUPS:
        raise ConfigError(
            f"part pattern {pattern!r} has the named groups {sorted(groups)}: expected (?P<part>…), (?P<station>…) "
            "or both"
        )

    def whose(frame: SourceFrame) -> Whose:
        found = compiled.search(frame.name)
        told = {name: _text(value) for name, value in found.groupdict().items() if value} if found else {}
        return Whose(part_id=told.get("part"), station=told.get("station"))

    return whose


def stem(frame: SourceFrame) -> Whose:
    """Take a file's name without its suffix as the part id: what a folder does without a pattern."""
    return Whose(part_id=_text(frame.name.rpartition(".")[0]) or None)


def _text(name: str) -> str:
    """A part id of a file's name, which need not be UTF-8: what is not becomes a question mark."""
    return name[:_MOST_CHARACTERS].encode("utf-8", "replace").decode()


def nobody(frame: SourceFrame) -> Whose:
    """Know nothing: what a video and a stream do without a pattern."""
    return Whose()
