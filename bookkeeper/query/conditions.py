"""Conditions on the table ``files`` as SQL text with bound parameters.

What databases say differently (patterns, JSON) is said here and in ``builder.py``, nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import QueryError
from bookkeeper.query.language import COLUMNS, MAX_TERMS, NO_CHARACTER, Query

if TYPE_CHECKING:
    from bookkeeper.catalog import Database

MAX_PATTERN: Final = 1000  # characters, as a logical name

_BRACKET: Final = re.compile(r"\[([!^]?+)(\]?+[^\]]*\])|\[")
_LIKE: Final = re.compile(r"\\(.)|[%_*?[]", re.DOTALL)
_LITERAL: Final = {"*": "[*]", "?": "[?]", "[": "[[]"}
_WILD: Final = {"%": "*", "_": "?"}

_KEY_IN_USE: Final = "SELECT 1 AS found FROM files WHERE json_type(metadata, :path) IS NOT NULL LIMIT 1"
_RECENT: Final = "SELECT metadata FROM files WHERE metadata IS NOT NULL ORDER BY id DESC LIMIT 2000"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A condition on ``files``: SQL that this program made, and the parameters bound in it."""

    sql: str = "1 = 1"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def within(self, statement: str) -> str:
        """Return a statement of this program with the condition in the place of its ``{condition}``.

        This is where a condition becomes part of a statement, and nowhere else.
        """
        return statement.replace("{condition}", f"({self.sql})")

    def __and__(self, other: Fragment) -> Fragment:
        """Both conditions; their parameters must have different names."""
        return Fragment(f"({self.sql}) AND ({other.sql})", {**self.parameters, **other.parameters})


_EXTRACT: Final = re.compile(r"json_extract_(\w+)\(")
"""As what a value is taken from metadata: SQLite knows by itself (`bookkeeper.postgres.statements`)."""


def compile(query: Query) -> Fragment:
    """Return what a query means; its parameters have names ending in a number."""
    from sqlalchemy.dialects import sqlite

    compiled = query.clause.compile(
        dialect=sqlite.dialect(paramstyle="named"), compile_kwargs={"render_postcompile": True}
    )
    return Fragment(_EXTRACT.sub(r"json_extract/*\1*/(", str(compiled)), dict(compiled.params))


def name_matches(globs: Iterable[str]) -> Fragment:
    """Return the condition that a logical name matches one of ``globs``; its parameters are ``glob_0``, …"""
    patterns = {f"glob_{number}": glob_pattern(glob) for number, glob in enumerate(globs)}
    if not 1 <= len(patterns) <= MAX_TERMS:
        raise QueryError(f"{len(patterns)} globs were given", remedy=f"give 1 to {MAX_TERMS}, or a list of names")
    return Fragment(" OR ".join(f"files.name GLOB :{name}" for name in patterns), patterns)


def glob_pattern(glob: str) -> str:
    """Translate a glob, as the shell and `fnmatch` write it, into one of SQLite. Raises `QueryError`.

    ``*`` is any characters, also ``/``; ``?`` one character; ``[abc]``, ``[a-z]`` one of these; ``[!abc]`` one of
    the others; a bracket that is never closed is itself.
    """
    _check_pattern(glob)
    return _BRACKET.sub(lambda part: f"[{part[1] and '^'}{part[2]}" if part[2] else _LITERAL["["], glob)


def like_pattern(like: str) -> str:
    r"""Translate an SQL LIKE pattern into a glob of SQLite, whose own LIKE ignores the case of ASCII letters.

    ``%`` is any characters, ``_`` one; ``\%`` ``\_`` ``\\`` are the characters themselves, as in PostgreSQL.
    Raises `QueryError`.
    """
    _check_pattern(like)
    if (len(like) - len(like.rstrip("\\"))) % 2:
        raise QueryError(r"the pattern ends in a single \ (write \\ for a backslash)")
    return _LIKE.sub(lambda part: _WILD.get(part[0]) or _LITERAL.get(part[1] or part[0]) or part[1], like)


def _check_pattern(pattern: str) -> None:
    if not pattern or len(pattern) > MAX_PATTERN or NO_CHARACTER.search(pattern):
        raise QueryError(f"{pattern[:80]!r} is no pattern: it has 1 to {MAX_PATTERN} characters, none of them NUL")


def json_path(key: str) -> str:
    """Return where a metadata key lies in its JSON object; a key has no character that would need quoting."""
    return f'$."{key}"'


def warnings(database: Database, query: Query) -> tuple[str, ...]:
    """Say which metadata keys of the query no file has, and which look alike."""
    missing = [key for key in query.keys if not database.one(_KEY_IN_USE, {"path": json_path(key)})]
    recent = database.rows(_RECENT) if missing else []
    known = {key for row in recent for key in json.loads(row["metadata"])}
    return tuple(
        f"no file has metadata {key!r}" + (f"; did you mean {' or '.join(alike)}?" if alike else "")
        for key in missing
        for alike in [get_close_matches(key, sorted({*known, *COLUMNS}), n=2)]
    )
