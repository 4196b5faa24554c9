"""Priority sampling in windows under a common pool: the rules, without disk, clock or randomness.

A frame comes with its weight w > 0, a number u drawn from U(0, 1] and the bytes that it takes; its priority is q =
w/u. The sampler says which frames stay and holds each window's threshold τ, from which an unbiased estimate follows:
p = min(1, w/τ) (Duffield, Lund & Thorup 2007, §2; byte budgets and substitutable thresholds: Ting 2022).

1.  A window begins with τ = 0. w, u and bytes of a frame never change.
2.  OFFER: q ≤ τ of its window is rejected, even if it would fit. Anything else is inserted; no frame is skipped for
    its size.
3.  WINDOW: while a window holds more than its budget B, its lowest q is evicted and its τ is raised to that q.
4.  POOL: while everything together exceeds G, the lowest q over ALL windows in the pool is evicted, and the τ of
    EVERY one of them is raised to that q.
5.  τ never falls. A survivor's q lies above its window's τ, save after rule 6.
6.  OVERLOAD: a frame that could not be taken is an eviction: τ rises to its q. Survivors below the new τ stay while
    there is room (they no longer count for estimates) and are the first to go.
7.  A sealed window gets no more frames, but stays in the pool: rule 4 goes on evicting from it and raising its τ.
8.  A settled window (its record is made, τ is final) leaves the pool; its bytes stay charged to G until it is
    released.
9.  After every call bytes ≤ B in each window, and all bytes ≤ G unless what is beyond the sampler's reach (settled
    windows and `other_bytes`) already exceeds G alone.

With equal priorities all that equal the evicted q go, so that rule 5 is strict.

>>> sampler = Sampler(pool_bytes=1000)
>>> sampler.open_window(1, byte_budget=100)
>>> [sampler.offer(1, key, weight=1.0, u=u, size=60).kept for key, u in (("a", 0.5), ("b", 0.25), ("c", 0.9))]
[True, True, False]
>>> sampler.threshold(1), sorted(sampler.keys(1))
(2.0, ['b'])
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an offer, or a smaller pool, led to.

    Attributes:
        kept: Whether the offered frame is among the survivors.
        evicted: Keys of frames that had been kept and now go.
    """

    kept: bool
    evicted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A frame that the sampler holds; what `restore` needs of it."""

    key: str
    priority: float
    size: int


@dataclass(slots=True)
class _Window:
    byte_budget: int
    threshold: float = 0.0
    bytes: int = 0
    sealed: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    heap: list[tuple[float, str]] = field(default_factory=list)


class Sampler:
    """State of all windows that are not yet released.

    Args:
        pool_bytes: G, most bytes of all windows together.
    """

    def __init__(self, *, pool_bytes: int) -> None:
        self._pool_bytes = pool_bytes
        self._pool: dict[int, _Window] = {}
        self._settled: dict[int, int] = {}
        self._other_bytes = 0

    @property
    def total_bytes(self) -> int:
        """Everything that is charged to G."""
        return sum(w.bytes for w in self._pool.values()) + sum(self._settled.values()) + self._other_bytes

    @property
    def pool_bytes(self) -> int:
        """G."""
        return self._pool_bytes

    def open_window(self, window: int, *, byte_budget: int) -> None:
        """Begin a window with τ = 0 (rule 1)."""
        if window in self._pool or window in self._settled:
            raise ValueError(f"window {window} is open already")
        self._pool[window] = _Window(byte_budget=byte_budget)

    def restore(
        self,
        window: int,
        *,
        byte_budget: int,
        threshold: float,
        held: Iterable[Held],
        sealed: bool = True,
        settled: bool = False,
    ) -> None:
        """Take over a window from a spool."""
        found = _Window(byte_budget=byte_budget, threshold=threshold, sealed=sealed)
        for frame in held:
            found.sizes[frame.key] = frame.size
            found.bytes += frame.size
            found.heap.append((frame.priority, frame.key))
        heapq.heapify(found.heap)
        if settled:
            self._settled[window] = found.bytes
        else:
            self._pool[window] = found

    def threshold(self, window: int) -> float:
        """Return a window's τ."""
        return self._pool[window].threshold

    def thresholds(self) -> Mapping[int, float]:
        """Return τ of every window in the pool."""
        return {number: w.threshold for number, w in self._pool.items()}

    def keys(self, window: int) -> set[str]:
        """Return the keys of a window's survivors."""
        return set(self._pool[window].sizes)

    def window_bytes(self, window: int) -> int:
        """Return the bytes a window holds."""
        return self._pool[window].bytes

    def __contains__(self, window: int) -> bool:
        """Tell whether a window is in the pool."""
        return window in self._pool

    def rejects(self, window: int, priority: float) -> bool:
        """Tell whether rule 2 turns such a frame away, before the work of encoding it."""
        return priority <= self._pool[window].threshold

    def offer(self, window: int, key: str, *, weight: float, u: float, size: int) -> Outcome:
        """Offer one frame (rules 2, 3 and 4)."""
        target = self._pool[window]
        if target.sealed:
            raise ValueError(f"window {window} is sealed: no frame can be offered to it")
        if not (weight > 0 and 0 < u <= 1 and size >= 0):
            raise ValueError(f"weight {weight}, u {u}, size {size}: expected w > 0, 0 < u ≤ 1, size ≥ 0")
        priority = weight / u
        if priority <= target.threshold:
            return Outcome(kept=False)
        target.sizes[key] = size
        target.bytes += size
        heapq.heappush(target.heap, (priority, key))
        gone: list[str] = []
        while target.bytes > target.byte_budget:
            gone += _evict_lowest(target)
        gone += self._shrink()
        return Outcome(kept=key not in gone, evicted=tuple(k for k in gone if k != key))

    def overload(self, window: int, priority: float) -> None:
        """Account for a frame that could not be taken (rule 6)."""
        target = self._pool[window]
        target.threshold = max(target.threshold, priority)

    def drop(self, window: int, key: str) -> None:
        """Take a frame out because it could not be stored: an eviction of rule 6."""
        self.overload(window, self.forget(window, key))

    def forget(self, window: int, key: str) -> float:
        """Take a frame out that was damaged after it was stored: non-response, so τ stays. Returns its q."""
        target = self._pool[window]
        entry = next(e for e in target.heap if e[1] == key)
        target.heap.remove(entry)
        heapq.heapify(target.heap)
        target.bytes -= target.sizes.pop(key)
        return entry[0]

    def set_pool_bytes(self, pool_bytes: int, *, other_bytes: int = 0) -> tuple[str, ...]:
        """Change G, or the bytes besides the sample that are charged to it; evict what no longer fits (rule 4).

        Returns:
            The keys of the evicted frames.
        """
        self._pool_bytes, self._other_bytes = pool_bytes, other_bytes
        return tuple(self._shrink())

    def seal(self, window: int) -> None:
        """End a window's frames (rule 7)."""
        self._pool[window].sealed = True

    def settle(self, window: int) -> float:
        """Take a window out of the pool and return its final τ (rule 8)."""
        found = self._pool.pop(window)
        self._settled[window] = found.bytes
        return found.threshold

    def release(self, window: int) -> None:
        """Stop charging a window's bytes: its record is up (rule 8)."""
        del self._settled[window]

    def discard(self, window: int) -> None:
        """Forget a window that never had a frame."""
        del self._pool[window]

    def _shrink(self) -> list[str]:
        gone: list[str] = []
        total = self.total_bytes
        while total > self._pool_bytes:
            holders = [w for w in self._pool.values() if w.heap]
            if not holders:
                break
            lowest = min(holders, key=lambda w: w.heap[0])
            priority, before = lowest.heap[0][0], lowest.bytes
            gone += _evict_lowest(lowest)
            total -= before - lowest.bytes
            for window in self._pool.values():
                window.threshold = max(window.threshold, priority)
                if window is not lowest and window.heap and window.heap[0][0] == priority:
                    before = window.bytes
                    gone += _evict_lowest(window)
                    total -= before - window.bytes
        return gone


def _evict_lowest(window: _Window) -> list[str]:
    """Evict a window's lowest priority (and its equals) and raise τ to it."""
    priority = window.heap[0][0]
    gone: list[str] = []
    while window.heap and window.heap[0][0] == priority:
        _, key = heapq.heappop(window.heap)
        window.bytes -= window.sizes.pop(key)
        gone.append(key)
    window.threshold = max(window.threshold, priority)
    return gone
