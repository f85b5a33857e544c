"""`RemoteCatalog`: a catalog behind a server. To the functions of the nouns it is what a `Database` is."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from bookkeeper.client import queries, streams
from bookkeeper.client.token import token_of
from bookkeeper.client.transport import GREETING, Transport
from bookkeeper.database import Database, Parameters, Tx
from bookkeeper.errors import CatalogError, ServerRestarted, ServerUnreachable, UsageError
from bookkeeper.operations import Operation, Remote
from bookkeeper.protocol import Ledger
from bookkeeper.wire import decode, decoder, encode

T = TypeVar("T")


on_greeting: Callable[[str], object] | None = None
"""Told, if a program sets it, why a server that was never met is waited for."""


class Hello(msgspec.Struct, frozen=True):
    """How a server introduces itself: its catalog, its version, and a word that changes when it is restarted."""

    catalog: str
    epoch: int
    version: str
    boot: str


class RemoteCatalog(Database, Remote):
    """A catalog behind the server at ``url``. Raises what `Transport.get` raises where there is none."""

    dialect = "remote"

    def __init__(self, url: str, *, transport: Transport | None = None) -> None:
        self._transport = transport or Transport(url)
        self._hello = self._ask_hello(min(GREETING, self._transport.patience), on_greeting)
        id, epoch = self._hello.catalog, self._hello.epoch
        super().__init__(id=id, epoch=epoch, stamped=False, folder=_folder(id), name=self._transport.url)

    def __repr__(self) -> str:
        return f"<RemoteCatalog {self.url}>"

    @property
    def url(self) -> str:
        """The address that opens this catalog again. There is no secret in it."""
        return self._transport.url

    def ledger(self) -> Ledger:
        """Return the ledger, through the server."""
        from bookkeeper.client.ledger import HttpLedger

        return HttpLedger(self._transport, token_of())

    def call(self, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        """Let the server do an operation; return the answer. Raises what the operation raises, and `CatalogError`.

        A call that changes something carries a key: repeated because its answer was lost, it is done once.
        """
        path, said = f"/v1/call/{operation.name}", dict(arguments)
        if operation.upload is not None:
            return self._upload(operation, path, said)
        body = self._encoded(operation, said)
        if operation.streams or operation.slow:
            found = streams.download(
                self._transport, path, body, token_of(), operation.returns, repeatable=operation.again
            )
            if operation.streams:
                return found
            (answer,) = found
            return answer
        if operation.changes:
            return self._decoded(operation, self._once(path, body, operation.again))
        return self._decoded(operation, self._transport.post(path, body, token_of()).body)

    # -- what a `Database` has -------------------------------------------------------------------------------------

    def table(
        self, query: str, parameters: Parameters = (), *, most: int | None = None, seconds: float | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """See `Database.table`: within the limits of a server."""
        found = queries.query(self, query, _sendable(parameters))
        return found.names, [tuple(map(queries.received, row)) for row in found.rows[:most]]

    def rows(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """See `Database.rows`: within the limits of a server."""
        names, rows = self.table(query, parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def now(self) -> float:
        """See `Database.now`."""
        return queries.clock(self)

    @contextlib.contextmanager
    def sole_publisher(self) -> Iterator[bool]:
        """Tell that this side is not the one that publishes to stores without rename: the server is."""
        yield False

    def transaction(self, *, durable: bool = False) -> NoReturn:
        """Refuse: a transaction is made by the server only."""
        raise UsageError("this cannot be done through a server", remedy="do it on the host of the catalog")

    def run(self, move: Callable[[Tx], T], *, durable: bool = False) -> T:
        """Refuse, as `transaction` does."""
        self.transaction()

    def auditor(self) -> NoReturn:
        """Refuse, as `transaction` does."""
        self.transaction()

    def begin_time_line(self) -> None:
        """Do nothing: the server did."""

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()

    # -- calls -----------------------------------------------------------------------------------------------------

    def _once(self, path: str, body: bytes, again: bool) -> bytes:
        """Send a call that changes something; where its answer is lost, ask for the same answer again.

        After a restart the server does not know it any more: it is made ``again`` where that does no harm.
        """
        import httpx

        key = secrets.token_hex(16)
        for _ in range(3):
            asked = f"{path}?once={key}&boot={self._hello.boot}"
            try:
                return self._transport.post(asked, body, token_of(), repeatable=False).body
            except ServerRestarted:  # before this first try, so that nothing was done
                self._hello = self._ask_hello()
            except ServerUnreachable as error:
                if not isinstance(error.__cause__, httpx.TransportError):
                    raise
                try:
                    return self._transport.post(asked, body, token_of()).body
                except ServerRestarted:
                    if not again:
                        raise
                    self._hello = self._ask_hello()
        raise ServerUnreachable(f"{self.url} is restarted again and again")

    def _upload(self, operation: Operation, path: str, arguments: dict[str, Any]) -> Any:
        assert operation.upload is not None
        assert operation.each is not None
        items, on_progress = arguments.pop(operation.upload), arguments.pop("on_progress", None)
        said = msgspec.to_builtins(arguments)
        # Whoever may not do it, or says it wrongly, learns it before the first item is made.
        streams.upload(self._transport, path, said, (), operation.each, token_of(), operation.returns)
        return streams.upload(
            self._transport, path, said, items, operation.each, token_of(), operation.returns, on_progress
        )

    def _encoded(self, operation: Operation, arguments: dict[str, Any]) -> bytes:
        for name, value in arguments.items():
            try:
                msgspec.to_builtins(value, str_keys=True)
            except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
                raise UsageError(f"{name} cannot be sent to the catalog's server: {error}") from error
        return encode(arguments)

    def _decoded(self, operation: Operation, body: bytes) -> Any:
        try:
            return decoder(operation.returns).decode(body)
        except msgspec.MsgspecError as error:
            from bookkeeper import __version__

            raise CatalogError(
                f"the answer of {self.url} to {operation.name} cannot be read: {error}",
                remedy=f"the server is bookkeeper {self._hello.version}, this is {__version__}: use the same",
            ) from error

    def give_up_when(self, told: Callable[[], bool]) -> None:
        """See `Remote.give_up_when`."""
        self._transport.told_to_stop = told

    def _ask_hello(self, patience: float | None = None, on_wait: Callable[[str], object] | None = None) -> Hello:
        found: Hello = decode(self._transport.get("/v1/catalog", patience=patience, on_wait=on_wait).body, Hello)
        known = getattr(self, "_hello", None)
        if known is not None and known.catalog != found.catalog:
            raise CatalogError(f"{self.url} serves another catalog by now: {found.catalog}, not {known.catalog}")
        return found


def _folder(catalog: str) -> Path:
    """Return where this host keeps what belongs to its work for a catalog (logs, the slots of local jobs)."""
    named = os.environ.get("BOOKKEEPER_STATE_HOME") or os.environ.get("XDG_STATE_HOME", "")
    state = Path(named) if named.startswith("/") else Path.home() / ".local" / "state"
    return state / "bookkeeper" / catalog


def _sendable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: queries.sendable(one) for key, one in value.items()}
    return [queries.sendable(one) for one in value]
