"""Run by Alembic, on the connection that ``Catalog.open`` hands over."""

from __future__ import annotations

from alembic import context

from data.catalog.models import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run through data.catalog.Catalog.open(url), not through alembic's command")

context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",  # SQLite cannot alter a column in place
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
