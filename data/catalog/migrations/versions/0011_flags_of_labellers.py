"""Flags that people who label raise on a sample, with a note, for whoever reviews.

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from data.catalog.columns import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "label_flags",
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("sample_id", sa.String(length=64), nullable=False),
        sa.Column("inspection", sa.String(length=63), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("said", sa.JSON(), nullable=True),
        sa.Column("closed_by", sa.String(length=128), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.name"], name=op.f("fk_label_flags_inspection")),
        sa.ForeignKeyConstraint(["sample_id"], ["samples.sample_id"], name=op.f("fk_label_flags_sample_id")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_label_flags")),
    )
    op.create_index("ix_label_flags_inspection_closed_at", "label_flags", ["inspection", "closed_at"])


def downgrade() -> None:
    op.drop_index("ix_label_flags_inspection_closed_at", table_name="label_flags")
    op.drop_table("label_flags")
