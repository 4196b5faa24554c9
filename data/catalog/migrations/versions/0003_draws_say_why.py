"""Draws say why, near-duplicates share a label, labels are doubted, golden items are asked.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from data.catalog.columns import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("draw_items", sa.Column("cluster", sa.String(64), nullable=True))
    op.add_column("draw_items", sa.Column("why", sa.JSON(), nullable=True))
    op.add_column("label_events", sa.Column("because", sa.String(128), nullable=True))
    op.create_index("ix_label_events_because", "label_events", ["because"])
    op.create_table(
        "label_reviews",
        sa.Column("sample_id", sa.String(64), nullable=False),
        sa.Column("inspection", sa.String(63), nullable=False),
        sa.Column("label_serial", sa.BigInteger(), nullable=False),
        sa.Column("given", sa.String(128), nullable=False),
        sa.Column("suggested", sa.String(128), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("snapshot_id", sa.String(64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.name"], name="fk_label_reviews_inspection"),
        sa.ForeignKeyConstraint(["sample_id"], ["samples.sample_id"], name="fk_label_reviews_sample_id"),
        sa.PrimaryKeyConstraint("sample_id", name="pk_label_reviews"),
    )
    op.create_index("ix_label_reviews_inspection", "label_reviews", ["inspection"])
    op.create_table(
        "golden_asks",
        sa.Column("id", _BIG_ID, autoincrement=True, nullable=False),
        sa.Column("inspection", sa.String(63), nullable=False),
        sa.Column("sample_id", sa.String(64), nullable=False),
        sa.Column("who", sa.String(128), nullable=False),
        sa.Column("truth", sa.JSON(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("event_id", sa.String(128), nullable=True),
        sa.Column("classes", sa.JSON(), nullable=True),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.name"], name="fk_golden_asks_inspection"),
        sa.ForeignKeyConstraint(["sample_id"], ["samples.sample_id"], name="fk_golden_asks_sample_id"),
        sa.PrimaryKeyConstraint("id", name="pk_golden_asks"),
        sa.UniqueConstraint("event_id", name="uq_golden_asks_event_id"),
        sa.UniqueConstraint("sample_id", "who", name="uq_golden_asks_sample_id_who"),
    )
    op.create_index("ix_golden_asks_inspection", "golden_asks", ["inspection"])


def downgrade() -> None:
    op.drop_table("golden_asks")
    op.drop_table("label_reviews")
    op.drop_index("ix_label_events_because", "label_events")
    with op.batch_alter_table("label_events") as table:
        table.drop_column("because")
    with op.batch_alter_table("draw_items") as table:
        table.drop_column("why")
        table.drop_column("cluster")
