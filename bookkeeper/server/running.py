"""Run the application: uvicorn with httptools and uvloop, on a socket that is bound before anything is promised."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from bookkeeper.errors import NotAllowed, UsageError
from bookkeeper.server.app import MakeRouter, Settings, make_app
from bookkeeper.server.guarding import Guard, Open

if TYPE_CHECKING:
    from bookkeeper.catalog import Database

BACKLOG: Final = 4096
GRACEFUL: Final = 30
"""Seconds that calls under way have when the server is asked to end."""


@dataclass(frozen=True)
class Place:
    """Where a server listens, and how it shows who it is. Port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8440
    tls_cert: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True)
class Parts:
    """What a server is put together from."""

    guard: Guard | None = None
    operations: MakeRouter | None = None
    pages: MakeRouter | None = None
    settings: Settings = field(default_factory=Settings)


def is_loopback(host: str) -> bool:
    """Tell whether an address is this host's own: nobody else reaches it. Raises `UsageError` where it is none."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise UsageError(f"{host} is no address of this host: {error.strerror}") from error
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def require_loopback(host: str) -> None:
    """Raise `NotAllowed` unless an address is this host's own: nobody else reaches it."""
    if not is_loopback(host):
        raise NotAllowed(
            f"a server without tokens is not opened to the network, and {host} is reached from it",
            remedy="leave out --open and make tokens, or listen on 127.0.0.1",
        )


@contextlib.contextmanager
def listening(place: Place) -> Iterator[tuple[socket.socket, str]]:
    """Bind the socket; give it and the URL by which the server is reached. Raises `UsageError`."""
    if (place.tls_cert is None) != (place.tls_key is None):
        raise UsageError("TLS needs a certificate and its key", remedy="--tls-cert FILE --tls-key FILE")
    try:
        family, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"{place.host}:{place.port} is no address of this host: {error.strerror}") from error
    with bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
            bound.listen(BACKLOG)
        except OSError as error:
            raise UsageError(
                f"{place.host}:{place.port} cannot be listened on: {error.strerror}", remedy="choose another --port"
            ) from error
        host, port = bound.getsockname()[:2]
        scheme = "http" if place.tls_cert is None else "https"
        yield bound, f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


SWITCH: Final = 0.0005
"""Seconds after which one thread lets another run: the event loop and the writer wait for each other all the time."""


class Server(uvicorn.Server):
    """uvicorn, serving a catalog; ``ready`` is called when it answers."""

    def __init__(self, database: Database, place: Place, parts: Parts, ready: Callable[[], object]) -> None:
        app = make_app(
            database, guard=parts.guard, operations=parts.operations, pages=parts.pages, settings=parts.settings
        )
        super().__init__(config(app, place))
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and tell so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in good order when asked to, and go on behind it: uvicorn would have the signal kill the program then."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {asked: signal.signal(asked, self.handle_exit) for asked in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for asked, handler in before.items():
                signal.signal(asked, handler)


def guarded(place: Place, *, open_to_all: bool) -> None:
    """Raise `NotAllowed` where whoever reaches a server may do everything, and it is reached from other hosts."""
    if open_to_all:
        require_loopback(place.host)


def serve_one(
    database: Database, place: Place, parts: Parts, on_ready: Callable[[str], object] = lambda url: None
) -> None:
    """Serve a catalog from this process until SIGTERM or SIGINT; what was taken by then is done and answered.

    ``on_ready`` is given the server's URL once it answers. Raises `UsageError`, `NotAllowed` (a server without a guard
    that others could reach).
    """
    guarded(place, open_to_all=parts.guard is None or isinstance(parts.guard, Open))
    sys.setswitchinterval(SWITCH)
    with listening(place) as (bound, url):
        Server(database, place, parts, lambda: on_ready(url)).run(sockets=[bound])


def config(app: Any, place: Place) -> uvicorn.Config:
    """Return how uvicorn runs the application. Raises `UsageError` where the TLS files are none."""
    made = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=GRACEFUL,
        ssl_certfile=place.tls_cert,
        ssl_keyfile=None if place.tls_key is None else str(place.tls_key),
    )
    try:
        made.load()
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{place.tls_cert} and {place.tls_key} are no certificate and its key: {error}",
            remedy="both are files in PEM format",
        ) from error
    return made
