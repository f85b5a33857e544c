"""Serve a catalog for a benchmark: ``python servecatalog.py CATALOG [MOST_AT_ONCE]``; prints its address."""

from __future__ import annotations

import sys

from bookkeeper.catalog import open_existing
from bookkeeper.server import Settings
from bookkeeper.server.logs import log_to_stderr
from bookkeeper.server.running import Parts, Place, serve_one

if __name__ == "__main__":
    log_to_stderr("warning")
    database = open_existing(f"sqlite:///{sys.argv[1]}")
    most = {"most_at_once": int(sys.argv[2])} if len(sys.argv) > 2 else {}
    settings = Settings(rate=1e6, burst=1e6, **most)
    serve_one(database, Place(port=0), Parts(settings=settings), lambda url: print(url, flush=True))
