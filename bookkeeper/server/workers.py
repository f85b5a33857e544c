"""The verbs of `Ledger` over HTTP: ``POST /v1/ledger/<verb>``, as bare ASGI, because this is where the calls are many.

The process's id is in the body and its token in ``Authorization: Bearer``; the ledger compares the token's hash in the
same statement that does the work. ``start_process`` alone is for whoever the guard lets submit. A verb is done in the
writer's thread as a part of its group (see `bookkeeper.server.group`), by the same `SqlLedger` that serves a database
on this host; one that thinks long before it writes thinks in a thread of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bookkeeper import wire
from bookkeeper.errors import BookkeeperError, CatalogBusy, CatalogError, Unauthenticated
from bookkeeper.ledger import SqlLedger
from bookkeeper.protocol import Delivered, ProcessKey, StartProcess, Status
from bookkeeper.server.guarding import Guard
from bookkeeper.server.limits import Rates, body_of
from bookkeeper.server.responding import Headers, failure, reply, retry_after

if TYPE_CHECKING:
    from bookkeeper.server.group import GroupCommit
    from bookkeeper.server.metrics import Metrics

PREFIX: Final = "/v1/ledger/"

DURABLE: Final = frozenset({"start_process", "stage", "commit", "roll_back", "will_write_to", "fate"})
"""Verbs whose answers are on disk before they are given; a mark says so itself."""

THOUGHTFUL: Final = frozenset({"roll_back"})
"""Verbs that explain a failure before they write: the writer does not wait for that."""

TOLD: Final = frozenset({"start_process", "commit", "roll_back"})
"""Verbs that the log tells of: once or twice a process."""

REMEMBERED: Final = 10_000
"""Calls of ``record`` that a server remembers, so that none is taken twice."""

log = logging.getLogger("bookkeeper.server")

Work = Callable[[], Any]


class Workers:
    """The routes of jobs."""

    def __init__(self, group: GroupCommit, ledger: SqlLedger, guard: Guard, rates: Rates, metrics: Metrics, limit: int):
        self._group, self._ledger, self._guard = group, ledger, guard
        self._rates, self._metrics, self._limit = rates, metrics, limit
        self._beside = 0
        self._recorded: OrderedDict[tuple[int, str], wire.Record] = OrderedDict()
        self._decoders = {verb: wire.decoder(kind).decode for verb, kind in wire.CALLS.items()}
        self._works: dict[str, Callable[[ProcessKey, Any], Work]] = {
            "next_files": lambda key, call: partial(ledger.next_files, key, call.seq, call.limit, call.done),
            "mark": lambda key, call: partial(ledger.mark, key, call.marks, durable=call.durable),
            "heartbeat": lambda key, call: partial(ledger.heartbeat, key),
            "stage": lambda key, call: partial(ledger.stage, key, call.manifest),
            "commit": lambda key, call: partial(ledger.commit, key, call.manifest),
            "roll_back": lambda key, call: partial(
                ledger.roll_back, key, call.reason, step=call.step, counted=call.counted, marks=call.marks,
                evidence=call.evidence,
            ),
            "published": lambda key, call: partial(ledger.published, key, call.outputs),
            "outputs_of": lambda key, call: partial(ledger.outputs_of, key),
            "to_publish": lambda key, call: partial(ledger.to_publish, key),
            "deliveries_of": lambda key, call: partial(ledger.deliveries_of, key),
            "will_write_to": lambda key, call: partial(ledger.will_write_to, key, call.destination),
            "record": lambda key, call: partial(self._record, key, call),
            "fate": lambda key, call: partial(ledger.fate, key),
        }  # fmt: skip

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one call."""
        verb: str = scope["path"][len(PREFIX) :]
        decode = self._decoders.get(verb)
        if decode is None or scope["method"] != "POST":
            await _no_such(scope, send, known=decode is not None)
            return
        started = time.perf_counter()
        try:
            authorization, length = _headers(scope)
            body = await body_of(receive, length, self._limit)
            try:
                call = decode(body)
            except Exception:  # noqa: BLE001 - the same again, in words
                call = wire.decode(body, wire.CALLS[verb])
            answer = await self._answer(verb, call, authorization, scope)
            status, headers, body = _dressed(answer)
        except BookkeeperError as error:
            status = await failure(send, error)
            self._metrics.call(verb, status, time.perf_counter() - started)
            self._metrics.refused(error)
            _tell(verb, status, error, scope)
            return
        except Exception:
            log.exception("call failed", extra={"verb": verb})
            status = await failure(send, CatalogError("the server failed", remedy="its log tells more about it"))
            self._metrics.call(verb, status, time.perf_counter() - started)
            return
        seconds = time.perf_counter() - started
        self._metrics.call(verb, status, seconds)
        if verb in TOLD and log.isEnabledFor(logging.INFO):
            process = answer.key.id if verb == "start_process" else call.process
            log.info("call", extra={"verb": verb, "process_id": process, "seconds": round(seconds, 6)})
        await reply(send, status, body, headers)

    async def _answer(self, verb: str, call: Any, authorization: str | None, scope: Any) -> Any:
        if verb == "start_process":
            return await self._start(call, authorization, scope)
        key = ProcessKey(call.process, _token(authorization))
        self._rates.take((call.process, authorization))
        work = self._works[verb](key, call)
        if verb in THOUGHTFUL:
            return await self._in_thread(work)
        durable = verb in DURABLE or (verb == "mark" and call.durable)
        try:
            return await self._group.submit(work, durable=durable)
        except Exception:
            if isinstance(call, wire.Record) and self._recorded.get((call.process, call.once)) is call:
                self._recorded.pop((call.process, call.once), None)  # nothing was recorded: another try may do it
            raise

    async def _in_thread(self, work: Work) -> Any:
        """Do what thinks or waits beside the event loop; as many at once as may wait for the writer."""
        if self._beside >= self._group.most_waiting:
            raise CatalogBusy("too many calls wait", remedy="come again in a second")
        self._beside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work)
        finally:
            self._beside -= 1

    async def _start(self, call: StartProcess, authorization: str | None, scope: Any) -> Any:
        client = (scope.get("client") or ("",))[0]
        self._rates.take(authorization or client)

        def admit() -> None:
            self._guard.identify(authorization, client).require("work", call.project)

        await self._in_thread(admit)
        return await self._group.submit(partial(self._ledger.start_process, call), durable=True)

    def _record(self, key: ProcessKey, call: wire.Record) -> None:
        """Record events once, however often the call comes. In the writer's thread, so one after the other.

        A group that is undone is made again: the same call again is then no second one.
        """
        if call.once and self._recorded.get((key.id, call.once), call) is not call:
            return
        self._ledger.record(key, call.events)
        if call.once:
            self._recorded[(key.id, call.once)] = call
            if len(self._recorded) > REMEMBERED:
                self._recorded.popitem(last=False)


def _headers(scope: Any) -> tuple[str | None, int]:
    """Return the ``Authorization`` header and the declared length of the body."""
    authorization, length = None, 0
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"content-length" and value.isdigit():
            length = int(value)
    return authorization, length


def _token(authorization: str | None) -> str:
    if authorization is None or authorization[:7].lower() != "bearer ":
        raise Unauthenticated("this call needs the token of its process", remedy="`Authorization: Bearer TOKEN`")
    return authorization[7:].strip()


def _dressed(answer: Any) -> tuple[int, Headers, bytes]:
    """Return status, headers and body of an answer. SAM's words for the next file: 200, 202 none now, 204 no more."""
    if not isinstance(answer, Delivered):
        return 200, (), wire.encode(answer)
    if answer.status is Status.FILES:
        return 200, _FILES, wire.encode(answer)
    headers = [(b"bookkeeper-status", answer.status.encode())]
    if answer.status is Status.EXHAUSTED and not answer.reason:
        headers.append((b"bookkeeper-project-state", answer.project_state.encode()))
        if answer.partition is not None:
            headers.append((b"bookkeeper-partition", str(answer.partition).encode()))
        return 204, headers, b""
    if answer.status is Status.NONE_NOW:
        return 202, [*headers, retry_after(1)], wire.encode(answer)
    return 200, headers, wire.encode(answer)


_FILES: Final = ((b"bookkeeper-status", b"files"),)


async def _no_such(scope: Any, send: Any, *, known: bool) -> None:
    from bookkeeper.errors import NotFound

    if known:
        await failure(send, BookkeeperError("a verb is called by POST"), status=405, headers=((b"allow", b"POST"),))
    else:
        await failure(send, NotFound("there is no such verb", remedy="/v1/openapi.json names them"))


def _tell(verb: str, status: int, error: BookkeeperError, scope: Any) -> None:
    level = logging.WARNING if status in (401, 403, 413, 429) or status >= 500 else logging.DEBUG
    if log.isEnabledFor(level):
        client = (scope.get("client") or ("",))[0]
        log.log(level, "refused", extra={"verb": verb, "status": status, "error": str(error), "client": client})
