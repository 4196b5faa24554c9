"""Which variables go with which defects: the whole analysis, without I/O.

1. Every variable of every station is tested against every target once: parts, stretches or shifts, as the variable
   alone decides (:mod:`data.causes.strata`). False discoveries are controlled over all these tests together.
2. Not testable is named, with the reason, by rules that look at the variable and at the target apart, never at both:
   fewer than five parts with the target where parts can be compared; fewer than six stretches or shifts; and what
   :mod:`data.causes.variables` refuses.
3. Effects are computed for what stands out, and for the ten smallest p-values, so that people see how near it was.
4. The same truths, context, settings and seed give the same answer to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from data.causes.discoveries import Dependence, price, q_values
from data.causes.effects import effect_of
from data.causes.findings import Association, Basis, Causes, Companion, Lag, NotTestable, Speaks, Verdict
from data.causes.join import Joined, Linked, join
from data.causes.permutation import Tested, at_first_sight, comparable, permutation_tests
from data.causes.phrases import Phrase
from data.causes.strata import STEADY, WITHIN_SHARE, Rows, Strata, between, share_within, strata_of, stretches
from data.causes.values import Population, Sighting
from data.causes.variables import LEAST_PARTS, Variable, variable_of

MOST_TESTS = 2_000
LEAST_POSITIVE = 5  # parts with the target, in strata where it does not hold of all
LEAST_SHIFTS = 6
_MOST_DEALS = 100_000
_LEAST_DEALS = 2_000
_DEALS_PER_TEST = 2.0  # a lone discovery needs p at most FDR/m: twice as fine
_ALSO_SHOWN = 10
_TOGETHER = 0.5  # correlation from which two found variables are named together
_MOST_COMPARED = 40  # found variables that are compared with each other
_VARIABLES_AT_ONCE = 64  # bounds the memory of their columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to look.

    Attributes:
        fdr: Expected share of false ones among what is called found, at most.
        shift_hours: Parts are compared with parts of the same so many hours.
        dependence: What is assumed of the tests.
        seed: Of the permutation tests.
    """

    fdr: float = 0.1
    shift_hours: float = 8.0
    dependence: Dependence = Dependence.POSITIVE
    seed: int = 0


@dataclass(slots=True)
class _Trial:
    """One test under way."""

    population: str
    target: str
    target_column: int
    table: Joined
    strata: Strata
    variable: Variable
    basis: Basis
    block: NDArray[np.int64]  # of the variable's rows: their stretch or shift
    codes: NDArray[np.int64]  # and what these, or the parts, may be compared with
    unjoined: float
    units: int = 0
    groups: int = 0
    tested: Tested | None = None
    first: Tested | None = None

    @property
    def y(self) -> NDArray[np.float64]:
        truth: NDArray[np.float64] = self.table.truth[self.variable.rows, self.target_column]
        return truth


@dataclass(slots=True)
class _Work:
    trials: list[_Trial] = field(default_factory=list)
    refused: list[NotTestable] = field(default_factory=list)
    speaks: list[Speaks] = field(default_factory=list)
    not_tested: int = 0


def analyse(
    inspection: str,
    populations: Iterable[Population],
    sightings: Sequence[Sighting],
    settings: Settings | None = None,
) -> Causes:
    """Look for variables that go with defects.

    Args:
        inspection: Its name.
        populations: Truths, each population by itself.
        sightings: Context recorded of parts at any station.
        settings: How.
    """
    return analyse_linked(inspection, [join(population, sightings) for population in populations], settings)


def analyse_linked(inspection: str, linked: Iterable[Linked], settings: Settings | None = None) -> Causes:
    """The same for truths that are joined with their context already."""
    settings = settings or Settings()
    work = _Work()
    for one in linked:
        _collect(work, one, settings)
    # Which tests are left out, if there are too many, depends on how much is known, not on what comes out.
    work.trials.sort(key=lambda trial: -len(trial.variable.rows))
    work.not_tested += max(0, len(work.trials) - MOST_TESTS)
    del work.trials[MOST_TESTS:]
    m = len(work.trials)
    deals = _DEALS_PER_TEST * m * price(m, settings.dependence) / settings.fdr if m else 0.0
    most = int(min(_MOST_DEALS, max(_LEAST_DEALS, deals)))
    random = np.random.default_rng(settings.seed)
    for group in _groups(work.trials):
        _test(group, random, most)
    associations = _told(work.trials, settings)
    return Causes(
        inspection=inspection,
        speaks=tuple(work.speaks),
        associations=tuple(associations),
        not_testable=tuple(work.refused),
        tests=m,
        fdr=settings.fdr,
        dependence=settings.dependence,
        shift_hours=settings.shift_hours,
        not_tested=work.not_tested,
    )


def _collect(work: _Work, linked: Linked, settings: Settings) -> None:
    """Code the variables, and decide what can be tested."""
    units = linked.units
    work.speaks.append(_speaks(linked))
    total = sum(unit.weight for unit in units)
    enough = []
    for column, target in enumerate(linked.targets):
        n = work.speaks[-1].with_target[target]
        labelled = work.speaks[-1].labelled
        if min(n, labelled - n) < LEAST_POSITIVE:
            lacks, count = ("with", n) if n < LEAST_POSITIVE else ("without", labelled - n)
            work.refused.append(
                NotTestable(
                    population=linked.name,
                    target=target,
                    station="",
                    variable=None,
                    reason=Phrase(f"too_few_{lacks}", {"n": count, "labelled": labelled, "least": LEAST_POSITIVE}),
                )
            )
        else:
            enough.append((column, target))
    for table in linked.tables:
        work.not_tested += table.keys_left_out * len(enough)
        strata = strata_of(table, settings.shift_hours * 3600)
        joined = sum(units[i].weight for i in table.unit.tolist())
        unjoined = 1.0 - joined / total if total > 0 else 0.0
        known: dict[tuple[bytes, int, Basis, bytes], _Comparable] = {}
        for name, values in table.values.items():
            variable = variable_of(name, values, table.weight, table.at)
            if isinstance(variable, Phrase):
                work.refused.append(_refusal(linked.name, None, table, name, variable))
                continue
            basis, block, codes = _basis(variable, table, strata)
            for column, target in enough:
                trial = _Trial(
                    population=linked.name,
                    target=target,
                    target_column=column,
                    table=table,
                    strata=strata,
                    variable=variable,
                    basis=basis,
                    block=block,
                    codes=codes,
                    unjoined=unjoined,
                )
                key = (variable.rows.tobytes(), column, basis, block.tobytes() if basis is Basis.STRETCHES else b"")
                if key not in known:
                    known[key] = _comparable(trial)
                trial.units, trial.groups = known[key].units, known[key].groups
                reason = known[key].unfit(basis)
                if reason is None:
                    work.trials.append(trial)
                else:
                    work.refused.append(_refusal(linked.name, target, table, name, reason))


def _basis(variable: Variable, table: Joined, strata: Strata) -> tuple[Basis, NDArray[np.int64], NDArray[np.int64]]:
    """What a variable is tested by (rule 4 of :mod:`data.causes.strata`), its units, and their strata."""
    rows = variable.rows
    told = variable.numbers if variable.numbers is not None else np.array(variable.texts)
    values, recorded = np.unique(told, return_inverse=True)[1], table.recorded[rows]
    for place, week in ((np.zeros_like(rows), strata.common_week), (table.place[rows], strata.week)):
        block, steady = stretches(values, place, recorded)
        if steady >= STEADY:
            return Basis.STRETCHES, block, week[rows]
    if share_within(variable.scores, strata.shift[rows]) >= WITHIN_SHARE:
        return Basis.PARTS, strata.shift[rows], strata.within[rows]
    return Basis.SHIFTS, strata.common_shift[rows], strata.common_week[rows]


def _speaks(linked: Linked) -> Speaks:
    units = linked.units
    return Speaks(
        population=linked.name,
        parts=len(units),
        stands_for=float(sum(unit.weight for unit in units)),
        labelled=sum(1 for unit in units if unit.labelled > 0),
        with_target={t: sum(1 for unit in units if t in unit.positive) for t in linked.targets},
        joined={table.station: len(table.unit) for table in linked.tables},
    )


def _refusal(population: str, target: str | None, table: Joined, name: str, reason: Phrase) -> NotTestable:
    return NotTestable(population=population, target=target, station=table.station, variable=name, reason=reason)


@dataclass(frozen=True, slots=True)
class _Comparable:
    """What a test on some rows can compare; the same for all variables that share them."""

    units: int
    groups: int
    positive: int
    negative: int

    def unfit(self, basis: Basis) -> Phrase | None:
        """Rule 2, for a variable and a target."""
        if basis is not Basis.PARTS:
            if self.units >= LEAST_SHIFTS:
                return None
            return Phrase(f"too_few_{basis.value}", {"n": self.units, "least": LEAST_SHIFTS})
        if min(self.positive, self.negative) >= LEAST_POSITIVE and self.units >= LEAST_PARTS:
            return None
        counts = {"positive": self.positive, "negative": self.negative, "n": self.units}
        return Phrase("too_few_compared", {**counts, "least": LEAST_POSITIVE, "least_parts": LEAST_PARTS})


def _comparable(trial: _Trial) -> _Comparable:
    rows = _rows_of([trial])
    usable = comparable(rows.truth[:, 0], rows.strata)
    positive, negative = _labelled_counts(trial)
    return _Comparable(
        units=int(usable.sum()), groups=len(np.unique(rows.strata[usable])), positive=positive, negative=negative
    )


def _labelled_counts(trial: _Trial) -> tuple[int, int]:
    """Labelled parts of which the target holds, and of which it does not."""
    rows = trial.variable.rows
    labelled = trial.table.labelled[rows] > 0
    positive = trial.table.positive[rows, trial.target_column]
    return int((labelled & positive).sum()), int((labelled & ~positive).sum())


def _parts_of(group: Sequence[_Trial]) -> Rows:
    """The parts of trials that share their rows and target: all their columns, one truth."""
    lead = group[0]
    rows = lead.variable.rows
    return Rows(
        scores=np.column_stack([trial.variable.scores for trial in group]),
        truth=lead.table.truth[rows][:, [lead.target_column]],
        weight=lead.table.weight[rows],
        strata=lead.strata.within[rows],
        near=lead.strata.near[rows],
    )


def _rows_of(group: Sequence[_Trial]) -> Rows:
    """The units that they compare."""
    lead, parts = group[0], _parts_of(group)
    if lead.basis is Basis.PARTS:
        return parts
    rows = lead.variable.rows
    return between(parts, lead.block, lead.codes, np.unique(lead.strata.week[rows], return_inverse=True)[1])


def _groups(trials: Sequence[_Trial]) -> list[list[_Trial]]:
    """Trials that can share their deals: the same rows, target and basis."""
    groups: dict[tuple[str | bytes, ...], list[_Trial]] = defaultdict(list)
    for trial in trials:
        units = trial.block.tobytes() if trial.basis is Basis.STRETCHES else trial.basis.value
        key = (trial.population, trial.target, trial.table.station, units, trial.variable.rows.tobytes())
        groups[key].append(trial)
    return [
        group[start : start + _VARIABLES_AT_ONCE]
        for group in groups.values()
        for start in range(0, len(group), _VARIABLES_AT_ONCE)
    ]


def _test(group: Sequence[_Trial], random: np.random.Generator, most: int) -> None:
    parts, widths = _parts_of(group), [trial.variable.scores.shape[1] for trial in group]
    unstratified = replace(parts, strata=np.zeros(len(parts.weight), dtype=np.int64), near=None)
    tested = permutation_tests(_rows_of(group), 0, widths, random=random, most=most)
    for trial, outcome, first in zip(group, tested, at_first_sight(unstratified, 0, widths), strict=True):
        trial.tested, trial.first = outcome, first


def _told(trials: Sequence[_Trial], settings: Settings) -> list[Association]:
    """Decide over all tests together, and compute what is shown."""
    if not trials:
        return []
    p = np.array([trial.tested.p if trial.tested else 1.0 for trial in trials])
    p_first = np.array([trial.first.p if trial.first else 1.0 for trial in trials])
    q, q_first = q_values(p, settings.dependence), q_values(p_first, settings.dependence)
    found, seen = q <= settings.fdr, q_first <= settings.fdr
    rank = np.where(found, 0, np.where(seen, 1, 2))
    strength = np.array([trial.tested.t if trial.tested else 0.0 for trial in trials])
    order = np.lexsort((-strength, p, rank))
    level = max(0.95, 1 - settings.fdr * int(found.sum()) / len(trials))
    companions = _companions(trials, [int(i) for i in order if found[i]])
    told_apart = int((rank < 2).sum())
    told = []
    for place, i in enumerate(order.tolist()):
        trial = trials[i]
        verdict = Verdict.FOUND if found[i] else Verdict.FIRST_SIGHT if seen[i] else Verdict.NOTHING
        # What shows at first sight only is described as it looks then.
        outcome = trial.first if verdict is Verdict.FIRST_SIGHT else trial.tested
        assert outcome is not None
        column = trial.variable.columns[outcome.column]
        rows = trial.variable.rows
        effect = None
        if verdict is not Verdict.NOTHING or place < told_apart + _ALSO_SHOWN:
            effect = effect_of(
                trial.variable,
                column,
                trial.y,
                trial.table.weight[rows],
                trial.table.labelled[rows],
                trial.codes,
                level if verdict is Verdict.FOUND else 0.95,
            )
        told.append(
            Association(
                population=trial.population,
                target=trial.target,
                station=trial.table.station,
                variable=trial.variable.name,
                lag=_lag(trial.table.lag[rows], trial.table.weight[rows]),
                parts=len(rows),
                labelled=sum(_labelled_counts(trial)),
                with_target=_labelled_counts(trial)[0],
                missing=trial.variable.missing,
                unjoined=trial.unjoined,
                basis=trial.basis,
                units=trial.units,
                strata=trial.groups,
                t=trial.tested.t if trial.tested else 0.0,
                p=float(p[i]),
                q=float(q[i]),
                p_first=float(p_first[i]),
                q_first=float(q_first[i]),
                verdict=verdict,
                shape=_shape(column, outcome.sign),
                value=column[1:] if column.startswith("=") else None,
                effect=effect,
                companions=companions.get(i, ()),
            )
        )
    return told


def _shape(column: str, sign: int) -> str:
    up, down = {"rank": ("rises", "falls"), "bend": ("ends", "middle")}.get(column, ("more", "less"))
    return up if sign >= 0 else down


def _lag(seconds: NDArray[np.float64], weight: NDArray[np.float64]) -> Lag | None:
    if not (seconds > 0).any():
        return None
    order = np.argsort(seconds)
    shares = np.cumsum(weight[order]) / weight.sum()
    places = np.minimum(np.searchsorted(shares, [0.05, 0.5, 0.95]), len(order) - 1)
    low, median, high = seconds[order[places]].tolist()
    return Lag(low=low, median=median, high=high)


def _companions(trials: Sequence[_Trial], found: Sequence[int]) -> dict[int, tuple[Companion, ...]]:
    """Found variables of the same target that move together, strongest first."""
    by_target: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i in found[:_MOST_COMPARED]:
        by_target[trials[i].population, trials[i].target].append(i)
    together: dict[int, tuple[Companion, ...]] = {}
    for members in by_target.values():
        scores = {i: _scores_by_unit(trials[i]) for i in members}
        for i in members:
            others = [(j, _correlation(scores[i], scores[j])) for j in members if j != i]
            together[i] = tuple(
                Companion(station=trials[j].table.station, variable=trials[j].variable.name, correlation=r)
                for j, r in sorted(others, key=lambda item: -abs(item[1]))
                if abs(r) >= _TOGETHER
            )[:5]
    return together


def _scores_by_unit(trial: _Trial) -> dict[int, float]:
    assert trial.tested is not None
    column = trial.variable.scores[:, trial.tested.column]
    return dict(zip(trial.table.unit[trial.variable.rows].tolist(), column.tolist(), strict=True))


def _correlation(a: dict[int, float], b: dict[int, float]) -> float:
    shared = sorted(a.keys() & b.keys())
    if len(shared) < LEAST_PARTS:
        return 0.0
    x, y = np.array([a[unit] for unit in shared]), np.array([b[unit] for unit in shared])
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])
