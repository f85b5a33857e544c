"""The SQL truth of bookkeeper: states, tables, views and migrations. Imports nothing of the library above it."""
