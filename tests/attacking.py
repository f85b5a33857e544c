"""What an attacker sends: every route and every field of a server, as its OpenAPI document names them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Route:
    """One operation of a server: how it is called, and what its body must be."""

    method: str
    path: str
    described: dict[str, Any]
    schemas: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def guarded(self) -> bool:
        """Whether it needs a token."""
        return bool(self.described.get("security"))

    @property
    def scope(self) -> str:
        """The scope that its description names; of a page, the weakest."""
        found = re.search(r"Needs scope `(\w+)`", self.described.get("description") or "")
        return found[1] if found else "read"

    @property
    def media_type(self) -> str | None:
        """What its body is, if it has one."""
        return next(iter(self.described.get("requestBody", {}).get("content", {})), None)

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of its body."""
        content = self.described.get("requestBody", {}).get("content", {})
        return next(iter(content.values()))["schema"] if content else {"type": "null"}

    def body(self, value: Any) -> bytes:
        """A body as it travels."""
        return b"" if self.media_type is None else json.dumps(value).encode() + b"\n"

    def url(self, value: str = "x") -> str:
        """Its path, with a value in each place that takes one."""
        names = {one["name"]: one["schema"].get("type") for one in self.described.get("parameters", [])}
        return re.sub(
            r"\{(\w+)[^}]*\}",
            lambda m: "7" if names.get(m[1]) == "integer" and value == "x" else quote(value, ""),
            self.path,
        )

    @property
    def places(self) -> list[str]:
        """The names of what stands in its path."""
        return re.findall(r"\{(\w+)", self.path)


def routes(document: dict[str, Any]) -> list[Route]:
    """Every operation that a document describes."""
    schemas = document.get("components", {}).get("schemas", {})
    return [
        Route(method.upper(), path, described, schemas)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """A schema behind its reference."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema


def least(schema: dict[str, Any], schemas: dict[str, Any], *, whole: bool = False, depth: int = 0) -> Any:
    """A value that a schema takes: the least; ``whole``: with every field, and one item in every list."""
    schema = resolved(schema, schemas)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [resolved(one, schemas) for one in schema[several]]
            chosen = [one for one in kinds if one.get("type") != "null"] if whole else kinds
            return least((chosen or kinds)[0], schemas, whole=whole, depth=depth)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        wanted = schema.get("properties", {})
        names = wanted if whole and depth < 6 else [name for name in schema.get("required", []) if name in wanted]
        return {name: least(wanted[name], schemas, whole=whole, depth=depth + 1) for name in names}
    if kind == "array":
        if "prefixItems" in schema:
            return [least(one, schemas, whole=whole, depth=depth + 1) for one in schema["prefixItems"]]
        count = max(schema.get("minItems", 0), int(whole and depth < 6))
        items = schema.get("items")
        return [least(items, schemas, whole=whole, depth=depth + 1)] * count if isinstance(items, dict) else []
    return {"string": "x", "integer": 7, "number": 7.0, "boolean": False, "null": None}.get(str(kind), "x")


def texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts are in a value."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from texts(one, (*path, name))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from texts(one, (*path, place))


def put(value: Any, path: tuple[Any, ...], text: Any) -> Any:
    """A value with another one in one place."""
    if not path:
        return text
    if isinstance(value, dict):
        return {name: put(one, path[1:], text) if name == path[0] else one for name, one in value.items()}
    return [put(one, path[1:], text) if place == path[0] else one for place, one in enumerate(value)]
