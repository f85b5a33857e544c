"""The catalog's server: jobs and people reach it over HTTP, and it alone writes.

`app.make_app` makes the application, `running.serve` runs it; `group` is why one writer is fast.
"""

from bookkeeper.server.app import Application, Settings, make_app

__all__ = ["Application", "Settings", "make_app"]
