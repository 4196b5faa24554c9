"""Estimates of what the line produces, from labelled captured samples.

Which samples count, and with which probability, is :mod:`data.answered_draws`; the pure statistics are in
:mod:`data.intervals` and :mod:`data.difference`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from numpy.typing import ArrayLike
from sqlalchemy.orm import Session

from data.answered_draws import SampleReader
from data.catalog import Catalog
from data.cluster_sampling import units_of
from data.field_sample import FieldSample
from data.inspections import Inspection, inspection_in
from data.intervals import Estimate, rate_interval
from data.outcomes import NO_OUTCOMES, Outcomes, outcomes_in
from data.policy import OutcomePolicy
from data.seen_rows import SeenWindow, WindowKey, seen_windows

Groups = Mapping[str, Callable[[SeenWindow], str]]  # kind of group -> which of them a window belongs to

#: Where frames were seen.
BY_PLACE: Groups = {"station": lambda row: row.station, "device": lambda row: row.device}


def field_sample(
    catalog: Catalog,
    inspection: str,
    *,
    windows: Collection[WindowKey] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    outcomes: OutcomePolicy | None = None,
) -> FieldSample:
    """The labelled probability sample of some windows.

    Args:
        catalog: The catalog.
        inspection: Its name.
        windows: Only these; default all.
        since: Only windows opened at or after; device clocks, for people's questions ("this shift").
        until: Only windows opened before.
        outcomes: Which outcomes count as truth; default none.

    Raises:
        InspectionError: unknown inspection.
    """
    with catalog.reading() as session:
        info = inspection_in(session, inspection)
        chosen = [
            row for row in seen_windows(session, inspection, since, until) if windows is None or row.key in windows
        ]
        return SampleReader(session, info, _outcomes(session, info, outcomes)).sample_of(chosen)


def field_samples_by(
    catalog: Catalog,
    inspection: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    outcomes: OutcomePolicy | None = None,
    by: Groups = BY_PLACE,
) -> dict[tuple[str, str], FieldSample]:
    """The samples of all windows, and of the windows of each group; by default of each station and each device.

    Returns:
        ("all", "") first, then (kind, name), by kind as in `by` and by name; see :func:`field_sample` for the other
        arguments.
    """
    with catalog.reading() as session:
        info = inspection_in(session, inspection)
        groups: dict[tuple[str, str], list[SeenWindow]] = {("all", ""): []}
        rows = seen_windows(session, inspection, since, until)
        for kind, name_of in by.items():
            named: dict[str, list[SeenWindow]] = defaultdict(list)
            for row in rows:
                named[name_of(row)].append(row)
            groups |= {(kind, name): named[name] for name in sorted(named)}
        groups["all", ""] = rows
        reader = SampleReader(session, info, _outcomes(session, info, outcomes))
        return {key: reader.sample_of(chosen) for key, chosen in groups.items()}


def defect_rate(
    catalog: Catalog,
    inspection: str,
    *,
    windows: Collection[WindowKey] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    level: float = 0.95,
) -> Estimate:
    """Share of defective frames, with its interval; see :func:`field_sample` for the arguments."""
    sample = field_sample(catalog, inspection, windows=windows, since=since, until=until)
    return share_of_frames(sample, sample.defects, level)


def share_of_frames(sample: FieldSample, y: ArrayLike, level: float = 0.95) -> Estimate:
    """Share of the frames for which y is 1, near-duplicates taken as the units that they were drawn as.

    Args:
        sample: The probability sample.
        y: 0 or 1 for each of ``sample.samples``, [n].
        level: Coverage.
    """
    units = units_of(y, sample.p, [item.p2 for item in sample.samples], [item.group for item in sample.samples])
    return rate_interval(units.values, units.probabilities, sample.population, level, frames=units.frames)


def miss_rate(sample: FieldSample, level: float = 0.95) -> Estimate:
    """Share of all frames that are defects which the engine passed as ``ok``."""
    missed = [float(item.defect and item.verdict == "ok") for item in sample.samples]
    return share_of_frames(sample, missed, level)


def _outcomes(session: Session, info: Inspection, policy: OutcomePolicy | None) -> Outcomes:
    if policy is None or not policy.every_part_stages.strip():
        return NO_OUTCOMES
    return outcomes_in(session, info, policy)
