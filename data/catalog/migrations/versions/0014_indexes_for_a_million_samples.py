"""Indexes for a million samples: what a page or a flow step asks for is found, never searched for.

Revision: 0014, after 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FLAGGED = sa.text("extra = 'flag'")
_INDEXES = (
    ("ix_windows_inspection_opened", "windows", ("inspection", "opened_at")),
    ("ix_windows_device_ingested", "windows", ("device", "ingested_at")),
    (
        "ix_windows_totals",
        "windows",
        ("inspection", "ingested_at", "frames", "excluded", "overload", "missing", "uploaded_bytes"),
    ),
    ("ix_samples_inspection_origin_counted", "samples", ("inspection", "origin", "counted")),
    ("ix_samples_inspection_origin_captured", "samples", ("inspection", "origin", "captured_at", "sample_id")),
    ("ix_events_inspection_kind", "events", ("inspection", "kind")),
    ("ix_outcomes_inspection_at", "outcomes", ("inspection", "at")),
)


def upgrade() -> None:
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)
    op.create_index("ix_samples_flagged", "samples", ["inspection"], sqlite_where=_FLAGGED, postgresql_where=_FLAGGED)
    op.create_index(
        "ix_draw_items_drawn",
        "draw_items",
        ["draw_id", "rank"],
        sqlite_where=sa.text("drawn = 1"),
        postgresql_where=sa.text("drawn"),
    )
    op.drop_index("ix_samples_inspection_origin", table_name="samples")  # the longer one serves for it


def downgrade() -> None:
    op.create_index("ix_samples_inspection_origin", "samples", ["inspection", "origin"])
    op.drop_index("ix_draw_items_drawn", table_name="draw_items")
    op.drop_index("ix_samples_flagged", table_name="samples")
    for name, table, _ in reversed(_INDEXES):
        op.drop_index(name, table_name=table)
