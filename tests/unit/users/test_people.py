"""Accounts, sessions, links, failed tries and the audit log: the rules of `data.users`, cited by their numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from data.catalog import Catalog
from data.catalog.people import SessionRow, UserRow
from data.users import Role, record
from data.users.accounts import UserError, add_user, get_user, set_disabled, set_password, set_role
from data.users.attempts import FORGOTTEN_AFTER, succeeded, try_now
from data.users.audit_log import list_audit_log
from data.users.links import FILE_NAME, ensure_first_link, new_link, use_link
from data.users.passwords import PasswordError
from data.users.sessions import Limits, begin, find
from data.users.verify import password_holds

T0 = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
LIMITS = Limits(idle=timedelta(hours=1), absolute=timedelta(hours=8))
GOOD = "a sentence will do"


def sign_in(catalog: Catalog, name: str, at: datetime = T0) -> str:
    begun = begin(catalog, name, at=at, limits=LIMITS, address="a")
    assert begun is not None
    return begun[0]


def holds(catalog: Catalog, token: str, at: datetime) -> bool:
    return find(catalog, token, at=at, limits=LIMITS) is not None


def test_a_password_is_kept_as_argon2id_and_nothing_else_of_it(catalog: Catalog) -> None:
    add_user(catalog, "ann", Role.ADMIN, at=T0, password=GOOD)
    with catalog.reading() as session:
        stored = session.get_one(UserRow, "ann").password_hash
    assert stored is not None
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert password_holds(catalog, "ann", GOOD) == "ann"
    assert password_holds(catalog, "ann", GOOD + ".") is None
    assert password_holds(catalog, "nobody", GOOD) is None


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaaaaaa", "ann12345678", "AnnPassword1234"[:3] + "12345678", "x" * 257]
)
def test_a_password_that_is_tried_first_is_refused(catalog: Catalog, password: str) -> None:
    with pytest.raises(PasswordError, match=r"12 to 256|tried first"):
        add_user(catalog, "ann", Role.VIEWER, at=T0, password=password)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "<b>", "a" * 65, "ä"])
def test_a_name_that_cannot_be_one_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(UserError, match="cannot be a user's name"):
        add_user(catalog, name, Role.VIEWER, at=T0)


def test_names_that_differ_in_case_alone_are_one(catalog: Catalog) -> None:
    add_user(catalog, "Ann", Role.VIEWER, at=T0)
    with pytest.raises(UserError, match="'Ann' already"):
        add_user(catalog, "ann", Role.VIEWER, at=T0)


def test_the_last_admin_stays_one(catalog: Catalog) -> None:
    add_user(catalog, "ann", Role.ADMIN, at=T0)
    for act in (
        lambda: set_role(catalog, "ann", Role.APPROVER),
        lambda: set_disabled(catalog, "ann", True, at=T0),
    ):
        with pytest.raises(UserError, match="only admin"):
            act()
    add_user(catalog, "bob", Role.ADMIN, at=T0)
    assert set_role(catalog, "ann", Role.APPROVER).role is Role.APPROVER
    with pytest.raises(UserError, match="only admin"):
        set_disabled(catalog, "bob", True, at=T0)


def test_a_session_ends_unused_and_in_any_case(catalog: Catalog) -> None:
    add_user(catalog, "ann", Role.VIEWER, at=T0)
    token = sign_in(catalog, "ann")
    assert holds(catalog, token, T0 + timedelta(minutes=59))  # used: the hour begins anew
    assert holds(catalog, token, T0 + timedelta(minutes=118))
    assert not holds(catalog, token, T0 + timedelta(minutes=179))
    token = sign_in(catalog, "ann")
    for hours in range(1, 9):
        at = T0 + timedelta(hours=hours) - timedelta(minutes=hours)
        assert holds(catalog, token, at) is (at < T0 + timedelta(hours=8))
    assert not holds(catalog, token, T0 + timedelta(hours=8))
    with catalog.reading() as session:
        assert session.query(SessionRow).count() == 0


def test_what_a_page_asks_by_itself_keeps_no_session_alive(catalog: Catalog) -> None:
    add_user(catalog, "ann", Role.VIEWER, at=T0)
    token = sign_in(catalog, "ann")
    for minutes in range(0, 60, 10):
        at = T0 + timedelta(minutes=minutes)
        assert find(catalog, token, at=at, limits=LIMITS, used=False) is not None
    assert find(catalog, token, at=T0 + timedelta(minutes=61), limits=LIMITS, used=False) is None


@pytest.mark.parametrize("act", ["role", "disable", "password"])
def test_a_change_of_an_account_signs_out(catalog: Catalog, act: str) -> None:
    add_user(catalog, "root", Role.ADMIN, at=T0)
    add_user(catalog, "ann", Role.APPROVER, at=T0)
    token = sign_in(catalog, "ann")
    link = new_link(catalog, "ann", at=T0)
    if act == "role":
        set_role(catalog, "ann", Role.VIEWER)
    elif act == "disable":
        set_disabled(catalog, "ann", True, at=T0)
        assert begin(catalog, "ann", at=T0, limits=LIMITS, address="a") is None
        assert use_link(catalog, link, at=T0) is None
    else:
        set_password(catalog, "ann", GOOD)
        assert use_link(catalog, link, at=T0) is None
    assert not holds(catalog, token, T0)


def test_no_token_is_stored_as_it_is(catalog: Catalog) -> None:
    add_user(catalog, "ann", Role.VIEWER, at=T0)
    token, link = sign_in(catalog, "ann"), new_link(catalog, "ann", at=T0)
    path = catalog.engine.url.database
    assert path
    catalog.close()
    raw = b"".join(file.read_bytes() for file in Path(path).parent.glob("catalog.db*"))
    assert token.encode() not in raw
    assert link.encode() not in raw


def test_a_link_signs_in_once_and_in_its_time_and_takes_the_password_away(catalog: Catalog) -> None:
    add_user(catalog, "ann", Role.VIEWER, at=T0, password=GOOD)
    late = new_link(catalog, "ann", at=T0)
    assert use_link(catalog, late, at=T0 + timedelta(hours=24)) is None
    assert password_holds(catalog, "ann", GOOD) == "ann"
    link = new_link(catalog, "ann", at=T0)
    assert use_link(catalog, link, at=T0 + timedelta(hours=23)) == "ann"
    assert use_link(catalog, link, at=T0 + timedelta(hours=23)) is None
    assert password_holds(catalog, "ann", GOOD) is None


def test_the_first_link_is_kept_in_a_private_file_until_an_admin_can_sign_in(catalog: Catalog, tmp_path: Path) -> None:
    first = ensure_first_link(catalog, tmp_path, at=T0)
    assert first is not None
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert ensure_first_link(catalog, tmp_path, at=T0) == first
    assert use_link(catalog, first, at=T0) == "admin"
    second = ensure_first_link(catalog, tmp_path, at=T0)  # used, and no password was set
    assert second not in (None, first)
    set_password(catalog, "admin", GOOD)
    assert ensure_first_link(catalog, tmp_path, at=T0) is None
    assert not (tmp_path / FILE_NAME).exists()
    assert get_user(catalog, "admin").role is Role.ADMIN


def test_failed_tries_must_wait_longer_and_longer_and_are_forgotten(catalog: Catalog) -> None:
    at = T0
    waits = []
    for _ in range(8):
        while (left := try_now(catalog, "ann", "10.0.0.1", at=at)) > timedelta(0):
            waits.append(left.total_seconds())
            at += left
    assert waits == [1.0, 2.0, 4.0]
    assert try_now(catalog, "ann", "10.0.0.1", at=at) > timedelta(0)
    assert try_now(catalog, "ann", "10.0.0.2", at=at) == timedelta(0)  # another's failures do not lock ann out
    assert try_now(catalog, "ann", "10.0.0.1", at=at + FORGOTTEN_AFTER + timedelta(seconds=1)) == timedelta(0)


def test_a_success_forgets_the_failures_before_it(catalog: Catalog) -> None:
    for _ in range(4):
        assert try_now(catalog, "ann", "a", at=T0) == timedelta(0)
    succeeded(catalog, "ann", "a")
    assert try_now(catalog, "ann", "a", at=T0) == timedelta(0)


def test_many_names_from_one_address_must_wait_too(catalog: Catalog) -> None:
    waited = [try_now(catalog, f"user{n}", "10.0.0.1", at=T0) for n in range(40)]
    assert waited[20] == timedelta(0)
    assert waited[21] > timedelta(0)


@pytest.mark.parametrize("change", ["UPDATE audit_log SET who = 'x'", "DELETE FROM audit_log"])
def test_the_audit_log_is_append_only(catalog: Catalog, change: str) -> None:
    record(catalog, "user.add", who="ann", at=T0, about="bob", facts={"role": "viewer"})
    with pytest.raises(DatabaseError, match="append-only"), catalog.session() as session:
        session.execute(text(change))
    (entry,) = list_audit_log(catalog)
    assert (entry.who, entry.what, entry.about, entry.facts) == ("ann", "user.add", "bob", {"role": "viewer"})


def test_the_audit_log_is_read_by_pages_and_by_what_is_asked(catalog: Catalog) -> None:
    for n in range(6):
        record(catalog, f"act.{n}", who=("ann", "bob")[n % 2], at=T0 + timedelta(hours=n))
    newest = list_audit_log(catalog, limit=2)
    assert [entry.what for entry in newest] == ["act.5", "act.4"]
    assert [entry.what for entry in list_audit_log(catalog, before=newest[-1].id, limit=2)] == ["act.3", "act.2"]
    assert {entry.who for entry in list_audit_log(catalog, who="bob")} == {"bob"}
    assert len(list_audit_log(catalog, since=T0 + timedelta(hours=4))) == 2
    assert list_audit_log(catalog, what="%") == []
