"""The account of an inspection: what its loop brought and what it took, read from the catalog.

What would have been without the loop is not seen, it is inferred, and this is how:

1. The counterfactual is the first model, which would have stayed. A later version was judged against the champion of
   its time on the same labelled frames, which neither was trained on; what it avoids there for each frame
   (:mod:`data.value.saved`) is taken to hold for each frame that it, or a version that came from it, served.
2. A frame is served by the version that its window names; of a window during which the engine changed, by the older
   one. Windows of engines that no decision names are left out, and counted.
3. Gains of versions that follow one another add up. Their labels are shared, so their intervals are added too.
4. Labels are people's answers, near-duplicates that were labelled by one answer once. What devices sent is what
   arrived; what every frame would have taken is its mean size times all frames.
5. What was seen in the field while each version served stands beside it: another line, perhaps, but no assumption.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import GateDecisionRow, GoldenAskRow, LabelEventRow, ReleaseRow, SampleRow, WindowRow
from data.decisions import comparisons
from data.estimates import field_samples_by
from data.field_measures import Measures, measures_of
from data.inspections import get_inspection
from data.labels import LabelKind
from data.policy import Policy
from data.value.amounts import Amount, apart, together
from data.value.fixing import median_of
from data.value.prices import Prices, prices_of
from data.value.saved import Cell, Saved, saved_by
from data.value.sending import SizeSums, mean_bytes

_MOST_SIZED = 20_000  # captured samples from which the mean size is estimated; ids are random, so these are
_IN_SERVICE = ("release", "rollback")
_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version that the gate judged, as far as the account needs it."""

    number: str
    champion: str | None
    engine_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One version in place of the champion before it.

    Attributes:
        version: Which.
        champion: What it was judged against.
        since: When it first served.
        frames: Served by it and by versions that came from it.
        saved: What it avoids for each frame; None where the decision kept no answers.
        escapes: Escapes avoided on these frames.
        alarms: False alarms avoided.
        fixed_hours: From the capture of a defect that the champion passes and it stops, to its release.
    """

    version: str
    champion: str
    since: datetime
    frames: int
    saved: Saved | None
    escapes: Amount | None
    alarms: Amount | None
    fixed_hours: Amount | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All of it; amounts of money are None where a price is not stated."""

    inspection: str
    since: datetime | None
    prices: Prices
    frames: int
    unknown_frames: int
    uncounted_frames: int
    steps: tuple[Step, ...]
    escapes: Amount
    alarms: Amount
    labels: int
    sent_bytes: int
    all_bytes: Amount | None
    fixed_hours: Amount | None
    served: tuple[tuple[str, Measures], ...]

    @property
    def bytes_saved(self) -> Amount | None:
        """Against sending every frame."""
        if self.all_bytes is None:
            return None
        sent = self.sent_bytes
        low, high = self.all_bytes.low - sent, self.all_bytes.high - sent
        return replace(self.all_bytes, value=self.all_bytes.value - sent, low=low, high=high)

    def money(self) -> dict[str, Amount | None]:
        """Each item in the stated currency, labels as the cost that they are, and what is left of all of them."""
        saved, prices = self.bytes_saved, self.prices
        items = {
            "escapes": None if prices.escape is None else self.escapes * prices.escape,
            "alarms": None if prices.false_alarm is None else self.alarms * prices.false_alarm,
            "labels": None if prices.label is None else Amount.counted(-self.labels * prices.label),
            "bytes": None if prices.gigabyte is None or saved is None else saved * (prices.gigabyte / 1e9),
        }
        stated = [item for item in items.values() if item is not None]
        return {**items, "total": apart(stated) if stated else None}

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "inspection": self.inspection,
            "since": _time(self.since),
            "prices": self.prices.to_dict(),
            "complete": self.prices.complete,
            "frames": self.frames,
            "unknown_frames": self.unknown_frames,
            "uncounted_frames": self.uncounted_frames,
            "steps": [
                {
                    "version": step.version,
                    "champion": step.champion,
                    "since": _time(step.since),
                    "frames": step.frames,
                    "n": None if step.saved is None else step.saved.n,
                    "escapes": _told(step.escapes),
                    "alarms": _told(step.alarms),
                    "fixed_hours": _told(step.fixed_hours),
                }
                for step in self.steps
            ],
            "escapes": self.escapes.to_dict(),
            "alarms": self.alarms.to_dict(),
            "labels": self.labels,
            "sent_bytes": self.sent_bytes,
            "all_bytes": _told(self.all_bytes),
            "bytes_saved": _told(self.bytes_saved),
            "fixed_hours": _told(self.fixed_hours),
            "money": {name: _told(item) for name, item in self.money().items()},
            "served": [{"version": version, **measures.to_dict()} for version, measures in self.served],
        }


def account_of(catalog: Catalog, inspection: str, policy: Policy, *, since: datetime | None = None) -> Account:
    """Draw up the account.

    Args:
        catalog: The catalog.
        inspection: Its name.
        policy: Prices, and which outcomes count as truth.
        since: Only frames, labels and bytes from then on; versions are compared on all that they were judged on.

    Raises:
        InspectionError: unknown inspection.
        ConfigError: a stated price is no price.
    """
    info = get_inspection(catalog, inspection)
    with catalog.reading() as session:
        versions = _versions(session, inspection)
        windows = _windows(session, inspection, since)
        released = _released(session, inspection)
        labels = _labels(session, inspection, since)
        sizes = _sizes(session, inspection)
    of_engine = {v.engine_id: v.number for v in versions.values() if v.engine_id}
    frames: Counter[str] = Counter()
    began: dict[str, datetime] = {}
    for engines, count, opened_at, _ in windows:
        number = served_by(engines, of_engine)
        frames[number] += count
        began[number] = min(began.get(number, opened_at), opened_at)
    steps, hours = _steps(catalog, inspection, versions, frames, began, released)
    total = sum(frames.values())
    mean = mean_bytes(sizes)
    known = [step for step in steps if step.saved is not None]
    samples = field_samples_by(
        catalog,
        inspection,
        since=since,
        outcomes=policy.outcomes,
        by={"version": lambda row: served_by(row.engine_ids, of_engine)},
    )
    return Account(
        inspection=inspection,
        since=since,
        prices=prices_of(info, policy.value),
        frames=total,
        unknown_frames=frames[""],
        uncounted_frames=max((step.frames for step in steps if step.saved is None), default=0),
        steps=steps,
        escapes=together([step.escapes for step in known if step.escapes is not None]),
        alarms=together([step.alarms for step in known if step.alarms is not None]),
        labels=labels,
        sent_bytes=sum(sent for *_, sent in windows),
        all_bytes=None if mean is None else mean * total,
        fixed_hours=median_of(hours),
        served=tuple(
            (number, measures_of(sample, by="version", name=number))
            for (kind, number), sample in sorted(samples.items(), key=lambda each: _order(each[0][1]))
            if kind == "version" and number
        ),
    )


def served_by(engines: Sequence[str], versions: Mapping[str, str]) -> str:
    """The version that a window's frames count for (rule 2); "" where no decision names its engine.

    >>> served_by(["b", "a"], {"a": "2", "b": "10"}), served_by(["x"], {"a": "2"})
    ('2', '')
    """
    known = [versions[engine] for engine in engines if engine in versions]
    return min(known, key=_order) if known and len(known) == len(engines) else ""


def line_of(number: str, versions: Mapping[str, Version]) -> list[str]:
    """A version and the champions it came from, itself first; ends where one had no champion, or is not known."""
    path: list[str] = []
    current: str | None = number
    while current and current in versions and current not in path:
        path.append(current)
        current = versions[current].champion
    return path


def _steps(
    catalog: Catalog,
    inspection: str,
    versions: Mapping[str, Version],
    frames: Mapping[str, int],
    began: Mapping[str, datetime],
    released: Mapping[str, datetime],
) -> tuple[tuple[Step, ...], list[float]]:
    """Rules 1 and 3: every version in the line of one that served, with the frames that rest on it; and all times."""
    resting: Counter[str] = Counter()
    first: dict[str, datetime] = {}
    for number, count in frames.items():
        for one in line_of(number, versions):
            resting[one] += count
            first[one] = min(first.get(one, began[number]), began[number])
    numbers = sorted((n for n in resting if versions[n].champion), key=_order)
    kept = comparisons(catalog, inspection, numbers)
    steps, all_hours = [], []
    for number in numbers:
        told = kept.get(number, {})
        field = told.get("sets", {}).get("field")
        saved = None if field is None else saved_by([Cell.of(cell) for cell in field["cells"]])
        since = released.get(number, first[number])
        hours = _hours(catalog, told.get("fixed", ()), since)
        all_hours += hours
        steps.append(
            Step(
                version=number,
                champion=versions[number].champion or "",
                since=since,
                frames=resting[number],
                saved=saved,
                escapes=None if saved is None else saved.escapes * resting[number],
                alarms=None if saved is None else saved.alarms * resting[number],
                fixed_hours=median_of(hours),
            )
        )
    return tuple(steps), all_hours


def _hours(catalog: Catalog, fixed: Sequence[str], at: datetime) -> list[float]:
    """From the capture of each defect that a version mended to its release; none that were captured later."""
    query = select(SampleRow.captured_at).where(SampleRow.sample_id.in_(fixed))
    with catalog.reading() as session:
        return [(at - captured).total_seconds() / _HOUR for captured in session.scalars(query) if captured <= at]


def _versions(session: Session, inspection: str) -> dict[str, Version]:
    row = GateDecisionRow
    query = select(row.version, row.champion_version, row.engine_id).where(row.inspection == inspection)
    return {
        number: Version(number=number, champion=champion, engine_id=engine_id)
        for number, champion, engine_id in session.execute(query.order_by(row.id))
    }


def _windows(session: Session, inspection: str, since: datetime | None) -> list[tuple[list[str], int, datetime, int]]:
    row = WindowRow
    query = select(row.engine_ids, row.frames, row.opened_at, row.uploaded_bytes).where(row.inspection == inspection)
    if since is not None:
        query = query.where(row.opened_at >= since)
    return [(engines, frames, at, sent) for engines, frames, at, sent in session.execute(query)]


def _released(session: Session, inspection: str) -> dict[str, datetime]:
    """When each version first was a channel's."""
    row = ReleaseRow
    query = select(row.version, func.min(row.at)).where(row.inspection == inspection, row.action.in_(_IN_SERVICE))
    return {version: at for version, at in session.execute(query.group_by(row.version)) if version}


def _labels(session: Session, inspection: str, since: datetime | None) -> int:
    """Rule 4."""
    row, asked = LabelEventRow, GoldenAskRow
    given = select(func.count()).where(
        row.inspection == inspection,
        row.kind.in_([LabelKind.LABEL.value, LabelKind.CANNOT_TELL.value]),
        row.because.is_(None),
        row.source != "import",
    )
    golden = select(func.count()).where(asked.inspection == inspection, asked.answered_at.is_not(None))
    if since is not None:
        given, golden = given.where(row.at >= since), golden.where(asked.answered_at >= since)
    return (session.scalar(given) or 0) + (session.scalar(golden) or 0)


def _sizes(session: Session, inspection: str) -> SizeSums:
    some = (
        select(SampleRow.image_bytes, SampleRow.p1)
        .where(SampleRow.inspection == inspection, SampleRow.counted, SampleRow.p1.is_not(None))
        .order_by(SampleRow.sample_id)
        .limit(_MOST_SIZED)
    )
    sums: dict[str, float] = defaultdict(float)
    n = 0
    for size, p in session.execute(some):
        n += 1
        doubt = (1 - p) / p**2
        sums["weight"] += 1 / p
        sums["sized"] += size / p
        sums["doubt"] += doubt
        sums["doubt_sized"] += size * doubt
        sums["doubt_squared"] += size * size * doubt
    names = ("weight", "sized", "doubt", "doubt_sized", "doubt_squared")
    return SizeSums(n=n, **{name: sums[name] for name in names})


def _order(number: str) -> tuple[int, str]:
    return (int(number), "") if number.isdigit() else (1 << 62, number)


def _told(amount: Amount | None) -> dict[str, float | int] | None:
    return None if amount is None else amount.to_dict()


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
