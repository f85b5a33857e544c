"""Alembic's entry: run the migrations on the connection that ``bookkeeper_schema.migrate`` hands over."""

from alembic import context

from bookkeeper_schema.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
