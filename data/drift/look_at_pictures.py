"""The captured samples of one device, looked at for drift; the rules are in :mod:`data.drift.look`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from data.catalog import Catalog
from data.catalog.models import SampleRow, WindowRow
from data.drift.alarms import DriftAlarm, open_alarm_of, raise_alarm
from data.drift.causes import name_cause
from data.drift.course import point, record
from data.drift.read_pictures import counted_samples, day_of, read_pictures
from data.drift.reference import BETS, ReferenceTooSmall, reference_of
from data.drift.stored import pack_pictures, unpack_pictures
from data.drift.watch import begin, see
from data.drift.watches import PICTURES, Device, Watched, budget, load, save, windows_after
from data.lake import Lake

_MOST_WINDOWS = 500  # in one look at one device: the next look goes on
_ANOTHER_SPACE = "begun anew: an engine with another embedding space is in service"
_MOST_REFERENCE = 2_500  # samples read for a reference: more make it no better, and the look long


def look_at_pictures(catalog: Catalog, lake: Lake, device: Device, at: datetime) -> DriftAlarm | None:
    """Look at what came since the look before. Returns the alarm, if one was raised."""
    with catalog.reading() as session:
        before = load(session, device, PICTURES)
        is_open = open_alarm_of(session, device.inspection, device.name, PICTURES) is not None
    if is_open:
        _pass_by(catalog, device, before, at)
        return None
    known = unpack_pictures(before.state) if before.state is not None else None
    if known is None:
        _learn(catalog, lake, device, before)
        return None
    reference, state = known
    with catalog.reading() as session:
        windows = list(session.scalars(windows_after(device, before.seen).limit(_MOST_WINDOWS)))
        samples = counted_samples(session, windows)
    seen_at, found, points = before.seen_at, None, []
    for window in windows:
        if moved(lake, device, [before.engine_id], window):
            begun = replace(
                before.from_window((window.epoch, window.window), _engine(window)), reference=_ANOTHER_SPACE
            )
            _note(catalog, device, before, begun)
            return None
        pictures = read_pictures(lake, [window], samples, width=len(reference.space.mean))
        allowed = budget(device, seen_at, window.closed_at)
        state = see(reference, state, pictures, budget=allowed, at=window.opened_at.timestamp())
        seen_at = window.closed_at
        points.append(point(device, PICTURES, window, state.total, BETS[state.leading]))
        if state.total >= 1:
            found = name_cause(reference, state)
            break
    else:
        if not windows:
            return None
    after = replace(
        before,
        seen=(window.epoch, window.window),
        seen_at=seen_at,
        engine_id=_engine(window) or before.engine_id,
        state=pack_pictures(reference, begin(reference) if found else state),
    )
    with catalog.session() as session:
        if not save(session, device, PICTURES, before, after):
            return None
        record(session, points)
        if found is None:
            return None
        return raise_alarm(
            session,
            window,
            PICTURES,
            cause=found.cause,
            words=found.words,
            figures={**found.figures, "frames": found.frames},
            began_at=datetime.fromtimestamp(float(state.began_at[state.leading]), UTC),
            at=at,
        )


def _pass_by(catalog: Catalog, device: Device, before: Watched, at: datetime) -> None:
    """Windows under an open alarm: only another engine matters (rule 3)."""
    with catalog.session() as session:
        after = before
        for window in session.scalars(windows_after(device, before.seen).limit(_MOST_WINDOWS)):
            number, engine = (window.epoch, window.window), _engine(window)
            if before.engine_id is not None and engine not in (None, before.engine_id):
                alarm = open_alarm_of(session, device.inspection, device.name, PICTURES)
                if save(session, device, PICTURES, before, before.from_window(number, engine)) and alarm is not None:
                    alarm.closed_at, alarm.closed_by = at, "andon"
                    alarm.note = f"engine {engine} is in service: the reference begins anew"
                return
            after = replace(after, seen=number, seen_at=window.closed_at, engine_id=after.engine_id or engine)
        save(session, device, PICTURES, before, after)


def _learn(catalog: Catalog, lake: Lake, device: Device, before: Watched) -> None:
    """Make the reference, once its days are over (rule 1)."""
    with catalog.reading() as session:
        entities = (WindowRow.epoch, WindowRow.window, WindowRow.opened_at)
        query = windows_after(device, before.since).with_only_columns(*entities).where(WindowRow.manifest_counted > 0)
        numbers = [(epoch, window, day_of(opened)) for epoch, window, opened in session.execute(query)]
        days = list(dict.fromkeys(day for _, _, day in numbers))
        over = days[:-1]
        if len(over) < device.reference_days:
            told = f"{len(over)} of {device.reference_days} days"
            if told != before.reference:
                _note(catalog, device, before, replace(before, reference=told))
            return
        chosen = set(over[: device.reference_days])
        last = max((epoch, window) for epoch, window, day in numbers if day in chosen)
        windows = list(session.scalars(windows_after(device, before.since, until=last)))
        changed = [w for w in windows if moved(lake, device, windows[-1].engine_ids, w)]
        if changed:
            begun = before.from_window((changed[-1].epoch, changed[-1].window), _engine(windows[-1]))
            _note(catalog, device, before, replace(begun, reference=_ANOTHER_SPACE))
            return
        samples = thinned(counted_samples(session, windows), _MOST_REFERENCE)
    pictures = read_pictures(lake, windows, samples, width=None)
    try:
        if pictures is None:
            raise ReferenceTooSmall("no sample of the reference has an embedding and can be decoded")
        reference = reference_of(pictures, outside=device.allowed / 2 / 365 / len(BETS))
    except ReferenceTooSmall as error:
        _note(catalog, device, before, replace(before.from_window(last), reference=f"begun anew: {error}"))
        return
    first = min(chosen)
    after = replace(
        before,
        seen=last,
        seen_at=windows[-1].closed_at,
        engine_id=_engine(windows[-1]) or before.engine_id,
        reference=f"{reference.days} days from {datetime.fromordinal(first):%Y-%m-%d}, {reference.frames} samples",
        state=pack_pictures(reference, begin(reference)),
    )
    _note(catalog, device, before, after)


def _note(catalog: Catalog, device: Device, before: Watched, after: Watched) -> None:
    with catalog.session() as session:
        save(session, device, PICTURES, before, after)


def thinned(samples: dict[tuple[int, int], list[SampleRow]], most: int) -> dict[tuple[int, int], list[SampleRow]]:
    """Every k-th sample, so that no more than `most` are left: all chances shrink alike, and no mean changes."""
    total = sum(len(rows) for rows in samples.values())
    every, count = -(-total // most) if total else 1, 0
    kept: dict[tuple[int, int], list[SampleRow]] = {}
    for key in sorted(samples):
        chosen: list[SampleRow] = []
        for row in samples[key]:
            if count % every == 0:
                chosen.append(row)
            count += 1
        kept[key] = chosen
    return kept


def moved(lake: Lake, device: Device, engines: Sequence[str | None], window: WindowRow) -> bool:
    """Return whether a window and some engines have embeddings of more than one space (rule 1)."""
    spaces = {lake.space_of(device.inspection, engine) for engine in (*engines, *window.engine_ids)}
    return len(spaces - {""}) > 1


def _engine(window: WindowRow) -> str | None:
    """The engine that answered all of a window's frames; None if several did."""
    return window.engine_ids[0] if len(window.engine_ids) == 1 else None
