"""A proxy that loses answers: what was asked is done, and whoever asked never hears of it."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class Cutting:
    """Forwards to a server. ``lose`` answers of what contains ``path`` are cut off, after the server gave them."""

    def __init__(self, url: str) -> None:
        self.host, self.port = str(urlsplit(url).hostname), int(urlsplit(url).port or 0)
        self.url = ""
        self.lose, self.path, self.lost = 0, b"", 0

    def forward(self, client: socket.socket) -> None:
        """Serve one connection."""
        with socket.create_connection((self.host, self.port)) as server:
            back = threading.Thread(target=self._back, args=(server, client))
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(1 << 16):
                    if self.lose and self.path in data:
                        self.lose -= 1
                        self.lost += 1
                        self._swallow(client, _whole(client, data))
                    else:
                        server.sendall(data)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)

    def _swallow(self, client: socket.socket, data: bytes) -> None:
        """Send it on a connection of its own, wait for the answer, and break off the client's."""
        with socket.create_connection((self.host, self.port)) as own:
            own.sendall(data)
            own.recv(1 << 16)
        client.shutdown(socket.SHUT_RDWR)


def _whole(client: socket.socket, data: bytes) -> bytes:
    """Read the rest of a request."""
    while b"\r\n\r\n" not in data:
        data += client.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *([0-9]+)", head)
    while (len(body) < int(length[1])) if length else not body.endswith(b"0\r\n\r\n"):
        body += client.recv(1 << 16)
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def cutting(url: str) -> Iterator[Cutting]:
    """Forward to the server at this URL for a block; ``.url`` is where."""
    proxy = Cutting(url)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            proxy.forward(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
