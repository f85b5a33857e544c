"""Lists of any length through a server, one line of JSON an item (NDJSON).

In both directions the last line is a list: ``["end", n]`` after ``n`` items, or ``["error", {…}]``. A stream without
it was cut off, and counts as nothing. Empty lines say that the other side is still at work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bookkeeper.client.transport import Transport
from bookkeeper.errors import BookkeeperError, ServerUnreachable, UsageError
from bookkeeper.wire import PROTOCOL, decode_error, decoder, encode

if TYPE_CHECKING:
    import httpx

TYPE: Final = "application/x-ndjson"

PIECE: Final = 1 << 16
"""Bytes that are sent at a time, about."""


def download(
    transport: Transport, path: str, body: bytes, token: str | None, kind: Any, *, repeatable: bool = True
) -> Iterator[Any]:
    """Ask, and return the items of the answer as they come, each of this kind.

    What is wrong with the question is raised here, and where it is ``repeatable`` it is asked until an answer begins;
    what goes wrong later is raised on the way to the item.
    """

    def once() -> tuple[contextlib.ExitStack, httpx.Response]:
        return _begun(transport, path, body, token, "application/json", repeatable)

    return _items(transport, _lines(transport, *transport.patiently(once)), kind)


def upload(
    transport: Transport,
    path: str,
    arguments: Mapping[str, Any],
    items: Iterable[Any],
    each: Callable[[int, Any], Any],
    token: str | None,
    kind: Any,
    on_progress: Callable[[int], object] | None = None,
) -> Any:
    """Send arguments and a stream of items; return the answer. What ``items`` raises ends it: nothing counts then."""
    own: list[BaseException] = []

    def lines() -> Iterator[bytes]:
        yield encode(arguments) + b"\n"
        count, piece = 0, bytearray()
        try:
            for count, item in enumerate(items, start=1):
                piece += _line(each(count, item)) + b"\n"
                if len(piece) >= PIECE:
                    yield bytes(piece)
                    piece.clear()
                    if on_progress is not None:
                        on_progress(count)
        except BaseException as error:
            own.append(error)
            raise
        yield bytes(piece) + encode(["end", count]) + b"\n"
        if on_progress is not None and count:
            on_progress(count)

    try:
        begun = transport.patiently(lambda: _begun(transport, path, lines(), token, TYPE, False), 0.0)
        found = list(_items(transport, _lines(transport, *begun), kind))
    except Exception:
        if own:
            raise own[0] from None  # not the broken connection that followed
        raise
    if len(found) != 1:
        raise ServerUnreachable(f"{transport.url} answered {len(found)} times")
    return found[0]


def _line(item: Any) -> bytes:
    try:
        return encode(item)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise UsageError(f"{item!r:.80} cannot be sent to a server: {error}") from error


def _begun(
    transport: Transport, path: str, content: bytes | Iterator[bytes], token: str | None, kind: str, repeatable: bool
) -> tuple[contextlib.ExitStack, httpx.Response]:
    """Ask, and return the answer when it begins, and what ends it."""
    headers = {"content-type": kind, "bookkeeper-protocol": str(PROTOCOL)}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    with contextlib.ExitStack() as stack, transport.sending(repeatable):
        answer = stack.enter_context(transport.client().stream("POST", path, content=content, headers=headers))
        if answer.status_code >= 300:
            answer.read()
        transport.judge(answer, repeatable)
        return stack.pop_all(), answer
    raise AssertionError("answered or raised")


def _lines(transport: Transport, stack: contextlib.ExitStack, answer: httpx.Response) -> Iterator[str]:
    import httpx

    with stack:
        try:
            yield from answer.iter_lines()
        except httpx.TransportError as error:
            raise ServerUnreachable(
                f"the connection to {transport.url} broke before all was answered ({type(error).__name__}: {error})",
                remedy="what was asked may have been done: look before you ask again",
            ) from error


def _items(transport: Transport, lines: Iterator[str], kind: Any) -> Iterator[Any]:
    one = decoder(kind)
    count = 0
    for line in lines:
        if not line:
            continue
        if line.startswith('["'):
            ending = msgspec.json.decode(line)
            if ending[0] == "end" and ending[1] == count:
                return
            if ending[0] == "error":
                raise decode_error(msgspec.json.encode(ending[1])) or BookkeeperError(f"{transport.url} failed")
        try:
            yield one.decode(line)
        except msgspec.MsgspecError as error:
            raise ServerUnreachable(f"{transport.url} answered what cannot be read: {error}") from error
        count += 1
    raise ServerUnreachable(f"the answer of {transport.url} was cut off after {count} items", remedy="ask again")
