"""Lists of any length over HTTP, both ways: see `bookkeeper.client.streams` for how they are spelled."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from bookkeeper import wire
from bookkeeper.errors import BookkeeperError, UsageError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from bookkeeper.operations import Operation

TYPE: Final = "application/x-ndjson"

PIECE: Final = 1 << 16
"""Bytes that are sent at a time, about."""

IN_MEMORY: Final = 4 << 20
"""Bytes of an upload that are kept in memory; what is more is put on disk."""

LINE: Final = 16 << 20
"""Bytes of the longest line of an upload."""

BEAT: Final = 10.0
"""Seconds after which a caller who waits is told that there is work in progress."""


async def answered(operation: Operation, do: Callable[[], Any]) -> Response:
    """Return a stream of what an operation gives. What goes wrong before the first item is raised."""
    items = (lambda: do()) if operation.streams else (lambda: iter((do(),)))
    return await _streamed(_Lines(items))


async def uploaded(
    request: Request, ready: Callable[[bytes], dict[str, Any]], do: Callable[[dict[str, Any], Iterator[Any]], Any]
) -> Response:
    """Take in a stream of items and do the operation with them, when the last one came; return its answer."""
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by the iterator
    try:
        async for chunk in request.stream():
            spool.write(chunk)  # as far as the system's cache: it does not wait
        spool.seek(0)
        said = await run_in_threadpool(lambda: ready(spool.readline(LINE)))
    except ClientDisconnect:  # nothing was done, and nobody is there to be told
        spool.close()
        return Response(status_code=499)
    except BaseException:
        spool.close()
        raise

    def done() -> Iterator[Any]:
        with spool:
            yield do(said, _received(spool))

    return await _streamed(_Lines(done))


def _received(spool: IO[bytes]) -> Iterator[Any]:
    """Yield the items of an upload. Raises `UsageError` where it is cut off, or no JSON."""
    count = 0
    while line := spool.readline(LINE):
        if line.startswith(b'["end",'):
            if line.strip() == wire.encode(["end", count]) and not spool.read(1):
                return
            break
        try:
            yield msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"line {count + 2} cannot be read: {error}; nothing was done") from error
        count += 1
    raise UsageError(
        f"the list was cut off after {count} items; nothing was done", remedy='its last line is ["end", NUMBER]'
    )


class _Lines:
    """What an operation gives, as lines."""

    def __init__(self, items: Callable[[], Iterator[Any]]) -> None:
        self._make = items
        self._items: Iterator[Any] | None = None
        self._count = 0

    def piece(self) -> tuple[bytes, bool]:
        """Return the next lines, and whether they are the last."""
        if self._items is None:
            self._items = iter(self._make())
        found = bytearray()
        for item in self._items:
            self._count += 1
            found += wire.encode(item) + b"\n"
            if len(found) >= PIECE:
                return bytes(found), False
        return bytes(found) + wire.encode(["end", self._count]) + b"\n", True


async def _streamed(lines: _Lines) -> Response:
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import StreamingResponse

    first = asyncio.ensure_future(run_in_threadpool(lines.piece))
    done, _ = await asyncio.wait({first}, timeout=BEAT)
    if done:
        first.result()  # raises what went wrong

    async def body() -> AsyncIterator[bytes]:
        task = first
        while True:
            done, _ = await asyncio.wait({task}, timeout=BEAT)
            if not done:
                yield b"\n"
                continue
            try:
                piece, over = task.result()
            except BookkeeperError as error:
                yield b'["error",' + wire.encode_error(error) + b"]\n"
                return
            yield piece
            if over:
                return
            task = asyncio.ensure_future(run_in_threadpool(lines.piece))

    return StreamingResponse(body(), media_type=TYPE)
