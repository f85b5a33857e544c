"""Real services for tests: servers that listen, and can be killed."""

from __future__ import annotations

import atexit
import contextlib

AT_END = contextlib.ExitStack()
"""What stops the servers that tests share, at the end of the session: a worker of xdist does not get to its ``atexit``."""

atexit.register(AT_END.close)
