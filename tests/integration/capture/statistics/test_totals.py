"""Estimated totals over many draws of one line: what is right passes, and every tempting mistake is seen.

|z| of every total stays below 5.5. Were the sampler right, one of the four scenes' nine totals would lie beyond it once
in 700,000 tests (36 totals, normal tails; the means of some hundred draws are close to normal). What is wrong is seen
by the same bound. ``python -m benchmarks.sampler`` does this with more draws.
"""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.sampled_line import draws_of, judged, scenes
from tests.integration.capture.statistics.wrong_samplers import (
    AdmitsWhatFits,
    LowestKeptIsThreshold,
    RaisesTheEvictedWindowAlone,
    SkipsWhatDoesNotFit,
)

LARGEST_Z = 5.5
RUNS = 400
SCENES = scenes()


@pytest.mark.parametrize("name", SCENES)
def test_every_total_is_unbiased(name: str):
    line = SCENES[name]
    found = judged(draws_of(line, RUNS, seed=3), line.parts())
    assert {part: round(v.z, 1) for part, v in found.items() if abs(v.z) > LARGEST_Z} == {}
    # narrow enough to mean something: a total that is wrong by a quarter would be seen
    assert all(v.over_truth.std() / RUNS**0.5 < 0.25 / LARGEST_Z for v in found.values())


@pytest.mark.parametrize("name", ["window bound", "pool over days"])
def test_the_variance_is_estimated_without_bias(name: str):
    """V̂ over the variance of the estimates: its standard error is taken from batches; five of them are allowed.

    One correct run in 100,000 lies beyond (nine totals, Student's t with 19 degrees of freedom gives 7e-5 at five for
    each; the totals of a line are alike, so their mean is what is tested).
    """
    line = SCENES[name]
    draws = list(draws_of(line, 1200, seed=4))
    ratios = [np.mean([v.variance_ratio for v in judged(draws[i::20], line.parts()).values()]) for i in range(20)]
    # a variance over 60 draws is unbiased, its inverse is not: 1 + 2/(60 - 3) for a normal estimate
    middle, error = np.mean(ratios) / (1 + 2 / 57), np.std(ratios, ddof=1) / 20**0.5
    assert abs(middle - 1) < 6 * error
    assert error < 0.05


@pytest.mark.parametrize(
    ("wrong", "scene", "tight"),
    [
        (SkipsWhatDoesNotFit, "window bound", {"budgets": (150,) * 4}),
        (LowestKeptIsThreshold, "window bound", {"budgets": (150,) * 4}),
        (AdmitsWhatFits, "window bound", {"budgets": (150,) * 4}),
        (RaisesTheEvictedWindowAlone, "pool over days", {"pools": (800,) * 8}),
    ],
)
def test_a_tempting_mistake_is_seen(wrong: type, scene: str, tight: dict[str, tuple[int, ...]]):
    """Where few frames stay a mistake weighs more; the sampler itself passes there."""
    line = replace(SCENES[scene], **tight)
    right = judged(draws_of(line, 300, seed=3), line.parts())
    found = judged(draws_of(line, 300, seed=3, sampler_of=wrong, strict=False), line.parts())
    assert max(abs(v.z) for v in right.values()) < LARGEST_Z < max(abs(v.z) for v in found.values())
