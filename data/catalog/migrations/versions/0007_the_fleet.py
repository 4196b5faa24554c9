"""The fleet: which heartbeats were read, the table and the counts that people look at, and alarms of silence.

The tables begin empty; the next watch run fills them from the devices and statuses that are known.

Revision: 0007, after 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from data.catalog.columns import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fleet_shards",
        sa.Column("after", sa.String(length=512), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("listed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("after", name=op.f("pk_fleet_shards")),
    )
    op.create_table(
        "fleet_devices",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("station", sa.String(length=63), nullable=False),
        sa.Column("inspection", sa.String(length=63), nullable=False),
        sa.Column("channel", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("engine_id", sa.String(length=128), nullable=False),
        sa.Column("client_version", sa.String(length=64), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms_p99", sa.Float(), nullable=False),
        sa.Column("spool_bytes", sa.BigInteger(), nullable=False),
        sa.Column("spool_share", sa.Float(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=True),
        sa.Column("silent_at", UtcDateTime(), nullable=True),
        sa.Column("kept_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_fleet_devices_device")),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_fleet_devices")),
    )
    for columns in (["site", "station"], ["state"], ["heard_at"], ["silent_at"]):
        op.create_index(op.f(f"ix_fleet_devices_{'_'.join(columns)}"), "fleet_devices", columns)
    op.create_table(
        "fleet_cells",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("inspection", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("engine_id", sa.String(length=128), nullable=False),
        sa.Column("client_version", sa.String(length=64), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "site", "inspection", "state", "outcome", "engine_id", "client_version", name=op.f("pk_fleet_cells")
        ),
    )
    op.create_table(
        "silence_alarms",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=True),
        sa.Column("raised_at", UtcDateTime(), nullable=False),
        sa.Column("cleared_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_silence_alarms_device")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silence_alarms")),
    )
    for column in ("device", "cleared_at"):
        op.create_index(op.f(f"ix_silence_alarms_{column}"), "silence_alarms", [column])


def downgrade() -> None:
    for table in ("silence_alarms", "fleet_cells", "fleet_devices", "fleet_shards"):
        op.drop_table(table)
