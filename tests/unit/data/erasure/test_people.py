"""A pseudonym in a person's place, everywhere, and an audit log that gives away nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import JSON, String, Text, delete, select, update
from sqlalchemy.exc import DBAPIError

from data.catalog import Catalog
from data.catalog.models import Base, LabelEventRow, LabelFlagRow, ReleaseRow
from data.catalog.people import AuditRow, SessionRow, SignInFailureRow, UserRow
from data.erasure.jobs import Erasure, ErasureKind, begin, finish
from data.erasure.people import NAMES, WORDS, check_may_go, rename_person, traces_of
from data.users.accounts import UserError, add_user
from data.users.attempts import try_now
from data.users.audit_log import list_audit_log, record
from data.users.roles import Role
from tests.unit.data.captured_line import INSPECTION, T0, Line

#: Columns of text that name things, never people: devices, samples, classes, engines, what a program wrote.
NEVER = {
    "audit_log": "role what outcome address",
    "device_accounts": "device access_key_id next_access_key_id recipient claim_key_hex invitation",
    "device_inspections": "device inspection channel",
    "device_status": "device inspection channel engine_id engine_sha256 health payload",
    "devices": "name site station public_key_hex previous_public_key_hex",
    "draw_items": "draw_id sample_id cluster why",
    "draws": "id inspection",
    "drift_alarms": "inspection device station kind cause words figures action",
    "drift_points": "inspection device kind leading",
    "drift_watches": "inspection device kind engine_id reference",
    "erasures": "kind pseudonym subject delete_next counts",
    "events": "event_id device inspection kind sample_id part_id value",
    "fleet_cells": "site inspection state outcome engine_id client_version",
    "fleet_devices": "device site station inspection channel state outcome engine_id client_version problem",
    "fleet_shards": "after seen",
    "gate_decisions": "inspection version champion_version run_id snapshot_id engine_id answer reasons checks "
    "label_more metrics comparison",
    "golden_asks": "inspection sample_id truth event_id classes",
    "heartbeats": "device payload",
    "inspections": "name classes settings",
    "label_events": "event_id sample_id inspection kind classes source undoes because",
    "label_flags": "event_id sample_id inspection said",
    "label_reviews": "sample_id inspection given suggested snapshot_id",
    "leases": "sample_id",
    "notices": "key channel kind error",
    "outcomes": "event_id device inspection part_id value stage",
    "quarantine": "kind key member device inspection sample_id reason moved_to",
    "releases": "inspection channel version engine_id engine_sha256 action",
    "rollout_devices": "device record",
    "rollouts": "inspection channel version state plan evidence",
    "samples": "sample_id inspection origin device station image_sha256 lake_path media_type extra reasons part_id "
    "group split stage source_path engine_id classes probabilities verdict context",
    "sessions": "token_sha256 user csrf address",  # rows are deleted
    "sign_in_failures": "key",  # rows are deleted
    "sign_in_links": "token_sha256 user",  # rows are deleted
    "sign_ins_begun": "state_sha256 browser_sha256 nonce verifier onward address",  # of nobody yet; ten minutes long
    "signed_documents": "path content action",
    "silence_alarms": "device site",
    "snapshots": "id inspection classes path counts left_id",
    "users": "name role password_hash issuer subject language",  # rows are deleted
    "windows": "draw_id device inspection site station engine_ids class_counts verdict_counts histograms runs "
    "record_sha256",
}


def test_every_column_of_text_is_decided() -> None:
    for table in Base.metadata.tables.values():
        texts = {column.name for column in table.columns if isinstance(column.type, (String, Text, JSON))}
        decided = [*NAMES.get(table.name, ()), *WORDS.get(table.name, ()), *NEVER.get(table.name, "").split()]
        assert sorted(texts) == sorted(decided), table.name


@pytest.fixture
def ann(catalog: Catalog, line: Line) -> str:
    """Somebody who labels, decides and is talked about."""
    (one, two) = line.stream(["ok"] * 2, np.ones(2), 2)
    line.label(one, who="ann")
    line.label(two, who="joann")
    add_user(catalog, "ann", Role.APPROVER, at=T0)
    add_user(catalog, "boss", Role.ADMIN, at=T0)
    try_now(catalog, "ann", "10.0.0.7", at=T0)
    with catalog.session() as session:
        session.add(
            SessionRow(token_sha256="a" * 64, user="ann", csrf="x", made_at=T0, seen_at=T0, until=T0, address="")
        )
        session.add(LabelFlagRow(event_id="f", sample_id=one, inspection=INSPECTION, who="joann", at=T0,
                                 note="ann saw it too; joann did not", closed_by="ann", closed_at=T0))  # fmt: skip
        session.add(ReleaseRow(inspection=INSPECTION, channel="stable", action="release", who="ann", at=T0,
                               detail={"asked": {"by": "ann"}, "n": 3}))  # fmt: skip
    record(catalog, "rollout.hold", who="ann", at=T0, about="solder 3", facts={"seen_by": ["ann", "boss"]})
    record(catalog, "user.role", who="boss", at=T0, about="ann", detail="ann may label. Ann may not")
    return "ann"


def begun(catalog: Catalog, name: str, who: str = "boss") -> Erasure:
    return begin(catalog, ErasureKind.PERSON, who=who, at=T0, pseudonym="person-1", subject={"about": name})


def test_a_person_is_renamed_everywhere_and_the_account_goes(catalog: Catalog, ann: str, tmp_path: Path) -> None:
    assert traces_of(catalog, ann).role is Role.APPROVER
    assert traces_of(catalog, ann).rows == {"audit_log": 2, "label_events": 1, "label_flags": 1, "releases": 1}
    erasure = begun(catalog, ann, who="ann")
    rename_person(catalog, erasure, ann)
    rename_person(catalog, erasure, ann)  # as after a kill
    finish(catalog, erasure, at=T0)

    assert traces_of(catalog, ann).nothing
    with catalog.reading() as session:
        assert sorted(session.scalars(select(LabelEventRow.who))) == ["joann", "person-1"]
        (flag,) = session.scalars(select(LabelFlagRow))
        (release,) = session.scalars(select(ReleaseRow))
        assert session.get(UserRow, "ann") is None
        assert session.get(UserRow, "boss") is not None
        assert not list(session.scalars(select(SessionRow)))
        assert not [key for key in session.scalars(select(SignInFailureRow.key)) if "ann" in key]
    assert (flag.note, flag.who, flag.closed_by) == ("person-1 saw it too; joann did not", "joann", "person-1")
    assert (release.who, release.detail) == ("person-1", {"asked": {"by": "person-1"}, "n": 3})
    erased, role, hold = list_audit_log(catalog)
    assert (hold.who, hold.facts, hold.what) == ("person-1", {"seen_by": ["person-1", "boss"]}, "rollout.hold")
    assert (role.who, role.about, role.detail) == ("boss", "person-1", "person-1 may label. Ann may not")
    assert (erased.what, erased.who, erased.about) == ("erase.person", "person-1", f"erasure {erasure.id}")
    files = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.db*"))
    assert b'"by": "ann"' not in files


@pytest.mark.parametrize("while_under_way", [False, True, None])
def test_the_audit_log_gives_away_a_name_alone_and_only_while_somebody_is_erased(
    catalog: Catalog, ann: str, while_under_way: bool | None
) -> None:
    if while_under_way:
        begun(catalog, ann)
    if while_under_way is None:
        finish(catalog, begun(catalog, ann), at=T0)
    changes = [
        delete(AuditRow),
        update(AuditRow).values(what="nothing"),
        update(AuditRow).values(outcome="refused"),
        update(AuditRow).values(at=T0.replace(year=2031)),
        *([] if while_under_way else [update(AuditRow).values(who="somebody")]),
    ]
    for change in changes:
        with pytest.raises(DBAPIError, match="append-only"), catalog.session() as session:
            session.execute(change)
    if while_under_way:
        with catalog.session() as session:
            session.execute(update(AuditRow).values(who="somebody"))


def test_the_last_admin_is_not_erased(catalog: Catalog, ann: str) -> None:
    check_may_go(catalog, "ann")
    with pytest.raises(UserError, match="boss is the last admin: make somebody else one first"):
        check_may_go(catalog, "boss")
