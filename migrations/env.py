"""Runs migrations on the connection that `winnow.store.migrate` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from winnow.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
