"""Accounts of devices in the bucket: invitations, and keys that are being replaced; a device's key before its present.

Revision: 0008, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from data.catalog.columns import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_accounts",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("access_key_id", sa.String(length=128), nullable=True),
        sa.Column("next_access_key_id", sa.String(length=128), nullable=True),
        sa.Column("next_since", UtcDateTime(), nullable=True),
        sa.Column("recipient", sa.String(length=128), nullable=True),
        sa.Column("claim_key_hex", sa.String(length=64), nullable=True),
        sa.Column("invited_at", UtcDateTime(), nullable=True),
        sa.Column("invited_until", UtcDateTime(), nullable=True),
        sa.Column("invitation", sa.JSON(), nullable=True),
        sa.Column("claimed_at", UtcDateTime(), nullable=True),
        sa.Column("replaced_at", UtcDateTime(), nullable=True),
        sa.Column("key_wanted_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_device_accounts")),
    )
    with op.batch_alter_table("devices") as batch:
        batch.add_column(sa.Column("previous_public_key_hex", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("previous_until", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("devices") as batch:
        batch.drop_column("previous_until")
        batch.drop_column("previous_public_key_hex")
    op.drop_table("device_accounts")
