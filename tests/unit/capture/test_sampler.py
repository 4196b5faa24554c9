"""The sampler against references that see the whole stream. Numbers in the names are those of the module's rules."""

from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_client.contract.inclusion import counts_for_estimates, inclusion_probability
from edge_client.sampler import Held, Sampler

weights = st.floats(min_value=1e-3, max_value=10)
draws = st.floats(min_value=1e-3, max_value=1, exclude_min=True)
sizes = st.integers(min_value=0, max_value=60)


@dataclass
class Frame:
    key: str
    window: int
    q: float
    size: int


@given(frames=st.lists(st.tuples(weights, draws, sizes), max_size=60), budget=st.integers(0, 200))
def test_one_window_keeps_the_longest_run_of_highest_priorities_that_fits(frames, budget):
    """Rules 1-3, 5: in any order, what stays is what an offline sort by q keeps; τ is the first that doesn't fit."""
    sampler = Sampler(pool_bytes=10**9)
    sampler.open_window(1, byte_budget=budget)
    for i, (w, u, size) in enumerate(frames):
        sampler.offer(1, str(i), weight=w, u=u, size=size)
    ranked = sorted(((w / u, size, str(i)) for i, (w, u, size) in enumerate(frames)), reverse=True)
    kept, used, threshold = set(), 0, 0.0
    for q, size, key in ranked:
        if used + size > budget:
            threshold = q
            break
        kept.add(key)
        used += size
    # equal priorities go together
    kept = {key for q, _, key in ranked if key in kept and q > threshold}
    assert sampler.keys(1) == kept
    assert sampler.threshold(1) == threshold


@given(frames=st.lists(st.tuples(st.integers(1, 4), weights, draws, sizes), max_size=60), pool=st.integers(0, 300))
def test_windows_that_share_a_pool_keep_the_highest_priorities_of_all(frames, pool):
    """Rule 4: with windows that are all open from the start, the pool behaves as one window; every τ is the same."""
    sampler = Sampler(pool_bytes=pool)
    for window in range(1, 5):
        sampler.open_window(window, byte_budget=10**9)
    for i, (window, w, u, size) in enumerate(frames):
        sampler.offer(window, str(i), weight=w, u=u, size=size)
    ranked = sorted(((w / u, size, str(i)) for i, (_, w, u, size) in enumerate(frames)), reverse=True)
    used, threshold = 0, 0.0
    for q, size, _ in ranked:
        if used + size > pool:
            threshold = q
            break
        used += size
    assert {k for w in range(1, 5) for k in sampler.keys(w)} == {key for q, _, key in ranked if q > threshold}
    assert set(sampler.thresholds().values()) == {threshold}


class SamplerMachine(RuleBasedStateMachine):
    """Random histories beside a literal, slow model that keeps every frame that was ever offered."""

    def __init__(self):
        super().__init__()
        self.pool = 150
        self.other = 0
        self.sampler = Sampler(pool_bytes=self.pool)
        self.frames: dict[str, Frame] = {}
        self.kept: set[str] = set()
        self.tau: dict[int, float] = {}
        self.budget: dict[int, int] = {}
        self.open: set[int] = set()
        self.settled: dict[int, int] = {}
        self.overloaded: set[int] = set()
        self.pool_evictions: list[tuple[float, frozenset[int]]] = []
        self.number = 0

    # -- the model

    def used(self, window=None):
        keys = [k for k in self.kept if window is None or self.frames[k].window == window]
        return sum(self.frames[k].size for k in keys)

    def lowest(self, windows):
        held = [self.frames[k] for k in self.kept if self.frames[k].window in windows]
        return min(f.q for f in held) if held else None

    def evict(self, windows, q):
        gone = {k for k in self.kept if self.frames[k].window in windows and self.frames[k].q == q}
        self.kept -= gone

    def shrink(self):
        while self.used() + sum(self.settled.values()) + self.other > self.pool and self.kept:
            q = self.lowest(self.tau.keys())
            self.evict(self.tau.keys(), q)
            self.pool_evictions.append((q, frozenset(self.tau)))
            for window in self.tau:
                self.tau[window] = max(self.tau[window], q)

    # -- what can happen

    @rule(budget=st.integers(0, 120))
    def open_a_window(self, budget):
        self.number += 1
        self.sampler.open_window(self.number, byte_budget=budget)
        self.tau[self.number], self.budget[self.number] = 0.0, budget
        self.open.add(self.number)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), w=weights, u=draws, size=sizes)
    def offer(self, data, w, u, size):
        window = data.draw(st.sampled_from(sorted(self.open)))
        key = f"f{len(self.frames)}"
        self.frames[key] = Frame(key, window, w / u, size)
        before = set(self.kept)
        if w / u > self.tau[window]:
            self.kept.add(key)
            while self.used(window) > self.budget[window]:
                q = self.lowest({window})
                self.evict({window}, q)
                self.tau[window] = max(self.tau[window], q)
            self.shrink()
        outcome = self.sampler.offer(window, key, weight=w, u=u, size=size)
        assert outcome.kept == (key in self.kept)
        assert set(outcome.evicted) == before - self.kept

    @precondition(lambda self: self.open)
    @rule(data=st.data(), q=st.floats(0.01, 100))
    def overload(self, data, q):
        window = data.draw(st.sampled_from(sorted(self.open)))
        self.tau[window] = max(self.tau[window], q)
        self.overloaded.add(window)
        self.sampler.overload(window, q)

    @rule(pool=st.integers(0, 300), other=st.integers(0, 50))
    def the_disk_fills_or_empties(self, pool, other):
        self.pool, self.other = pool, other
        before = set(self.kept)
        self.shrink()
        assert set(self.sampler.set_pool_bytes(pool, other_bytes=other)) == before - self.kept

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def seal(self, data):
        window = data.draw(st.sampled_from(sorted(self.open)))
        self.open.discard(window)
        self.sampler.seal(window)

    @precondition(lambda self: set(self.tau) - self.open)
    @rule(data=st.data())
    def settle(self, data):
        window = data.draw(st.sampled_from(sorted(set(self.tau) - self.open)))
        self.settled[window] = self.used(window)
        self.kept = {k for k in self.kept if self.frames[k].window != window}
        assert self.sampler.settle(window) == self.tau.pop(window)

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def release(self, data):
        window = data.draw(st.sampled_from(sorted(self.settled)))
        del self.settled[window]
        self.sampler.release(window)

    @precondition(lambda self: not self.open and self.tau)
    @rule()
    def the_process_is_killed_and_restarts(self):
        old = self.sampler
        self.sampler = Sampler(pool_bytes=self.pool)
        for window, tau in self.tau.items():
            held = [Held(key=k, priority=self.frames[k].q, size=self.frames[k].size) for k in old.keys(window)]
            self.sampler.restore(window, byte_budget=self.budget[window], threshold=tau, held=held)
        for window, size in self.settled.items():
            self.sampler.restore(
                window, byte_budget=0, threshold=0, held=[Held(key=f"s{window}", priority=1, size=size)], settled=True
            )
        self.sampler.set_pool_bytes(self.pool, other_bytes=self.other)

    # -- what always holds

    @invariant()
    def it_equals_the_model(self):
        assert dict(self.sampler.thresholds()) == self.tau
        for window in self.tau:
            assert self.sampler.keys(window) == {k for k in self.kept if self.frames[k].window == window}

    @invariant()
    def a_frame_is_kept_iff_its_priority_lies_above_its_threshold(self):
        for frame in self.frames.values():
            if frame.window not in self.tau:
                continue
            above = frame.q > self.tau[frame.window]
            if frame.window in self.overloaded:
                assert not above or frame.key in self.kept
            else:
                assert (frame.key in self.kept) == above

    @invariant()
    def bytes_stay_within_both_budgets(self):
        for window in self.tau:
            assert self.sampler.window_bytes(window) <= self.budget[window]
        if sum(self.settled.values()) + self.other <= self.pool:
            assert self.sampler.total_bytes <= self.pool

    @invariant()
    def no_survivor_lies_below_a_pool_threshold(self):
        for q, windows in self.pool_evictions:
            for key in self.kept:
                frame = self.frames[key]
                if frame.window in windows and frame.window not in self.overloaded:
                    assert frame.q > q


SamplerMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestSamplerMachine = SamplerMachine.TestCase


def _estimates(runs: int, *, lowest_kept_as_threshold: bool = False) -> tuple[np.ndarray, float]:
    """Horvitz-Thompson totals of many runs over one fixed population of three windows under a tight pool."""
    random = np.random.default_rng(20_250_101)
    n = 120
    y = (random.random(n) < 0.15).astype(float)
    w = 0.2 + random.random(n) + y * random.random(n)
    size = (5 + 20 * random.random(n) + 15 * y).astype(int)  # defects are larger: a byte budget must not bias
    window = np.repeat([1, 2, 3], n // 3)
    totals = np.zeros(runs)
    for r in range(runs):
        u = 1.0 - random.random(n)
        sampler = Sampler(pool_bytes=700)
        for i in range(n):
            if i % (n // 3) == 0:
                sampler.open_window(int(window[i]), byte_budget=400)
            sampler.offer(int(window[i]), str(i), weight=float(w[i]), u=float(u[i]), size=int(size[i]))
        for number in (1, 2, 3):
            kept = [int(k) for k in sampler.keys(number)]
            tau = sampler.threshold(number)
            if lowest_kept_as_threshold:
                tau = min((w[i] / u[i] for i in kept), default=0.0)
            for i in kept:
                if lowest_kept_as_threshold or counts_for_estimates(w[i], u[i], tau):
                    totals[r] += y[i] / inclusion_probability(float(w[i]), tau)
    return totals, float(y.sum())


def test_totals_estimated_from_the_sample_are_unbiased():
    """1,000 runs, seeded. Tolerance: four standard errors of the mean (a false alarm in 16,000)."""
    totals, truth = _estimates(1000)
    error = totals.std(ddof=1) / np.sqrt(len(totals))
    assert abs(totals.mean() - truth) < 4 * error
    assert error < 0.02 * truth  # the tolerance is narrow enough to mean something


def test_the_same_check_finds_a_wrong_threshold():
    """τ as the lowest kept priority is the tempting mistake; the check above would see it."""
    totals, truth = _estimates(400, lowest_kept_as_threshold=True)
    error = totals.std(ddof=1) / np.sqrt(len(totals))
    assert abs(totals.mean() - truth) > 4 * error


def test_a_sealed_window_takes_no_more_frames_but_still_gives_way_to_the_pool():
    """Rule 7."""
    sampler = Sampler(pool_bytes=100)
    sampler.open_window(1, byte_budget=100)
    sampler.offer(1, "old", weight=1, u=1, size=60)
    sampler.seal(1)
    with pytest.raises(ValueError, match="sealed"):
        sampler.offer(1, "late", weight=1, u=1, size=1)
    sampler.open_window(2, byte_budget=100)
    assert sampler.offer(2, "new", weight=2, u=1, size=60).evicted == ("old",)
    assert sampler.thresholds() == {1: 1.0, 2: 1.0}
