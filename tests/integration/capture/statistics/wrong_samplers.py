"""Samplers with one tempting mistake each: the tests of the totals must see every one of them."""

from __future__ import annotations

import heapq

from edge_client.sampler import Outcome, Sampler


class SkipsWhatDoesNotFit(Sampler):
    """From the highest priority down a frame that does not fit is skipped and the next one tried; τ is what follows."""

    def offer(self, window: int, key: str, *, weight: float, u: float, size: int) -> Outcome:
        target = self._pool[window]
        target.sizes[key] = size
        target.heap.append((weight / u, key))
        return Outcome(kept=True)

    def keys(self, window: int) -> set[str]:
        target, used, kept = self._pool[window], 0, set()
        for _, key in sorted(target.heap, reverse=True):
            if used + target.sizes[key] <= target.byte_budget:
                used += target.sizes[key]
                kept.add(key)
        return kept

    def threshold(self, window: int) -> float:
        kept = self.keys(window)
        lowest = min((q for q, key in self._pool[window].heap if key in kept), default=0.0)
        return max((q for q, key in self._pool[window].heap if q < lowest), default=0.0)


class LowestKeptIsThreshold(Sampler):
    """τ as the lowest priority kept, instead of the highest one turned away."""

    def threshold(self, window: int) -> float:
        found = self._pool[window]
        return found.heap[0][0] if found.heap and found.threshold > 0 else found.threshold


class AdmitsWhatFits(Sampler):
    """A frame below τ comes in because there happens to be room."""

    def offer(self, window: int, key: str, *, weight: float, u: float, size: int) -> Outcome:
        target = self._pool[window]
        if weight / u > target.threshold or target.bytes + size > target.byte_budget:
            return super().offer(window, key, weight=weight, u=u, size=size)
        target.sizes[key] = size
        target.bytes += size
        heapq.heappush(target.heap, (weight / u, key))
        return Outcome(kept=True)


class RaisesTheEvictedWindowAlone(Sampler):
    """The pool takes the lowest of all windows and tells only the window it came from."""

    def _shrink(self) -> list[str]:
        before = {number: w.threshold for number, w in self._pool.items()}
        held = {key: (number, q) for number, w in self._pool.items() for q, key in w.heap}
        gone = super()._shrink()
        for number, window in self._pool.items():
            own = [held[key][1] for key in gone if held[key][0] == number]
            window.threshold = max([before[number], *own])
        return gone
