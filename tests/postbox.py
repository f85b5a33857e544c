"""A real HTTP server on the loopback that notifications are posted to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Postbox:
    """Keeps what is posted. ``answer`` is its status; it does not answer at all while ``hangs`` is set."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.answer = 200
        self.hangs = threading.Event()
        self.let_go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.paths.append(self.path)
                if outer.hangs.is_set():
                    outer.let_go.wait(60)
                    return
                if outer.answer == 200:
                    outer.posts.append(json.loads(body))
                self.send_response(outer.answer)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """An address for apprise, with secrets in it."""
        return f"json://me:hunter2@127.0.0.1:{self._server.server_port}/s3cret-path"

    @property
    def texts(self) -> list[str]:
        """Titles and bodies of what was posted."""
        return [f"{post['title']}\n{post['message']}" for post in self.posts]


@contextlib.contextmanager
def postbox() -> Iterator[Postbox]:
    """Serve while the block runs."""
    box = Postbox()
    box._thread.start()
    try:
        yield box
    finally:
        box.let_go.set()
        box._server.shutdown()
        box._server.server_close()
        box._thread.join()
