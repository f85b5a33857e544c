"""The operations over HTTP: ``POST /v1/call/{noun}.{verb}``, and pages of JSON to ``GET`` for people with ``curl``.

A call's body is an object with the arguments of the function (see `bookkeeper.operations`), checked strictly against
its annotations; the answer is what the function returns. What an operation needs is asked of the caller's identity.
A call that changes something may carry ``?once=KEY``: repeated, it is done once and answered the same, as long as the
server is not restarted, which ``boot=WORD`` tells it.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bookkeeper import wire
from bookkeeper.errors import CatalogBusy, CatalogOutdated, ServerRestarted, UsageError
from bookkeeper.operations import REGISTRY, Operation
from bookkeeper.server import streaming
from bookkeeper.server.schemas import schema_of

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.requests import Request
    from starlette.responses import Response

    from bookkeeper.catalog import Database
    from bookkeeper.server.guarding import Guard, Identity

SCOPES: Final = ("read", "work", "operate", "admin")

KEPT: Final = 10_000
"""Answers of calls with a key that are kept, to be given again."""

ROOMS: Final = (
    "access.tokens",
    "check",
    "client.queries",
    "dagman.left",
    "datasets",
    "estimates.asking",
    "estimates.forecast",
    "files",
    "jobs.findings",
    "jobs.looking",
    "jobs.observing",
    "jobs.submitting",
    "journal.ingesting",
    "journal.lending",
    "ledger.door",
    "logs",
    "nodes",
    "plugins.cursors",
    "plugins.log",
    "plugins.subscribers",
    "projects",
    "publishing",
    "recovery",
    "remembering",
    "reporting.explaining",
    "reporting.failures",
    "reporting.performance",
    "reporting.process",
    "reporting.recent",
    "stepwise",
    "transfers.queue",
)
"""The modules that have operations."""

PROJECT_OF: Final = """
SELECT j.name FROM processes p JOIN projects j ON j.id = p.project_id WHERE p.id = :process
"""

PAGES: Final = {
    "projects": "projects.list_all",
    "projects/{name}": "projects.status",
    "projects/{name}/processes": "projects.processes",
    "projects/{project}/uncommitted": "recovery.uncommitted",
    "projects/{project}/outputs": "recovery.published",
    "projects/{project}/failures": "reporting.failures_of",
    "projects/{project}/performance": "reporting.performance_of",
    "datasets": "datasets.list_all",
    "datasets/{name}": "datasets.get",
    "files/{name:path}": "files.history",
    "nodes": "nodes.list_all",
    "processes/{process}/failure": "reporting.failure_of",
}
"""What can be looked at by ``GET /v1/…``, and the operation that answers."""


def load() -> Mapping[str, Operation]:
    """Return every operation there is: load the modules that have any."""
    for name in ROOMS:
        import_module(f"bookkeeper.{name}")
    return REGISTRY


def router(database: Database, guard: Guard) -> APIRouter:
    """Return the routes of every operation, for `bookkeeper.server.make_app`."""
    from fastapi import APIRouter, Request
    from starlette.responses import Response

    from bookkeeper import __version__

    api, kept = APIRouter(prefix="/v1"), Answers()

    def route(path: str, endpoint: Callable[..., Any], method: str, **said: Any) -> None:
        endpoint.__annotations__ = {"request": Request}
        api.add_api_route(path, endpoint, methods=[method], response_model=None, response_class=Response, **said)

    async def hello(request: Request) -> Response:
        known = {"catalog": database.id, "epoch": database.epoch, "version": __version__, "boot": kept.boot}
        return _json(wire.encode(known))

    async def unknown(request: Request) -> Response:
        error = CatalogOutdated(
            f"the server (bookkeeper {__version__}) knows no operation {request.path_params['name'][:100]!r}",
            remedy="use the version of bookkeeper that the server has, or have the server upgraded",
        )
        return _json(wire.encode_error(error), 404)

    route("/catalog", hello, "GET", tags=["server"], summary="Which catalog this is, and how the server is called")
    operations = load()
    for name in sorted(operations):
        call = _Call(operations[name], database, guard, kept)
        route(f"/call/{name}", call.endpoint(), "POST", operation_id=name, **call.described())
    route("/call/{name}", unknown, "POST", include_in_schema=False)
    for path, name in PAGES.items():
        call = _Call(operations[name], database, guard, kept)
        said = {"tags": ["to look at"], "summary": call.summary, "operation_id": f"get {path}"}
        route(f"/{path}", call.page(), "GET", openapi_extra=call.page_described(path), **said)
    return api


class Answers:
    """The answers of calls with a key. ``boot`` is a word that this run of the server alone has."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(8)
        self._kept: OrderedDict[tuple[str | None, str], asyncio.Future[Response]] = OrderedDict()

    async def once(
        self, who: str | None, key: str | None, boot: str | None, make: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Make an answer, or give again the one that was made for this caller and key."""
        if key is None:
            return await make()
        if (known := self._kept.get((who, key))) is not None:
            return await asyncio.shield(known)
        if boot is not None and boot != self.boot:
            raise ServerRestarted("the server was restarted; it is not known whether it did what it was asked before")
        task = asyncio.ensure_future(make())  # it goes on if this caller goes away: another try asks for its answer
        self._kept[(who, key)] = task
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except CatalogBusy:  # nothing was done: another try may do it
            self._kept.pop((who, key), None)
            raise


class _Call:
    """One operation, as the server does it."""

    def __init__(self, operation: Operation, database: Database, guard: Guard, kept: Answers) -> None:
        self.operation, self._database, self._guard, self._kept = operation, database, guard, kept
        self.arguments = arguments_of(operation)
        self.words = inspect.getdoc(operation.function) or ""
        self.summary = self.words.partition("\n")[0].replace("`", "")

    def endpoint(self) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a call."""

        async def answer(request: Request) -> Response:
            identity = await self._identity(request)
            if self.operation.upload is not None:
                self._allow_at_all(identity)
                return await streaming.uploaded(request, lambda first: self._ready(identity, first), self._take)
            said = await in_thread(self._ready, identity, await request.body())
            if self.operation.streams or self.operation.slow:
                return await streaming.answered(self.operation, lambda: self._do(said))
            who = request.headers.get("authorization")
            key, boot = (request.query_params.get(name) for name in ("once", "boot"))
            if key is not None:  # of this call alone: the same word for another one is another key
                key = f"{self.operation.name} {sha256(await request.body()).hexdigest()} {key}"
            return await self._kept.once(who, key, boot, lambda: self._plain(said))

        return answer

    def page(self) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers a ``GET``: the arguments are in the path."""

        async def answer(request: Request) -> Response:
            identity = await self._identity(request)
            body = msgspec.json.encode(dict(request.path_params))
            said = await in_thread(self._ready, identity, body, strict=False)
            return await self._plain(said)

        return answer

    async def _plain(self, said: dict[str, Any]) -> Response:
        return _json(await in_thread(lambda: wire.encode(_listed(self._do(said)))))

    def _do(self, said: dict[str, Any]) -> Any:
        return self.operation.function(self._database, **said)

    def _take(self, said: dict[str, Any], items: Iterator[Any]) -> Any:
        return self._do({**said, str(self.operation.upload): items})

    async def _identity(self, request: Request) -> Identity | None:
        if self.operation.scope is None:  # an argument proves who calls
            return None
        client = request.client.host if request.client else ""
        found: Identity = await in_thread(self._guard.identify, request.headers.get("authorization"), client)
        return found

    def _allow_at_all(self, identity: Identity | None) -> None:
        if identity is not None and self.operation.scope is not None:
            identity.require(self.operation.scope)

    def _ready(self, identity: Identity | None, body: bytes, *, strict: bool = True) -> dict[str, Any]:
        """Return the arguments that a body says, of a caller who may do this with them."""
        try:
            said = wire.decoder(self.arguments, strict=strict).decode(body or b"{}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            from bookkeeper import __version__

            raise UsageError(
                f"{self.operation.name}: {error}", remedy=f"this server is bookkeeper {__version__}; see /v1/docs"
            ) from error
        defaults = self.operation.parameters
        found = {name: getattr(said, name) for name in defaults}
        found = {name: value for name, value in found.items() if value is not msgspec.UNSET}
        if identity is not None:
            self._allow(identity, found)
            if "by" in self.operation.here and (name := getattr(identity, "name", None)):
                found["by"] = name  # what the records say is what was proved, not what was said
        return found

    def _allow(self, identity: Identity, said: Mapping[str, Any]) -> None:
        operation = self.operation
        needed = [operation.scope or "read"]
        needed += [
            scope
            for name, scope in operation.raised.items()
            if name in said and said[name] != operation.parameters[name][1]
        ]
        project = said.get(operation.project) if operation.project else None
        if operation.process is not None and said.get(operation.process) is not None:
            row = self._database.one(PROJECT_OF, {"process": said[operation.process]})
            project = row["name"] if row else None
        identity.require(max(needed, key=SCOPES.index), project)

    # -- OpenAPI ---------------------------------------------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """Return what the OpenAPI page says of the call."""
        operation = self.operation
        kind = "application/x-ndjson" if operation.upload else "application/json"
        returns = schema_of(operation.returns)
        answered = "application/x-ndjson" if operation.streams or operation.slow or operation.upload else kind
        extra: dict[str, Any] = {
            "requestBody": {"content": {kind: {"schema": schema_of(self.arguments)}}},
            "responses": {
                "200": {"description": "What it returns", "content": {answered: {"schema": returns}}},
                "4XX": {"description": "Refused", "content": {"application/json": {"schema": schema_of(wire.Problem)}}},
            },
        }
        if operation.scope is not None:
            extra["security"] = [{"bearer": []}]
        needs = f"Needs scope `{operation.scope}`." if operation.scope else "Needs the key of the process."
        said = {"summary": self.summary, "description": f"{self.words}\n\n{needs}"}
        return {**said, "tags": [operation.name.partition(".")[0]], "openapi_extra": extra}

    def page_described(self, path: str) -> dict[str, Any]:
        """Return what the OpenAPI page says of the ``GET``."""
        returns = schema_of(self.operation.returns)
        if self.operation.streams:
            returns = {"type": "array", "items": returns}
        names = [name for name in self.operation.parameters if f"{{{name}" in path]
        return {
            "security": [{"bearer": []}],
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": schema_of(self.operation.parameters[name][0])}
                for name in names
            ],
            "responses": {
                "200": {"description": "What there is", "content": {"application/json": {"schema": returns}}},
                "4XX": {"description": "Refused", "content": {"application/json": {"schema": schema_of(wire.Problem)}}},
            },
        }


@cache
def arguments_of(operation: Operation) -> Any:
    """Return the type of a call's body: an object with the arguments, and nothing else."""
    fields = [
        (name, hint) if default is inspect.Parameter.empty else (name, hint | msgspec.UnsetType, msgspec.UNSET)
        for name, (hint, default) in operation.parameters.items()
    ]
    name = "".join(part.title() for part in operation.name.replace(".", "_").split("_"))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


async def in_thread(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do what may wait for the database in a thread."""
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(work, *args, **kwargs)


def _listed(value: Any) -> Any:
    return list(value) if inspect.isgenerator(value) else value


def _json(body: bytes, status: int = 200) -> Response:
    from starlette.responses import Response

    return Response(body, status, media_type="application/json")
