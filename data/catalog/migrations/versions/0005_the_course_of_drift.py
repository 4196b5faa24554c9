"""Drift: the statistic of every window that was looked at, against its limit.

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from data.catalog.columns import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "drift_points",
        sa.Column("inspection", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("window", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("level", sa.Float(), nullable=False),
        sa.Column("leading", sa.String(length=96), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_drift_points_device")),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.name"], name=op.f("fk_drift_points_inspection")),
        sa.PrimaryKeyConstraint("inspection", "device", "kind", "epoch", "window", name=op.f("pk_drift_points")),
    )


def downgrade() -> None:
    op.drop_table("drift_points")
