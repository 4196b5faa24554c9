"""The window records of one device, looked at for changed rates; the rules are in :mod:`data.drift.look`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from data.catalog import Catalog
from data.catalog.models import WindowRow
from data.drift.alarms import DriftAlarm, open_alarm_of, raise_alarm
from data.drift.course import point, record
from data.drift.finding import Cause
from data.drift.rates import (
    RateReference,
    RateState,
    WindowCounts,
    counts_of,
    leading_rate,
    rate_finding,
    rate_reference_of,
    step,
)
from data.drift.read_pictures import day_of
from data.drift.stored import pack_rates, unpack_rates
from data.drift.watches import RATES, START, Device, Watched, load, save, windows_after

_MOST_WINDOWS = 2_000  # in one look at one device


def look_at_rates(catalog: Catalog, device: Device, at: datetime) -> DriftAlarm | None:
    """Look at what came since the look before. Returns the alarm, if one was raised."""
    with catalog.session() as session:
        before = load(session, device, RATES)
        alarm = open_alarm_of(session, device.inspection, device.name, RATES)
        known = unpack_rates(before.state) if before.state is not None else None
        if known is None:
            _learn(session, device, before)
            return None
        reference, state = known
        after, raised, points = before, None, []
        for window in session.scalars(windows_after(device, before.seen).limit(_MOST_WINDOWS)):
            number = (window.epoch, window.window)
            if window.engine_ids != [before.engine_id]:
                if alarm is not None:
                    alarm.closed_at, alarm.closed_by = at, "andon"
                    alarm.note = f"{', '.join(window.engine_ids)} in service: the reference begins anew"
                after = before.from_window(_window_before(number))
                break
            after = replace(after, seen=number, seen_at=window.closed_at)
            if alarm is not None:
                continue
            state = step(reference, state, _counts(window))
            level = float(state.cusum.max()) / reference.limit
            points.append(point(device, RATES, window, level, leading_rate(reference, state)))
            if state.cusum.max() >= reference.limit:
                raised = _raise(session, device, window, reference, state, at)
                state = RateState.new(reference)
                after = replace(after, state=pack_rates(reference, state))
                break
        else:
            after = replace(after, state=pack_rates(reference, state))
        if save(session, device, RATES, before, after):
            record(session, points)
        return raised


def _raise(
    session: Session, device: Device, window: WindowRow, reference: RateReference, state: RateState, at: datetime
) -> DriftAlarm:
    words, figures = rate_finding(reference, state)
    began = _began(session, device, window, int(figures["frames"]))
    return raise_alarm(session, window, RATES, cause=Cause.RATES, words=words, figures=figures, began_at=began, at=at)


def _began(session: Session, device: Device, window: WindowRow, frames: int) -> datetime:
    """When the window opened with which so many frames, up to a window, began: where the CUSUM last was nothing."""
    query = windows_after(device, START, until=(window.epoch, window.window)).order_by(None)
    counted, began = 0, window.opened_at
    for row in session.scalars(query.order_by(WindowRow.epoch.desc(), WindowRow.window.desc()).limit(_MOST_WINDOWS)):
        if counted >= frames:
            break
        counted, began = counted + row.frames, row.opened_at
    return began


def _learn(session: Session, device: Device, before: Watched) -> None:
    """Make the reference of the newest engine, once its days are over."""
    entities = (WindowRow.epoch, WindowRow.window, WindowRow.opened_at, WindowRow.engine_ids, WindowRow.frames)
    rows = session.execute(windows_after(device, before.since).with_only_columns(*entities)).all()
    if not rows:
        return
    newest = rows[-1].engine_ids
    first = next((i for i in range(len(rows), 0, -1) if rows[i - 1].engine_ids != newest), 0)
    if len(newest) != 1:
        return
    if first:
        before_engine = (rows[first - 1].epoch, rows[first - 1].window)
        save(session, device, RATES, before, before.from_window(before_engine))
        return  # the next look goes on from there
    over = list(dict.fromkeys(day_of(row.opened_at) for row in rows if row.frames))[:-1]
    told = f"{len(over)} of {device.reference_days} days"
    if len(over) < device.reference_days:
        if told != before.reference:
            save(session, device, RATES, before, replace(before, reference=told))
        return
    chosen = set(over[: device.reference_days])
    last = max((row.epoch, row.window) for row in rows if day_of(row.opened_at) in chosen)
    windows = list(session.scalars(windows_after(device, before.since, until=last)))
    reference = rate_reference_of([_counts(window) for window in windows], allowed_per_year=device.allowed)
    after = replace(
        before,
        seen=last,
        seen_at=windows[-1].closed_at,
        engine_id=newest[0],
        reference=f"{device.reference_days} days of engine {newest[0]}",
        state=pack_rates(reference, RateState.new(reference)),
    )
    save(session, device, RATES, before, after)


def _counts(window: WindowRow) -> WindowCounts:
    return counts_of(
        day_of(window.opened_at), window.frames, window.class_counts, window.verdict_counts, window.histograms
    )


def _window_before(number: tuple[int, int]) -> tuple[int, int]:
    """A number below a window's and above every earlier one's: the window itself comes next."""
    return number[0], number[1] - 1
