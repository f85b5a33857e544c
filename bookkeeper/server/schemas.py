"""JSON schemas of types, each whole in itself, for the OpenAPI page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec


@cache
def schema_of(kind: Any) -> dict[str, Any]:
    """Return the schema of a type, with those that it refers to written out."""
    found = msgspec.json.schema(kind, schema_hook=lambda _: {})
    known = found.pop("$defs", {})
    written: dict[str, Any] = _written_out(found, known, ())
    return written


def _written_out(part: Any, known: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(part, list):
        return [_written_out(one, known, within) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        name = str(part["$ref"]).rpartition("/")[2]
        if name in within:  # a type that contains itself ends here
            return {}
        rest = {key: value for key, value in part.items() if key != "$ref"}
        return {**_written_out(known[name], known, (*within, name)), **rest}
    return {key: _written_out(value, known, within) for key, value in part.items()}
