"""The query language: its words, its limits, and what is said of a text that is none of its sentences.

``run_type = 'mc' and entries > 1000 and name like 'uproot-Z%'`` is parsed by the grammar in ``query.lark``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any, Final, Literal

from bookkeeper.errors import QueryError

if TYPE_CHECKING:
    from lark import Lark
    from lark.exceptions import UnexpectedInput

Kind = Literal["text", "number", "time", "boolean"]

COLUMNS: Final[Mapping[str, Kind]] = {
    "name": "text",
    "size": "number",
    "checksum": "text",
    "entries": "number",
    "tree": "text",
    "state": "text",
    "declared_at": "time",
}
"""The columns of a file that a query may name, and what each is."""

HIDDEN: Final = frozenset({"id", "version", "trees", "metadata", "locations", "location", "url", "path"})
"""Words that are neither columns of a query nor keys of metadata."""

RESERVED: Final = frozenset({"and", "or", "not", "like", "glob", "in", "between", "is", "null", "true", "false"})
"""The words of the language, in any case: no keys of metadata."""

KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
MAX_LENGTH: Final = 10_000  # characters
MAX_DEPTH: Final = 50
MAX_TERMS: Final = 500  # SQLite allows expressions 1000 deep, and a chain of n `and` is n deep

NO_CHARACTER: Final = re.compile("[\0\ud800-\udfff]")
"""What SQLite or UTF-8 cannot hold."""


def check_key(key: object) -> str | None:
    """Tell why ``key`` cannot be a key of metadata, None if it can."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        return "a key is letters, digits and _, does not begin with a digit, and has at most 100 of them"
    if key in COLUMNS or key in HIDDEN:
        return "that word is taken by a file's own columns"
    if key.lower() in RESERVED:
        return "that is a word of the query language"
    return None


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was understood: its text, the metadata keys it names, and its meaning as an SQLAlchemy clause."""

    text: str
    keys: tuple[str, ...]
    clause: Any = field(repr=False, compare=False)


def parse(text: str) -> Query:
    """Understand a query. Raises `QueryError` with the place, what was expected there, and the line with a caret."""
    from lark.exceptions import UnexpectedInput, VisitError

    from bookkeeper.query.builder import Builder

    if len(text) > MAX_LENGTH:
        raise QueryError(
            f"the query has {len(text)} characters, more than {MAX_LENGTH}", remedy="define the dataset by --from-list"
        )
    if not text.strip():
        raise QueryError("the query is empty", remedy="write for example: run_type = 'mc' and entries > 1000")
    if found := NO_CHARACTER.search(text):
        raise error_at(text, found.start(), "this is no character of a query")
    builder = Builder(text)
    try:
        node = builder.transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None
    except VisitError as error:
        raise error.orig_exc from None
    return Query(text, tuple(sorted(builder.keys)), node.clause)


@cache
def _parser() -> Lark:
    from lark import Lark

    grammar = (resources("bookkeeper.query") / "query.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="basic")


_VALUE: Final = "a number, a text in single quotes, true or false"
_EXPECTED: Final = {
    "NAME": "a column or metadata key",
    "COMPARE": "a comparison (=, <, like, in, between, is null, …)",
    "NUMBER": _VALUE,
    "STRING": "a text in single quotes",
    "_NULL": "null",
    "_AND": "`and`",
    "_OR": "`or`",
    "COMMA": "a comma",
    "LPAR": "(",
    "RPAR": ")",
}
"""What the grammar's terminals are called in a message, where they are worth naming."""


def _syntax_error(text: str, error: UnexpectedInput) -> QueryError:
    from lark.exceptions import UnexpectedToken

    if not isinstance(error, UnexpectedToken):
        return error_at(text, error.pos_in_stream, _about_character(text[error.pos_in_stream or 0]))
    accepted = set(error.accepts or error.expected)
    if "NUMBER" in accepted:
        accepted.discard("STRING")
    if accepted <= {"RPAR", "$END"}:  # the parser went over the end of a comparison already
        accepted |= {"_AND", "_OR"}
    words = "expected " + " or ".join(word for name, word in _EXPECTED.items() if name in accepted)
    if error.token.type == "$END":
        return error_at(text, len(text.rstrip()), words)
    if error.token.type == "_NULL" and "NUMBER" in accepted:
        words = "nothing is equal to null: write `is null` or `is not null`"
    elif error.token.type == "NAME" and accepted & {"NUMBER", "STRING"}:
        words += f"; if {error.token[:40]} is a text, write '{error.token[:40]}'"
    return error_at(text, error.pos_in_stream, words)


def _about_character(character: str) -> str:
    if character == "'":
        return "this quote is never closed"
    if character == "&":
        return "write `and`"
    if character == "|":
        return "write `or`"
    if character == '"':
        return "text is written in single quotes: 'mc'"
    return "this is no number" if character in "+-.0123456789" else "this is no word of a query"


def error_at(text: str, position: int | None, words: str) -> QueryError:
    """Return the error that says what is wrong at ``position``, with the line around it and a caret beneath."""
    position = position or 0
    start = max(0, position - 40)
    line = NO_CHARACTER.sub("?", re.sub(r"\s", " ", text[start : position + 40]))
    return QueryError(
        f"the query cannot be read at character {position + 1}: {words}\n  {line}\n  {' ' * (position - start)}^",
        remedy="write for example: entries > 0 and run_type = 'mc' and name like 'zmumu-%'; see the reference page of queries",
    )
