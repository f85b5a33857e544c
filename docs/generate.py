"""The reference pages that are made: the tables, the states with their legal moves, the protocol over HTTP.

``python docs/generate.py`` writes them; a test holds that they are current, and that no column and no move is without
its words.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Final

from sqlalchemy import CheckConstraint, Column, Table
from sqlalchemy.dialects import sqlite
from sqlmodel import SQLModel

from bookkeeper_schema import states, tables
from bookkeeper_schema.meanings import column_meanings

DOCS: Final = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import protocol  # noqa: E402  (found beside this file)

COLUMNS: Final = column_meanings()
TYPES: Final = {"BIGINT": "integer", "INTEGER": "integer", "FLOAT": "real", "VARCHAR": "text", "BOOLEAN": "0 or 1"}

BY: Final[dict[str, dict[tuple[str, str], str]]] = {
    "ledger": {
        ("available", "held"): "`next_files`",
        ("available", "parked"): "`park`; or, when it is to be delivered, it changed or was retired since the snapshot",
        ("held", "committed"): "`commit`, of a file that was consumed",
        ("held", "available"): "`roll_back`, `expire`, a fence; `commit`, of a file skipped, failed or left unread",
        ("held", "parked"): "the same, for a file that failed too often alone, or whose content changed",
        ("committed", "available"): "`reopen`, when the objects are gone",
        ("parked", "available"): "`unpark`",
    },
    "delivery": {
        ("delivered", "opened"): "the job, or its worker for it",
        ("delivered", "consumed"): "the job; the commit (consuming includes opening)",
        ("delivered", "skipped"): "the job; the commit",
        ("delivered", "failed"): "the job; the commit; a file that cannot be reached or has changed",
        ("opened", "consumed"): "the job; the commit",
        ("opened", "skipped"): "the job; the commit",
        ("opened", "failed"): "the job; the commit",
    },
    "process": {
        ("active", "staged"): "`stage`",
        ("active", "committed"): "`commit`",
        ("active", "rolled_back"): "`roll_back`; `expire`; `end --fence`, `recover --fence`; a commit that was refused",
        ("staged", "committed"): "`commit`; the arrival of its last transfer",
        ("staged", "rolled_back"): "as from active",
        ("committed", "revoking"): "`reopen`, its first step",
        ("revoking", "revoked"): "`reopen`, when every object was seen absent",
    },
    "project": {
        ("open", "paused"): "`pause`; three failures in a row that are not the files'",
        ("open", "ended"): "`end`; `recover`; `submit`, when nothing is left to deliver",
        ("paused", "open"): "`resume`",
        ("paused", "ended"): "`end`; `recover`",
    },
    "output": {
        ("staged", "committed"): "the commit of its process",
        ("staged", "discarded"): "the roll back of its process",
        ("committed", "published"): "publication: the worker, the next process, `submit`, `check --repair`",
        ("committed", "revoked"): "`reopen` of its process",
        ("published", "revoked"): "`reopen` of its process",
    },
    "transfer": {
        ("waiting", "running"): "a transfer worker claims it",
        ("running", "waiting"): "the copy failed; or its transfer worker fell silent",
        ("running", "arrived"): "its transfer worker, which proved the copy; with the last one the process commits",
        ("waiting", "given_up"): "the roll back of its process: past its deadline, or fenced",
        ("running", "given_up"): "the same; the near copy is not what was stored",
        ("arrived", "given_up"): "the same, because of another output",
        ("arrived", "done"): "the near copy was deleted after the publication",
        ("given_up", "done"): "the near copy was deleted",
    },
}
"""Who makes each legal move."""

TITLES: Final = {
    "ledger": "A ledger row: one file of one request",
    "delivery": "A delivery: one file in one process",
    "process": "A process: one job's transaction",
    "project": "A project",
    "output": "An output",
    "transfer": "A transfer: one output on its way from a near storage",
}

STATES_HEAD: Final = """\
# States and moves

<!-- Made by `python docs/generate.py`. -->

Everything that has a state is listed here with every move that it can make. The moves are data
(`bookkeeper_schema.states.MOVES`): a move that is not in these tables does not happen. Each is one guarded transaction,
and the states themselves are constraints of the [tables](tables.md).

```{image} ../_static/states.svg
:alt: The states of a ledger row, a process and an output, and the moves between them
:align: center
```

At all times the files of a request are available, held, committed or parked: one of them, each exactly once. A request is
*complete* when all are committed and all outputs are published.
"""

TABLES_HEAD: Final = """\
# Tables

<!-- Made by `python docs/generate.py`. -->

What the catalog stores. Queries are better asked of the [views](views.md): they are stable, the tables are not. What must
never be true is a constraint here, so that no program, not even a wrong one, can write it.

Times are seconds since the epoch, UTC, by the catalog's own clock; sizes are bytes; `0 or 1` is a truth value. A column
that may be empty (NULL) says so. `bookkeeper sql` reads these tables as well, and never writes them.

Triggers refuse what would rewrite history: the rows of `snapshot_files` and `events` are neither changed nor deleted, those
of `deliveries` and `ledger` are not deleted.
"""


def state_page() -> str:
    """Return the page of the states."""
    parts = [STATES_HEAD]
    for machine, (kind, moves) in states.MOVES.items():
        parts.append(f"\n## {TITLES[machine]}\n\n| state | meaning |\n|---|---|\n")
        parts += [f"| `{name}` | {words} |\n" for name, words in meanings(kind).items()]
        parts.append("\n| from | to | by |\n|---|---|---|\n")
        parts += [f"| `{a}` | `{b}` | {BY[machine][a, b]} |\n" for a, targets in moves.items() for b in targets]
        last = [f"`{state}`" for state, targets in moves.items() if not targets]
        if last:
            parts.append(f"\n{_listed(last)} {'is' if len(last) == 1 else 'are'} for ever.\n")
    for title, kind in (("A file of the catalog", states.FileState), ("The five steps of a job", states.Step)):
        parts.append(f"\n## {title}\n\n| | meaning |\n|---|---|\n")
        parts += [f"| `{name}` | {words} |\n" for name, words in meanings(kind).items()]
    return "".join(parts)


def meanings(kind: type[StrEnum]) -> dict[str, str]:
    """Return what the members of an enum mean: the text that follows each in the source."""
    body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
    words: dict[str, str] = {}
    for node, after in pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr):
            words[ast.literal_eval(node.value)] = " ".join(ast.literal_eval(after.value).split())
    return words


def table_page() -> str:
    """Return the page of the tables."""
    parts = [TABLES_HEAD]
    classes = (getattr(tables, name) for name in tables.__all__)
    kinds = {kind.__tablename__: kind for kind in classes if inspect.isclass(kind) and issubclass(kind, SQLModel)}
    return "".join([*parts, *(f"\n{_table(kinds[name])}" for name in COLUMNS)])


def _table(kind: type[SQLModel]) -> str:
    table: Table = kind.__table__  # type: ignore[attr-defined]
    about = inspect.cleandoc(kind.__doc__ or "").replace("``", "`")
    rows = "".join(
        f"| `{column.name}` | {_type(column)} | {COLUMNS[table.name][column.name]} |\n" for column in table.columns
    )
    rules = "".join(f"* {rule}\n" for rule in _rules(table))
    return f"## `{table.name}`\n\n{about}\n\n| column | type | meaning |\n|---|---|---|\n{rows}\n{rules}"


def _type(column: Column[object]) -> str:
    name = TYPES.get(str(column.type), str(column.type))
    return f"{name} or empty" if column.nullable else name


def _rules(table: Table) -> Iterator[str]:
    """Yield the keys, references and checks of a table, in words and SQL."""
    yield f"primary key: {_columns(table.primary_key.columns)}"
    unique = [(index.name, index) for index in table.indexes if index.unique]
    for _, index in sorted(unique, key=lambda pair: str(pair[0])):
        where = index.dialect_options["sqlite"]["where"]
        yield f"unique: {_columns(index.columns)}" + (f", where `{where}`" if where is not None else "")
    for column in table.columns:
        if column.unique:
            yield f"unique: `{column.name}`"
    for constraint in sorted(table.foreign_key_constraints, key=lambda one: list(one.column_keys)):
        target = ", ".join(f"`{element.target_fullname}`" for element in constraint.elements)
        yield f"{_columns(constraint.columns)} refers to {target}"
    checks = [one for one in table.constraints if isinstance(one, CheckConstraint)]
    for check in sorted(checks, key=lambda one: str(one.name)):
        yield f"check: `{check.sqltext.compile(dialect=sqlite.dialect())}`"


def _columns(columns: object) -> str:
    return ", ".join(f"`{column.name}`" for column in columns)  # type: ignore[attr-defined]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def pages() -> dict[str, str]:
    """Return the pages by their file names."""
    return {"tables.md": table_page(), "states.md": state_page(), "protocol.md": protocol.page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / "reference" / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")
