"""Drift: how far each device was watched, and the alarms.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from data.catalog.columns import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "drift_watches",
        sa.Column("inspection", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("since_epoch", sa.Integer(), nullable=False),
        sa.Column("since_window", sa.Integer(), nullable=False),
        sa.Column("seen_epoch", sa.Integer(), nullable=False),
        sa.Column("seen_window", sa.Integer(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=True),
        sa.Column("engine_id", sa.String(length=128), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_drift_watches_device")),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.name"], name=op.f("fk_drift_watches_inspection")),
        sa.PrimaryKeyConstraint("inspection", "device", "kind", name=op.f("pk_drift_watches")),
    )
    op.create_table(
        "drift_alarms",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("inspection", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("station", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("window_at", UtcDateTime(), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=True),
        sa.Column("action", sa.String(length=16), server_default="", nullable=False),
        sa.Column("asked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("closed_by", sa.String(length=128), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_drift_alarms_device")),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.name"], name=op.f("fk_drift_alarms_inspection")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_alarms")),
    )
    op.create_index(op.f("ix_drift_alarms_inspection"), "drift_alarms", ["inspection"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_drift_alarms_inspection"), table_name="drift_alarms")
    op.drop_table("drift_alarms")
    op.drop_table("drift_watches")
