"""Drawn samples note what settled them, so that the queue finds the open ones.

Revision: 0015, after 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NOTE = """
UPDATE draw_items SET settled_by = (
    SELECT max(e.serial) FROM label_events e
    WHERE e.sample_id = draw_items.sample_id AND e.kind IN ('label', 'cannot_tell')
    AND NOT EXISTS (SELECT 1 FROM label_events u WHERE u.undoes = e.event_id)
) WHERE drawn
"""


def upgrade() -> None:
    op.add_column("draw_items", sa.Column("settled_by", sa.BigInteger(), nullable=True))
    op.execute(_NOTE)
    op.create_index(
        "ix_draw_items_open",
        "draw_items",
        ["draw_id"],
        sqlite_where=sa.text("drawn = 1 AND settled_by IS NULL"),
        postgresql_where=sa.text("drawn AND settled_by IS NULL"),
    )
    op.create_index(
        "ix_label_events_undos",
        "label_events",
        ["inspection"],
        sqlite_where=sa.text("kind = 'undo'"),
        postgresql_where=sa.text("kind = 'undo'"),
    )


def downgrade() -> None:
    op.drop_index("ix_label_events_undos", table_name="label_events")
    op.drop_index("ix_draw_items_open", table_name="draw_items")
    with op.batch_alter_table("draw_items") as table:
        table.drop_column("settled_by")
