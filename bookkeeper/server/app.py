"""The application: the workers' routes, and around them a FastAPI application for people.

`make_app` puts it together. ``operations`` and ``pages`` make the routers of the human API and of the pages, from the
database that the server writes through and the guard.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import BookkeeperError
from bookkeeper.ledger import SqlLedger
from bookkeeper.server import limits
from bookkeeper.server.group import MOST_AT_ONCE, MOST_WAITING, GroupCommit
from bookkeeper.server.guarding import Guard, Open
from bookkeeper.server.metrics import Metrics
from bookkeeper.server.responding import VERSIONS, failure, headers_of, reply
from bookkeeper.server.sitting import Sitter
from bookkeeper.server.statuses import status_of
from bookkeeper.server.ticking import Ticker
from bookkeeper.server.workers import PREFIX, Workers

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

    from bookkeeper.catalog import Database

MakeRouter = Callable[["Database", Guard], "APIRouter"]

log: Final = logging.getLogger("bookkeeper.server")


@dataclass(frozen=True)
class Settings:
    """How much a server takes, and how often it looks after itself.

    ``body`` and ``upload`` in bytes; ``rate`` in calls a second of one caller, ``burst`` at once; ``tick`` in seconds.
    """

    body: int = limits.BODY
    upload: int = limits.UPLOAD
    rate: float = limits.RATE
    burst: float = limits.BURST
    most_waiting: int = MOST_WAITING
    most_at_once: int = MOST_AT_ONCE
    tick: float = 5.0
    logs: bool = True
    """Whether the pages show the ends of the logs that lie on the server's host."""


class Application:
    """What uvicorn calls. ``database`` is the catalog as the server writes it: through its one writer."""

    def __init__(self, database: Database, guard: Guard, settings: Settings) -> None:
        self.settings = settings
        self.guard = guard
        self.draining = False
        self.metrics = Metrics(lambda: self.group.waiting)
        self.group = GroupCommit(
            database,
            most_waiting=settings.most_waiting,
            most_at_once=settings.most_at_once,
            on_group=self.metrics.group,
        )
        self.database: Database = self.group
        self.rates = limits.Rates(settings.rate, settings.burst)
        self.ticker = Ticker(self.database, settings.tick, self.metrics)
        self.sitter = Sitter(self.database, settings.tick)
        ledger = SqlLedger(self.database)
        self.workers = Workers(self.group, ledger, guard, self.rates, self.metrics, settings.body)
        self.api: FastAPI  # set by make_app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one connection's request."""
        if scope["type"] == "http":
            if scope["path"].startswith(PREFIX):
                await self.workers(scope, receive, send)
            else:
                await self._human(scope, receive, send)
        else:
            await self.api(scope, receive, send)

    @contextlib.asynccontextmanager
    async def life(self, _: FastAPI) -> AsyncIterator[None]:
        """Begin with grace for whoever could not reach us; end by doing and answering all that waits."""
        import asyncio

        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.ticker.begin)
        self.sitter.begin()
        try:
            yield
        finally:
            self.draining = True
            await loop.run_in_executor(None, self.sitter.end)
            await loop.run_in_executor(None, self.ticker.end)
            await loop.run_in_executor(None, self.group.close)

    async def _human(self, scope: Any, receive: Any, send: Any) -> None:
        started, status = time.perf_counter(), 0

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *VERSIONS, *_SAFE]
            await send(message)

        declared = next(
            (int(value) for name, value in scope["headers"] if name == b"content-length" and value.isdigit()), 0
        )
        try:
            self.rates.take((scope.get("client") or ("",))[0])
            most = self.settings.upload if scope["path"] in limits.UPLOADS else self.settings.body
            if declared > most:
                raise limits.too_large(most)
            await self.api(scope, _limited(receive, most), sending)
        except BookkeeperError as error:
            self.metrics.refused(error)
            status = await failure(send, error)
        except Exception:  # it was logged and answered
            if not status:
                raise
        route = getattr(scope.get("route"), "path", "unknown")
        seconds = time.perf_counter() - started
        self.metrics.call(route, status, seconds)
        if log.isEnabledFor(logging.INFO) and route not in _QUIET:
            client = (scope.get("client") or ("",))[0]
            told = {"method": scope["method"], "path": scope["path"], "status": status, "client": client}
            log.info("request", extra={**told, "seconds": round(seconds, 6)})


_QUIET: Final = frozenset({"/healthz", "/metrics"})
_SAFE: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


def make_app(
    database: Database,
    *,
    guard: Guard | None = None,
    operations: MakeRouter | None = None,
    pages: MakeRouter | None = None,
    settings: Settings | None = None,
) -> Application:
    """Return the application that serves a catalog. Without a guard everybody may do everything.

    The database is its opener's to close, after the application's lifespan ended.
    """
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse, Response

    import bookkeeper
    from bookkeeper.server import openapi

    app = Application(database, guard or Open(), settings or Settings())
    api = app.api = FastAPI(
        title="bookkeeper",
        version=bookkeeper.__version__,
        description="Which files were processed, exactly once. The verbs of jobs, and the operations of people.",
        openapi_url="/v1/openapi.json",
        docs_url="/v1/docs",
        redoc_url=None,
        lifespan=app.life,
    )
    api.state.database, api.state.guard = app.database, app.guard

    @api.get("/healthz", tags=["server"], summary="Whether the server answers", response_model=None)
    def healthz() -> Any:
        """200 where the catalog can be read, 503 while the server goes down."""
        if app.draining:
            return JSONResponse({"status": "going down"}, 503)
        database.now()
        told = {"status": "ok", "catalog": database.id, "version": bookkeeper.__version__, "waiting": app.group.waiting}
        return JSONResponse(told)

    @api.get("/metrics", tags=["server"], summary="Counters for Prometheus", response_model=None)
    def metrics() -> Any:
        """Calls, times, refusals, the writer's queue and groups."""
        body, kind = app.metrics.page()
        return Response(body, media_type=kind)

    for make in (operations, pages):
        if make is not None:
            api.include_router(make(app.database, app.guard))
    _translate_errors(app, api)
    openapi.document_verbs(api)
    return app


def _translate_errors(app: Application, api: FastAPI) -> None:
    """Answer errors as `wire` spells them, and nobody a traceback."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    from bookkeeper import wire
    from bookkeeper.errors import CatalogError, NotFound, UsageError

    def spelled(error: BookkeeperError, status: int) -> Response:
        headers = {name.decode(): value.decode() for name, value in headers_of(status, error)}
        return Response(wire.encode_error(error), status, headers, "application/json")

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, BookkeeperError)
        app.metrics.refused(error)
        return spelled(error, status_of(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return spelled(UsageError(f"{where}: {first['msg']}", remedy="/v1/docs shows what is taken"), 400)

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, limits.TooLarge):
            return await ours(_, error.__cause__)
        kind = NotFound if error.status_code == 404 else BookkeeperError
        answer = spelled(kind(str(error.detail), remedy="/v1/docs names what is there"), error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request failed", exc_info=error, extra={"path": request.url.path})
        return spelled(CatalogError("the server failed", remedy="its log tells more about it"), 500)

    api.add_exception_handler(BookkeeperError, ours)
    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(HTTPException, http)
    api.add_exception_handler(Exception, unexpected)  # after which Starlette raises it again


def _limited(receive: Any, limit: int) -> Any:
    """Return a ``receive`` that refuses what is longer than it said."""
    seen = 0

    async def receiving() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise limits.too_large(limit)
        return message

    return receiving


__all__ = ["Application", "MakeRouter", "Settings", "make_app", "reply"]
