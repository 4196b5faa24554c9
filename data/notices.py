"""The outbox of notices: an event is noted once for each channel, and stays until it was sent.

1. The same event noted again changes nothing, whoever notes it and however often.
2. A notice that could not be sent is tried again after 1, 2, 4, … minutes, at most 6 hours apart, and given up after
   three days; what went wrong stays with it.
3. It is marked as sent after it was. A process killed between the two sends it a second time, with the same id: the
   receiver can tell.
4. What was sent or given up is forgotten after 90 days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, tuple_

from data.catalog import Catalog
from data.catalog.models import NoticeRow

FIRST_WAIT, MOST_WAIT = timedelta(minutes=1), timedelta(hours=6)
GIVE_UP_AFTER = timedelta(days=3)
_FORGET_AFTER = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that people are to be told.

    Attributes:
        key: Names the event for ever: the same key is the same event.
        kind: decision, drift, silence, rollout or flow.
        subject: In a line.
        text: In some lines.
        inspection: That it concerns; "" for all.
        facts: More, as JSON values, for programs.
    """

    key: str
    kind: str
    at: datetime
    subject: str
    text: str
    inspection: str = ""
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A notice on one channel, and how it stands there."""

    notice: Notice
    channel: str
    attempts: int
    next_at: datetime | None
    sent_at: datetime | None
    error: str

    @property
    def state(self) -> str:
        """``sent``, ``waits`` or ``given up``."""
        return "sent" if self.sent_at else "waits" if self.next_at else "given up"


def note(catalog: Catalog, notices: Iterable[Notice], channels: Sequence[str], *, now: datetime) -> int:
    """Put events into the outbox (rule 1), and tidy it (rule 4). Returns how many rows are new."""
    wanted = {(notice.key, channel): notice for notice in notices for channel in channels}
    with catalog.session() as session:
        ends = NoticeRow.at < now - _FORGET_AFTER, NoticeRow.next_at.is_(None)
        session.execute(delete(NoticeRow).where(*ends))
        keys = tuple_(NoticeRow.key, NoticeRow.channel)
        known: set[tuple[str, str]] = set()
        pairs = list(wanted)
        for start in range(0, len(pairs), 200):
            part = select(NoticeRow.key, NoticeRow.channel).where(keys.in_(pairs[start : start + 200]))
            known |= {(key, channel) for key, channel in session.execute(part)}
        fresh = [pair for pair in pairs if pair not in known]
        session.add_all(_row(wanted[pair], pair[1], now) for pair in fresh)
    return len(fresh)


def due(catalog: Catalog, *, now: datetime, limit: int = 50) -> list[Outgoing]:
    """What is to be sent now, oldest first."""
    query = select(NoticeRow).where(NoticeRow.next_at <= now).order_by(NoticeRow.at, NoticeRow.key).limit(limit)
    with catalog.reading() as session:
        return [_outgoing(row) for row in session.scalars(query)]


def newest(catalog: Catalog, *, limit: int = 50) -> list[Outgoing]:
    """The newest notices, however they stand."""
    query = select(NoticeRow).order_by(NoticeRow.at.desc(), NoticeRow.key).limit(limit)
    with catalog.reading() as session:
        return [_outgoing(row) for row in session.scalars(query)]


def mark_sent(catalog: Catalog, outgoing: Outgoing, now: datetime) -> None:
    """Rule 3."""
    with catalog.session() as session:
        row = session.get(NoticeRow, (outgoing.notice.key, outgoing.channel))
        if row is not None:
            row.attempts, row.next_at, row.sent_at, row.error = row.attempts + 1, None, now, ""


def mark_failed(catalog: Catalog, outgoing: Outgoing, error: str, now: datetime) -> None:
    """Rule 2."""
    with catalog.session() as session:
        row = session.get(NoticeRow, (outgoing.notice.key, outgoing.channel))
        if row is not None:
            row.attempts, row.error = row.attempts + 1, error
            row.next_at = next_try(row.attempts, since=row.at, now=now)


def next_try(attempts: int, *, since: datetime, now: datetime) -> datetime | None:
    """When to try again after so many attempts; None is never (rule 2)."""
    if now - since >= GIVE_UP_AFTER:
        return None
    wait: timedelta = FIRST_WAIT * 2 ** min(attempts - 1, 20)
    return now + min(MOST_WAIT, wait)


def _row(notice: Notice, channel: str, now: datetime) -> NoticeRow:
    content = {"subject": notice.subject, "text": notice.text, "inspection": notice.inspection}
    return NoticeRow(
        key=notice.key,
        channel=channel,
        kind=notice.kind,
        content={**content, "facts": dict(notice.facts)},
        at=notice.at,
        attempts=0,
        next_at=now,
        sent_at=None,
        error="",
    )


def _outgoing(row: NoticeRow) -> Outgoing:
    notice = Notice(key=row.key, kind=row.kind, at=row.at, **row.content)
    return Outgoing(
        notice=notice,
        channel=row.channel,
        attempts=row.attempts,
        next_at=row.next_at,
        sent_at=row.sent_at,
        error=row.error,
    )
