"""The catalog server."""
