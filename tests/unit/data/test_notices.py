from __future__ import annotations

from datetime import timedelta

from data.catalog import Catalog
from data.notices import GIVE_UP_AFTER, MOST_WAIT, Notice, due, mark_failed, mark_sent, newest, next_try, note
from tests.unit.data.captured_line import T0

HOUR = timedelta(hours=1)


def notice(key: str = "drift:1") -> Notice:
    return Notice(key=key, kind="drift", at=T0, subject="drift", text="at west", facts={"alarm": 1})


def test_an_event_is_noted_once_for_each_channel(catalog: Catalog) -> None:
    assert note(catalog, [notice(), notice("drift:2")], ["webhook", "mail"], now=T0) == 4
    assert note(catalog, [notice(), notice()], ["webhook", "mail"], now=T0 + HOUR) == 0
    assert note(catalog, [notice("drift:3")], ["mail"], now=T0) == 1
    assert len(due(catalog, now=T0)) == 5
    assert due(catalog, now=T0)[0].notice == notice()


def test_what_was_sent_is_not_due_again(catalog: Catalog) -> None:
    note(catalog, [notice()], ["mail"], now=T0)
    mark_sent(catalog, due(catalog, now=T0)[0], T0)
    note(catalog, [notice()], ["mail"], now=T0 + HOUR)
    assert due(catalog, now=T0 + 99 * HOUR) == []
    assert newest(catalog)[0].state == "sent"


def test_what_failed_is_tried_later_and_later_and_given_up_after_three_days(catalog: Catalog) -> None:
    note(catalog, [notice()], ["mail"], now=T0)
    now, waits = T0, []
    while found := due(catalog, now=now):
        mark_failed(catalog, found[0], "away", now)
        (row,) = newest(catalog)
        if row.next_at is not None:
            waits.append(row.next_at - now)
            now = row.next_at
        else:
            now += MOST_WAIT
    assert waits[:4] == [timedelta(minutes=m) for m in (1, 2, 4, 8)]
    assert max(waits) == MOST_WAIT
    assert sum(waits, timedelta()) >= GIVE_UP_AFTER
    assert (newest(catalog)[0].state, newest(catalog)[0].error) == ("given up", "away")
    assert next_try(10_000, since=T0, now=T0) == T0 + MOST_WAIT


def test_old_ones_are_forgotten_but_not_what_still_waits(catalog: Catalog) -> None:
    note(catalog, [notice(), notice("drift:2")], ["mail"], now=T0)
    mark_sent(catalog, due(catalog, now=T0)[0], T0)
    note(catalog, [], [], now=T0 + timedelta(days=91))
    assert [each.notice.key for each in newest(catalog)] == ["drift:2"]
