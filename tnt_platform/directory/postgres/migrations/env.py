"""Run migrations on the connection, and in the transaction, of `migrate`; Alembic loads this module."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
