"""From the parse tree of a query to a clause of SQLAlchemy over the table ``files``.

A comparison has one kind: text, number, time or boolean. Metadata of another kind counts as absent in it, and what is
absent is null, with SQL's logic: neither a comparison with it nor its negation is true.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from lark import Token
from lark.visitors import Transformer_NonRecursive, v_args
from sqlalchemy import ColumnElement, and_, case, func, not_, or_

from bookkeeper.errors import QueryError
from bookkeeper.query.conditions import glob_pattern, json_path, like_pattern
from bookkeeper.query.language import COLUMNS, MAX_DEPTH, MAX_TERMS, Kind, check_key, error_at
from bookkeeper_schema.tables import METADATA

FILES: Final = METADATA.tables["files"]

Clause = ColumnElement[bool]

_OPERATORS: Final[dict[str, Callable[[Any, Any], Clause]]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_JSON_TYPES: Final[dict[Kind, tuple[str, ...]]] = {
    "text": ("text",),
    "number": ("integer", "real"),
    "boolean": ("true", "false"),
}


class Value(NamedTuple):
    """A value written in a query, and where."""

    bound: str | int | float
    kind: Kind
    position: int | None


class Node(NamedTuple):
    """A part of the query: its clause, and how deep it is nested."""

    clause: Clause
    depth: int = 0


@v_args(inline=True)
class Builder(Transformer_NonRecursive[Token, Node]):
    """Turns each rule of the grammar into a clause, from the leaves up; not recursive, so no depth can break it.

    ``keys`` collects the metadata keys that the query names. Raises `QueryError`.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.keys: set[str] = set()
        self.terms = 0

    def number(self, token: Token) -> Value:
        """A whole number of 64 bits, or a finite one."""
        whole = token.lstrip("+-").isdigit()
        value = int(token) if whole and len(token) < 25 else float(token)
        if not math.isfinite(value) or (whole and not -(2**63) <= value < 2**63):
            raise error_at(self.text, token.start_pos, "this number is too large")
        return Value(value, "number", token.start_pos)

    def string(self, token: Token) -> Value:
        """A text; two quotes inside are one."""
        return Value(token[1:-1].replace("''", "'"), "text", token.start_pos)

    def true(self, token: Token) -> Value:
        """True, which databases bind as 1."""
        return Value(1, "boolean", token.start_pos)

    def false(self, token: Token) -> Value:
        """False, which databases bind as 0."""
        return Value(0, "boolean", token.start_pos)

    def any_of(self, *nodes: Node) -> Node:
        """``a or b or …``."""
        return self._deeper(or_(*(node.clause for node in nodes)), *nodes)

    def all_of(self, *nodes: Node) -> Node:
        """``a and b and …``."""
        return self._deeper(and_(*(node.clause for node in nodes)), *nodes)

    def negated(self, node: Node) -> Node:
        """``not a``."""
        return self._deeper(not_(node.clause), node)

    def compare(self, name: Token, operator: Token, value: Value) -> Node:
        """``entries > 1000``."""
        if value.kind == "boolean" and operator not in {"=", "!=", "<>"}:
            raise error_at(self.text, operator.start_pos, "true and false are equal or not, never more or less")
        left, (right,) = self._sides(name, value)
        return Node(_OPERATORS[operator](left, right))

    def like(self, name: Token, pattern: Token) -> Node:
        """``name like 'uproot-Z%'``, with regard to case."""
        return Node(self._match(name, pattern, like_pattern))

    def not_like(self, name: Token, pattern: Token) -> Node:
        """``name not like 'uproot-Z%'``."""
        return Node(not_(self._match(name, pattern, like_pattern)))

    def glob(self, name: Token, pattern: Token) -> Node:
        """``name glob 'uproot-Z*'``."""
        return Node(self._match(name, pattern, glob_pattern))

    def not_glob(self, name: Token, pattern: Token) -> Node:
        """``name not glob 'uproot-Z*'``."""
        return Node(not_(self._match(name, pattern, glob_pattern)))

    def within(self, name: Token, *values: Value) -> Node:
        """``run in (1, 2)``."""
        left, right = self._sides(name, *values)
        return Node(left.in_(right))

    def not_within(self, name: Token, *values: Value) -> Node:
        """``run not in (1, 2)``."""
        left, right = self._sides(name, *values)
        return Node(left.not_in(right))

    def between(self, name: Token, low: Value, high: Value) -> Node:
        """``run between 1 and 9``, both ends included."""
        left, right = self._sides(name, low, high)
        return Node(and_(left >= right[0], left <= right[1]))

    def not_between(self, name: Token, low: Value, high: Value) -> Node:
        """``run not between 1 and 9``."""
        return Node(not_(self.between(name, low, high).clause))

    def absent(self, name: Token) -> Node:
        """``run is null``: the file has no such value."""
        return Node(self._named(name).is_(None))

    def present(self, name: Token) -> Node:
        """``run is not null``."""
        return Node(self._named(name).is_not(None))

    def _match(self, name: Token, pattern: Token, translate: Callable[[str], str]) -> Clause:
        value = self.string(pattern)
        if COLUMNS.get(name, "text") != "text":
            raise error_at(self.text, name.start_pos, f"{name} is a {COLUMNS[name]}: it matches no pattern")
        left, (text,) = self._sides(name, value)
        try:
            return left.op("GLOB", is_comparison=True)(translate(text))
        except QueryError as error:
            raise error_at(self.text, value.position, error.message) from None

    def _sides(self, name: Token, *values: Value) -> tuple[ColumnElement[Any], list[Any]]:
        """Return the named thing as the kind of the values that it is compared with, and these as they are bound."""
        if name in COLUMNS:
            return self._named(name), [self._for_column(name, value) for value in values]
        kind = values[0].kind
        for value in values:
            if value.kind != kind:
                raise error_at(self.text, value.position, "the values of one comparison must be of one kind")
        if kind == "boolean" and len(values) == 2:
            raise error_at(self.text, values[0].position, "true and false make no range or list")
        extracted = self._named(name, kind)
        typed = case((func.json_type(FILES.c.metadata, json_path(name)).in_(_JSON_TYPES[kind]), extracted))
        return typed, [value.bound for value in values]

    def _for_column(self, name: Token, value: Value) -> str | int | float:
        kind = COLUMNS[name]
        if kind == "time" and value.kind == "text":
            try:
                moment = datetime.fromisoformat(str(value.bound))
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                words = "write a time as '2025-12-31' or '2025-12-31T23:59:59Z'"
                raise error_at(self.text, value.position, words) from None
        if value.kind != ("number" if kind == "time" else kind):
            raise error_at(self.text, value.position, f"{name} is a {kind}, and this is none")
        return value.bound

    def _named(self, name: Token, kind: str = "text") -> ColumnElement[Any]:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise error_at(self.text, name.start_pos, f"more than {MAX_TERMS} comparisons")
        if name in COLUMNS:
            return FILES.c[name]
        if problem := check_key(str(name)):
            raise error_at(self.text, name.start_pos, f"{name[:100]} is no key of metadata: {problem}")
        self.keys.add(str(name))
        extract = func.json_extract if kind == "text" else getattr(func, f"json_extract_{kind}")
        return extract(FILES.c.metadata, json_path(name))

    def _deeper(self, clause: Clause, *nodes: Node) -> Node:
        depth = 1 + max(node.depth for node in nodes)
        if depth > MAX_DEPTH:
            raise QueryError(f"the query is nested more than {MAX_DEPTH} deep", remedy="say it in a flatter way")
        return Node(clause, depth)
