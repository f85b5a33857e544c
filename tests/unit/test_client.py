"""The way to a server: repeated while that is safe, patient with a server that is away, clear about versions."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bookkeeper import wire
from bookkeeper.client.ledger import HttpLedger
from bookkeeper.client.transport import Transport, checked
from bookkeeper.errors import (
    BookkeeperError,
    CatalogBusy,
    CatalogError,
    CatalogOutdated,
    CatalogTooNew,
    Fenced,
    ServerUnreachable,
    UsageError,
)
from bookkeeper.protocol import ProcessKey, StartProcess
from ledgers import World
from services.servers import serving

BREAK = b""
"""An answer that does not come: the connection is closed."""


def answer(status: str, body: bytes = b"{}", *headers: str, protocol: str | None = str(wire.PROTOCOL)) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    if protocol is not None:
        lines += [f"bookkeeper-protocol: {protocol}", "bookkeeper-version: 9.8"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Script:
    """A server that answers what it is told to, one answer a connection; the last one again and again."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heard: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Script:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                heard = b""
                while b"\r\n\r\n" not in heard:
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    heard += piece
                head, _, body = heard.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                while len(body) < length:
                    body += connection.recv(65536)
                if not head:
                    continue
                self.heard.append(head)
                connection.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


@pytest.fixture
def to() -> Iterator[Callable[..., Transport]]:
    with contextlib.ExitStack() as stack:

        def open_to(script: Script, patience: float = 30.0) -> Transport:
            transport = Transport(script.url, patience=patience)
            stack.callback(transport.close)
            return transport

        yield open_to


Open = Callable[..., Transport]


def test_what_was_not_taken_is_sent_again(to: Open) -> None:
    with Script(
        answer("503 Busy", b"", "retry-after: 0"), answer("429 Too Many", b""), answer("200 OK", b"1")
    ) as script:
        assert to(script).post("/x", b"{}", repeatable=False).body == b"1"
        assert len(script.heard) == 3


def test_it_comes_again_when_it_was_told_to(to: Open) -> None:
    began = time.monotonic()
    with Script(answer("503 Busy", b"", "retry-after: 1"), answer("200 OK")) as script:
        to(script).post("/x", b"{}")
    assert time.monotonic() - began >= 1.0


def test_whoever_is_told_to_stop_does_not_go_on_waiting(to: Open) -> None:
    began = time.monotonic()
    with Script(answer("503 Busy", b"", "retry-after: 20")) as script:
        transport = to(script)
        transport.told_to_stop = lambda: len(script.heard) > 0
        with pytest.raises(CatalogBusy):
            transport.post("/x", b"{}")
    assert time.monotonic() - began < 10


def test_that_a_server_is_waited_for_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pauses after it was told are enough: who tells at every one has told twice by then."""
    from bookkeeper.client import catalog, transport

    told: list[str] = []
    pauses: list[bool] = []

    class Counting(Transport):
        def _sleep(self, seconds: float) -> None:
            super()._sleep(seconds)
            pauses.append(bool(told))

    monkeypatch.setattr(catalog, "on_greeting", told.append)
    monkeypatch.setattr(catalog, "GREETING", 600)
    monkeypatch.setattr(transport, "WAITS", (0.1, 0.1))
    way = Counting("http://127.0.0.1:1", patience=600)
    way.told_to_stop = lambda: sum(pauses) >= 2
    with pytest.raises(ServerUnreachable):
        catalog.RemoteCatalog(way.url, transport=way)
    assert len(told) == 1
    assert "refused" in told[0]


def test_what_is_repeatable_is_sent_again_when_the_answer_is_lost(to: Open) -> None:
    with Script(BREAK, answer("502 Bad Gateway", b""), answer("200 OK", b"1")) as script:
        assert to(script).post("/x", b"{}").body == b"1"


def test_what_is_not_repeatable_is_sent_once(to: Open) -> None:
    with Script(BREAK, answer("200 OK")) as script:
        with pytest.raises(ServerUnreachable, match="broke before the answer") as raised:
            to(script).post("/x", b"{}", repeatable=False)
        assert "may have been done" in raised.value.remedy
        assert len(script.heard) == 1


def test_patience_ends(to: Open) -> None:
    with Script(answer("503 Busy", wire.encode_error(CatalogBusy("full")), "retry-after: 0")) as script:
        with pytest.raises(CatalogBusy, match="full"):
            to(script, patience=3).post("/x", b"{}")
        assert len(script.heard) > 1
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        to(script, patience=0.3).post("/x", b"{}")


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (wire.encode_error(Fenced("gone", remedy="stop")), "410 Gone", Fenced),
        (wire.encode_error(UsageError("odd")), "400 Bad Request", UsageError),
        (b"<html>", "500 Internal Server Error", CatalogError),
        (b"<html>", "404 Not Found", BookkeeperError),
    ],
)
def test_errors_come_as_what_they_were(to: Open, body: bytes, status: str, kind: type[BookkeeperError]) -> None:
    with Script(answer(status, body)) as script, pytest.raises(BookkeeperError) as raised:
        to(script).post("/x", b"{}")
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("protocol", "kind", "says"),
    [
        (str(wire.PROTOCOL + 1), CatalogTooNew, "install bookkeeper 9.8"),
        (str(wire.PROTOCOL - 1), CatalogOutdated, "server upgraded"),
        (None, ServerUnreachable, "check the address"),
        ("many", ServerUnreachable, "check the address"),
    ],
)
def test_another_version_is_told_in_clear_words(
    to: Open, protocol: str | None, kind: type[BookkeeperError], says: str
) -> None:
    with Script(answer("404 Not Found", protocol=protocol)) as script, pytest.raises(kind) as raised:
        to(script).post("/v1/x", b"{}")
    assert says in raised.value.remedy


def test_a_token_goes_into_its_header_only(to: Open) -> None:
    with Script(answer("200 OK")) as script:
        to(script).post("/x", b"{}", "my-token")
        assert b"authorization: bearer my-token" in script.heard[0].lower()
        for odd in ("my\ntoken", "mein-tökén-€"):
            with pytest.raises(UsageError) as raised:
                to(script).post("/x", b"{}", odd)
            assert "my" not in raised.value.message.replace("any", "")
            assert raised.value.__cause__ is None


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "https://user:secret@host", "http://h?a=b", "http://h:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        checked(url)
    assert "secret" not in raised.value.message


def test_a_job_waits_for_its_server(tmp_path: Path) -> None:
    from services.servers import ServerProcess

    world = World.create(tmp_path / "catalog.db", 2)
    with ServerProcess(world.database.url, tmp_path) as server, contextlib.closing(Transport(server.url)) as transport:
        ledger = HttpLedger(transport)
        key = ledger.start_process(StartProcess("p", "nonce")).key
        server.kill()
        back = threading.Thread(target=server.start)
        back.start()
        assert len(ledger.next_files(key, 1, 9).files) == 2
        back.join()
        assert server.stop() == 0
    world.close()


def test_a_transport_survives_a_close_and_serves_several_threads(tmp_path: Path) -> None:
    world = World.create(tmp_path / "catalog.db", 2)
    with serving(world.database) as url, contextlib.closing(Transport(url)) as transport:
        ledger = HttpLedger(transport)
        keys: list[ProcessKey] = []
        threads = [
            threading.Thread(target=lambda n=n: keys.append(ledger.start_process(StartProcess("p", f"n{n}")).key))
            for n in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(key.id for key in keys) == list(range(1, 17))
        transport.close()
        assert ledger.heartbeat(keys[0]) == 600
    world.close()
