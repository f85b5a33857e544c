"""The verbs of jobs in the OpenAPI page: their routes are bare, so their schemas come from the messages themselves."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bookkeeper import wire
from bookkeeper.protocol import Ledger
from bookkeeper.server.workers import PREFIX

if TYPE_CHECKING:
    from fastapi import FastAPI

_REF: Final = "#/components/schemas/{name}"

REFUSALS: Final = {
    "400": "the message is not what it must be",
    "401": "the token is missing",
    "403": "the token does not allow this",
    "404": "no such project, or no process with this token",
    "409": "the state of the thing forbids this, or the process was rolled back by this call",
    "410": "the process was rolled back before: stop",
    "413": "the message is too large",
    "423": "the project is paused, or the node excluded",
    "429": "too many calls; come again after Retry-After",
    "503": "too much waits, or the server goes down; nothing was done; come again after Retry-After",
}
"""What a verb may be refused by."""


def document_verbs(api: FastAPI) -> None:
    """Let the application's OpenAPI describe the verbs too."""
    generate = api.openapi

    def described() -> dict[str, Any]:
        if not getattr(api, "_verbs_described", False):
            document = generate()
            paths, schemas = verbs()
            document.setdefault("paths", {}).update(paths)
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(schemas)
            components.setdefault("securitySchemes", {})["bearer"] = {"type": "http", "scheme": "bearer"}
            api._verbs_described = True  # type: ignore[attr-defined]
        return generate()

    api.openapi = described  # type: ignore[method-assign]


def verbs() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths of all verbs, and the schemas they name."""
    kinds = [*wire.CALLS.values(), *(kind for kind in wire.ANSWERS.values() if kind is not None), wire.Problem]
    found, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema = dict(zip(map(str, kinds), found, strict=True))
    problem = _json(schema[str(wire.Problem)])
    paths = {}
    for verb, call in wire.CALLS.items():
        words = inspect.getdoc(getattr(Ledger, verb)) or ""
        answer = wire.ANSWERS[verb]
        content = _json({"type": "null"} if answer is None else schema[str(answer)])
        responses: dict[str, Any] = {"200": {"description": "done", "content": content}}
        if verb == "next_files":
            responses["200"]["description"] = "files; or none, and the status says full or excluded"
            responses["202"] = {"description": "none now; ask again after Retry-After", "content": content}
            responses["204"] = {"description": "no more: no file is available or held by another"}
        responses |= {status: {"description": why, "content": problem} for status, why in REFUSALS.items()}
        paths[PREFIX + verb] = {
            "post": {
                "tags": ["jobs"],
                "operationId": verb,
                "summary": words.split("\n")[0],
                "description": words,
                "security": [{"bearer": []}],
                "requestBody": {"required": True, "content": _json(schema[str(call)])},
                "responses": responses,
            }
        }
    return paths, schemas


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
