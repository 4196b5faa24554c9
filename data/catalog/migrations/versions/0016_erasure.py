"""Erasure: samples whose content is gone, snapshots of which rows are gone, and what was asked to be erased.

The audit log stays append-only, with one exception: while the erasure of a person is under way, their name may be
replaced in it. When, what and how it ended can still not be changed, and no row can be removed.

Revision: 0016, after 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from data.catalog.columns import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_UNDER_WAY = "EXISTS (SELECT 1 FROM erasures WHERE kind = 'person' AND done_at IS NULL)"
_SAME = ("id", "at", "role", "what", "outcome")
_SQLITE_PLAIN = """
CREATE TRIGGER audit_log_no_UPDATE BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
_SQLITE = f"""
CREATE TRIGGER audit_log_no_UPDATE BEFORE UPDATE ON audit_log
WHEN NOT ({_UNDER_WAY} AND {" AND ".join(f"NEW.{column} IS OLD.{column}" for column in _SAME)})
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
_FUNCTION = f"""
CREATE FUNCTION audit_log_may_lose_a_name() RETURNS trigger AS $$
BEGIN
    IF NOT ({_UNDER_WAY} AND {" AND ".join(f"NEW.{column} = OLD.{column}" for column in _SAME)}) THEN
        RAISE EXCEPTION 'the audit log is append-only';
    END IF;
    RETURN NEW;
END
$$ LANGUAGE plpgsql
"""  # no value comes from outside


def upgrade() -> None:
    op.add_column("samples", sa.Column("erased_at", UtcDateTime(), nullable=True))
    op.add_column("snapshots", sa.Column("erased", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("snapshots", sa.Column("left_id", sa.String(length=64), nullable=True))
    op.create_table(
        "erasures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("pseudonym", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.JSON(), nullable=False),
        sa.Column("delete_next", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_log_no_UPDATE")
        op.execute(_SQLITE)
    else:
        op.execute("DROP TRIGGER audit_log_no_UPDATE ON audit_log")
        op.execute(_FUNCTION)
        op.execute(
            "CREATE TRIGGER audit_log_no_UPDATE BEFORE UPDATE ON audit_log "
            "FOR EACH ROW EXECUTE FUNCTION audit_log_may_lose_a_name()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_log_no_UPDATE")
        op.execute(_SQLITE_PLAIN)
    else:
        op.execute("DROP TRIGGER audit_log_no_UPDATE ON audit_log")
        op.execute("DROP FUNCTION audit_log_may_lose_a_name()")
        op.execute(
            "CREATE TRIGGER audit_log_no_UPDATE BEFORE UPDATE ON audit_log "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()"
        )
    op.drop_table("erasures")
    op.drop_column("snapshots", "left_id")
    op.drop_column("snapshots", "erased")
    op.drop_column("samples", "erased_at")
