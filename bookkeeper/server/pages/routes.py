"""The routes of the pages: all read-only, answered by threads of their own, the same answer for all who ask in the same second."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import BookkeeperError, CatalogBusy, NotFound
from bookkeeper.server.pages import render
from bookkeeper.server.pages.views import Missing, Views

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.requests import Request
    from starlette.responses import Response

    from bookkeeper.catalog import Database

log: Final = logging.getLogger("bookkeeper.server")

THREADS: Final = 2
WAITING: Final = 64
"""Requests that may wait for a thread; others are told to come again."""

FRESH: Final = 1.0
"""Seconds for which a page that was made is given to others too."""

KEPT: Final = 256

LONGEST: Final = 4096
"""Characters of a name that are looked at."""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

PATHS: Final = {
    "/": "overview",
    "/projects": "to_overview",
    "/projects/{project}": "request",
    "/projects/{project}/processes": "processes",
    "/projects/{project}/parked": "parked",
    "/projects/{project}/outputs": "outputs",
    "/projects/{project}/events": "events",
    "/processes/{process}": "process",
    "/files": "file",
    "/nodes": "nodes",
    "/search": "search",
    "/{path}": "nowhere",
    "/projects/{path}/{more}": "nowhere",
}
"""Every address, and the view of it. What lies deeper is not ours: it may be a call to the server."""

Endpoint = Callable[["Request"], Awaitable["Response"]]


@dataclass(frozen=True, slots=True)
class Made:
    """A page that was made: what to answer. ``kept`` by browsers, or never stored, as what it shows allows."""

    status: int
    text: bytes
    packed: bytes
    etag: str
    kept: bool
    location: str | None = None


class Pages:
    """Makes pages, and keeps each for a moment."""

    def __init__(self, database: Database, *, logs: bool) -> None:
        self.views = Views(database, logs=logs)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pages")
        self._waiting = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], tuple[float, Made]] = OrderedDict()

    def endpoint(self, view: str) -> Endpoint:
        """Return what answers requests for a page."""

        async def answer(request: Request) -> Response:
            return await self.answer(request, view)

        return answer

    async def answer(self, request: Request, view: str) -> Response:
        """Answer a request: 200, 303, 304, 404, or 503 where too many wait."""
        if self._waiting >= WAITING:
            return _response(request, self._failed(request, 503, CatalogBusy("too many ask at once", remedy="")))
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            made = await loop.run_in_executor(self._threads, self._make, request, view)
        finally:
            self._waiting -= 1
        return _response(request, made)

    def _make(self, request: Request, view: str) -> Made:
        root = str(request.scope.get("root_path", ""))
        key = (view, root, request.url.path, request.url.query)
        with self._lock:
            found = self._kept.get(key)
            if found is not None and time.monotonic() < found[0] + FRESH:
                return found[1]
        made = self._made(request, view, root)
        with self._lock:
            self._kept[key] = (time.monotonic(), made)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made

    def _made(self, request: Request, view: str, root: str) -> Made:
        try:
            given = {**request.query_params, **request.path_params}
            asked = {key: value.replace("\0", "\ufffd")[:LONGEST] for key, value in given.items()}
            shown = getattr(self.views, view)(asked)
        except Missing as missing:
            return self._page(request, 404, "missing.html.j2", missing.context, kept=False)
        except NotFound as error:
            return self._failed(request, 404, error)
        except CatalogBusy as error:
            return self._failed(request, 503, error)
        except BookkeeperError as error:
            log.error("page failed", exc_info=error, extra={"path": request.url.path})
            return self._failed(request, 500, error)
        if shown.location is not None:
            return Made(303, b"", b"", "", False, root + shown.location)
        return self._page(request, 200, shown.template, shown.context, kept=shown.kept)

    def _failed(self, request: Request, status: int, error: BookkeeperError) -> Made:
        context = {"kind": None, "title": "Not found" if status == 404 else "Not now" if status == 503 else "Failed"}
        more: dict[str, Any] = {
            "message": error.message,
            "remedy": error.remedy,
            "near": [],
            "name": None,
            "live": None,
        }
        return self._page(request, status, "missing.html.j2", {**context, **more}, kept=False)

    def _page(self, request: Request, status: int, template: str, context: Mapping[str, Any], *, kept: bool) -> Made:
        root = str(request.scope.get("root_path", ""))
        shared = {
            "root": root,
            "static": f"{root}/static/{render.version_of_static()}",
            "here": request.url.path,
            "asked": request.query_params.get("q", "")[:200],
            "catalog": self.views.catalog,
            "version": self.views.version,
        }
        text = render.environment().get_template(template).render(**shared, **context)
        data = text.encode("utf-8", "backslashreplace")
        etag = f'W/"{hashlib.sha256(data).hexdigest()[:24]}"'  # weak: packed or not, it is the same page
        return Made(status, data, gzip.compress(data, 5, mtime=0), etag, kept)


def _response(request: Request, made: Made) -> Response:
    from starlette.responses import Response

    headers = {**HEADERS, "Cache-Control": "private, no-cache" if made.kept else "no-store", "Vary": "Accept-Encoding"}
    if made.location is not None:
        return Response(status_code=made.status, headers={**headers, "Location": made.location})
    if made.status == 503:
        headers["Retry-After"] = "2"
    if made.status == 200:
        headers["ETag"] = made.etag
        if made.etag.removeprefix("W/") in _etags(request):
            return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(made.packed, made.status, headers, "text/html; charset=utf-8")
    return Response(made.text, made.status, headers, "text/html; charset=utf-8")


def _etags(request: Request) -> set[str]:
    sent = request.headers.get("if-none-match", "")
    return {one.strip().removeprefix("W/") for one in sent.split(",")}


async def _static(request: Request) -> Response:
    from starlette.responses import PlainTextResponse, Response

    name, asked = request.path_params["name"], request.path_params["version"]
    if name not in render.STATIC:
        return PlainTextResponse("there is no such file\n", 404, HEADERS)
    etag = f'"{render.version_of_static()}"'
    current = asked == render.version_of_static()
    headers = {
        **HEADERS,
        "ETag": etag,
        "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
    }
    if etag in _etags(request):
        return Response(status_code=304, headers=headers)
    return Response(render.static(name), 200, headers, render.STATIC[name])


def router(database: Database, guard: object = None, *, logs: bool = True) -> APIRouter:
    """Return the pages over a catalog, for the server's application. Nothing that they answer changes the catalog.

    ``guard`` is not asked: whoever reaches the server may look. ``logs``: show the ends of the logs that lie on this host.
    """
    from fastapi import APIRouter

    pages = Pages(database, logs=logs)
    made = APIRouter()
    for path, view in PATHS.items():
        made.add_route(path, pages.endpoint(view), ["GET"], include_in_schema=False)
    made.add_route("/static/{version}/{name}", _static, ["GET"], include_in_schema=False)
    return made
