"""Whose turn it is on a link of limited bandwidth: the rules, without file or clock.

1. Everyone on the link asks for a small piece at a time and gets the moment from which it may be sent. Moments are
   given out in the order of asking, one piece's time apart: a token bucket seen from the other side (a virtual
   scheduling algorithm, ITU-T I.371), and round robin among those who always have something to send.
2. Up to `BURST_SECONDS` of unused time may be made up for.
3. A moment more than `LONGEST_AHEAD_SECONDS` away was given out by a clock that has begun anew (a restart of the
   machine): it is forgotten. Who dies with a moment in hand costs the others that one piece's time.
4. Bytes are counted by local day; a day that is not the counted one begins at 0. A clock that jumps may begin a day
   twice.
"""

from dataclasses import dataclass

BURST_SECONDS = 0.5
LONGEST_AHEAD_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """What all on one link share: from when it is free (monotonic seconds), and the bytes sent on a day."""

    free_at: float = 0.0
    day: int = 0
    used_bytes: int = 0

    def used_on(self, day: int) -> int:
        """Return the bytes sent on a day (rule 4)."""
        return self.used_bytes if day == self.day else 0


def reserve(state: LinkState, *, at: float, day: int, count: int, bytes_per_second: float) -> tuple[LinkState, float]:
    """Give out the next moment for a piece.

    Args:
        state: What is shared.
        at: Monotonic seconds, now.
        day: The local day's number.
        count: Bytes of the piece.
        bytes_per_second: The limit; 0 is none.

    Returns:
        The new state, and the seconds to wait before sending.

    >>> state, _ = reserve(LinkState(), at=100.0, day=1, count=1000, bytes_per_second=1000)
    >>> state, wait = reserve(state, at=100.0, day=1, count=1000, bytes_per_second=1000)
    >>> wait, state.used_on(1), state.used_on(2)
    (0.5, 2000, 0)
    """
    used = state.used_on(day) + count
    if bytes_per_second <= 0:
        return LinkState(free_at=state.free_at, day=day, used_bytes=used), 0.0
    free_at = state.free_at if state.free_at - at <= LONGEST_AHEAD_SECONDS else at
    begin = max(free_at, at - BURST_SECONDS)
    return LinkState(free_at=begin + count / bytes_per_second, day=day, used_bytes=used), max(0.0, begin - at)
