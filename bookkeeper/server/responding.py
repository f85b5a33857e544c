"""Answers as ASGI messages. Each says which version of the protocol it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import bookkeeper
from bookkeeper import wire
from bookkeeper.errors import AccessDenied, BookkeeperError
from bookkeeper.server.statuses import status_of

Headers = Sequence[tuple[bytes, bytes]]

VERSIONS: Final = (
    (b"bookkeeper-protocol", str(wire.PROTOCOL).encode()),
    (b"bookkeeper-version", bookkeeper.__version__.encode()),
)
_JSON: Final = ((b"content-type", b"application/json"), *VERSIONS)


async def reply(send: Any, status: int, body: bytes, headers: Headers = ()) -> None:
    """Send one answer in JSON."""
    length = () if status == 204 else ((b"content-length", str(len(body)).encode()),)
    await send({"type": "http.response.start", "status": status, "headers": [*_JSON, *length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def failure(send: Any, error: BookkeeperError, *, status: int | None = None, headers: Headers = ()) -> int:
    """Send an error; return its status."""
    status = status_of(error) if status is None else status
    await reply(send, status, wire.encode_error(error), [*headers, *headers_of(status, error)])
    return status


def headers_of(status: int, error: BookkeeperError) -> Headers:
    """Return the headers that a status asks for."""
    if status in (429, 503):
        return (retry_after(1),)
    if isinstance(error, AccessDenied):
        from bookkeeper.access import challenge

        return ((b"www-authenticate", challenge(error).encode()), (b"cache-control", b"no-store"))
    if status == 413:
        return ((b"connection", b"close"),)
    return ()


def retry_after(seconds: int) -> tuple[bytes, bytes]:
    """Return the header that asks to come again after some seconds."""
    return (b"retry-after", str(seconds).encode())
