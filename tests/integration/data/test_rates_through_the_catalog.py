"""Rates through the whole of it, from capture to label to estimate: unbiased, and covered as often as promised."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

from data.catalog.models import SampleRow
from data.draw_plan import Planner
from data.draws import draw
from data.estimates import defect_rate
from data.label_scores import Mix
from data.labels import NewLabel, record_labels
from tests.unit.data.captured_line import INSPECTION, T0, Line, new_catalog, sqlite_url
from tests.unit.data.near_duplicates import Embeddings, standing_belt
from tests.unit.data.test_draw_plan import POLICY, on_train_side, planned
from tests.unit.data.test_estimates import frames, label_all


def test_the_rate_through_the_catalog_is_unbiased_and_covered(tmp_path: Path) -> None:
    catalog, rng = new_catalog(sqlite_url(tmp_path)), np.random.default_rng(3)
    line, uniform = Line(catalog, rng), random.Random(3)
    errors, covered, repeats = [], 0, 30
    for window in range(repeats):
        labels, weights = frames(rng, 300, 0.15)
        line.stream(labels, weights, keep=60)
        label_all(line, draw(catalog, INSPECTION, 20, random=uniform, at=T0).sample_ids)
        rate = defect_rate(catalog, INSPECTION, windows=[("line-1", 1, window)])
        truth = labels.count("crack") / 300
        errors.append(rate.value - truth)
        covered += rate.low <= truth <= rate.high
        assert (rate.n, rate.population) == (20, 300)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / repeats**0.5
    assert covered >= stats.binom.ppf(1e-4, repeats, 0.95)
    whole = defect_rate(catalog, INSPECTION)
    assert (whole.n, whole.population) == (20 * repeats, 300 * repeats)
    assert whole.low <= line.defects / line.frames <= whole.high


def test_the_rate_through_the_catalog_is_unbiased_and_covered_with_runs(tmp_path: Path) -> None:
    """Frames are counted, not labels: long runs of defects must not be counted once."""
    catalog, store = new_catalog(sqlite_url(tmp_path)), Embeddings()
    line, rng, errors, covered, repeats = Line(catalog, np.random.default_rng(5)), np.random.default_rng(6), [], 0, 12
    for window in range(repeats):
        runs = [
            ("crack" if bad else "ok", int(rng.integers(4, 9) if bad else rng.integers(1, 4)))
            for bad in rng.random(40) < 0.2
        ]
        standing_belt(catalog, line, store, runs, keep=50)
        drawn = planned(catalog, store, 12, seed=window)
        said = [NewLabel(sample_id=s, classes=[line.truth[s]], event_id=s) for s in drawn.sample_ids]
        record_labels(catalog, said, who="ann", at=T0, source="console")
        rate = defect_rate(catalog, INSPECTION, windows=[("line-1", 1, window)])
        total = sum(length for _, length in runs)
        truth = sum(length for label, length in runs if label == "crack") / total
        errors.append(rate.value - truth)
        covered += rate.low <= truth <= rate.high
        assert (drawn.asked, rate.n, rate.population) == (12, 12, total)
        assert len(said) > 12
    assert abs(np.mean(errors)) < 4 * np.std(errors) / repeats**0.5
    assert covered >= 9  # binomial(12, 0.95) is below 9 once in four hundred
    catalog.close()


def test_the_rate_is_unbiased_though_half_of_the_labels_were_chosen(tmp_path: Path) -> None:
    """Chosen are mostly defects here; an estimate that took them for drawn would be far off."""
    catalog, store = new_catalog(sqlite_url(tmp_path)), Embeddings()
    line, rng, errors, repeats = Line(catalog, np.random.default_rng(7)), np.random.default_rng(8), [], 10
    alike = dict.fromkeys(Mix().weights, 0.0)
    planner, policy = Planner(catalog, store), replace(POLICY, near_duplicate=0.0, **alike)
    chosen_defects, drawn_defects = 0, 0
    for window in range(repeats):
        labels = ["crack" if bad else "ok" for bad in rng.random(40) < 0.2]
        standing_belt(catalog, line, store, [(label, 1) for label in labels], keep=30)
        on_train_side(catalog)
        with catalog.session() as session:  # the model is sure of ok parts and unsure of the others
            for row in session.query(SampleRow).where(SampleRow.window == window):
                p = 0.4 if line.truth[row.sample_id] == "crack" else 0.01
                row.classes, row.probabilities = ["ok", "crack"], [1 - p, p]
        asked = planner.ask(INSPECTION, 20, policy, random=random.Random(window), at=T0)
        assert asked.chosen is not None
        for draw_, ids in ((True, asked.drawn.sample_ids), (False, asked.chosen.sample_ids)):
            found = sum(line.truth[s] == "crack" for s in ids)
            drawn_defects += found if draw_ else 0
            chosen_defects += 0 if draw_ else found
            said = [NewLabel(sample_id=s, classes=[line.truth[s]], event_id=s) for s in ids]
            record_labels(catalog, said, who="ann", at=T0, source="console")
        rate = defect_rate(catalog, INSPECTION, windows=[("line-1", 1, window)])
        errors.append(rate.value - labels.count("crack") / 40)
        assert rate.n == 10
    assert chosen_defects > 1.5 * drawn_defects
    assert abs(np.mean(errors)) < 4 * np.std(errors) / repeats**0.5
    catalog.close()
