"""Every statement of the library is understood by the migrated schema, and the hot ones find their rows by index."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest

import bookkeeper
from bookkeeper.api import create_catalog
from bookkeeper.errors import UsageError
from bookkeeper.postgres import translated
from services import postgres

STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")

KERNEL = "bookkeeper.ledger."
JUDGES = "bookkeeper.retries."
SMALL = {"catalog", "destinations", "datasets"}
"""Tables of a few rows, which may be read whole."""

RARE = {
    "choosing.FAILED_HERE": "looks at the last fifty processes, for a file that failed on this node a moment ago",
    "outputs.DOWNSTREAM": "runs when a person reopens a process",
    "restore.LIVE": "runs once in the life of a backup",
}

INDEXES = {
    "choosing.CANDIDATES": "ledger_available",
    "choosing.NEXT_PARTITION": "ledger_available",
    "deliver.SOME_LEFT": "ledger_available",
    "choosing.FURTHER_ON": "ledger_available",
    "choosing.NOT_FAILED_HERE": "ledger_available",
    "deliver.RIPEN": "ledger_available",
    "deliver.GUARD": "ledger_available",
    "requests.TRY_AGAIN": "ledger_setbacks",
    "commit.HELD_BY_ME": "ledger_held",
    "commit.PARTITION_SIZE": "ledger_partition",
    "giveback.FREE_REST": "ledger_held",
    "giveback.OVERDUE": "processes_live",
    "outputs.TO_PUBLISH": "outputs_to_publish",
    "choosing.OF_PARTITION": "ledger_partition",
    "requests.MISSING": "ledger_parked",
    "parking.PARKED": "ledger_parked",
    "requests.SHARES": "ledger_available",
    "requests.TAKE_OVER": "ledger_available",
}
"""What each of these must be answered from: however many files are committed, they do not look at those."""


def statements() -> dict[str, str]:
    """Every SQL constant of the library, by ``module.NAME``; a ``{condition}`` is filled in by a query's parser."""
    found = {}
    for module in pkgutil.walk_packages(bookkeeper.__path__, "bookkeeper."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.isupper() and isinstance(value, str) and STATEMENT.match(value) and "{" not in value:
                found[f"{module.name}.{name}"] = value
    return found


OF_POSTGRESQL = ("bookkeeper.postgres.", "bookkeeper.copying.postgres_end.")
"""Rooms whose statements are PostgreSQL's own."""

STATEMENTS = {name: text for name, text in statements().items() if not name.startswith(OF_POSTGRESQL)}
HOT = {name: text for name, text in STATEMENTS.items() if name.startswith((KERNEL, JUDGES))}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("statements") / "bookkeeper.db"
    create_catalog(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as opened:
        yield opened


def plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    named = dict.fromkeys(PARAMETER.findall(statement))
    parameters = named or [None] * statement.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_understood(connection: sqlite3.Connection, name: str) -> None:
    plan(connection, STATEMENTS[name])


def test_every_statement_is_understood_by_postgresql() -> None:
    """Each is prepared, with parameters whose types PostgreSQL has to find out by itself."""
    refused = []
    with closing(psycopg.connect(postgres.shared().new(), autocommit=True)) as opened:
        for name, statement in STATEMENTS.items():
            if name.startswith("bookkeeper.copying.sqlite_end."):
                continue
            numbers: dict[str, int] = {}
            text = re.sub(
                r"%\((\w+)\)s",
                lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}",  # noqa: B023 - used at once
                translated(statement),
            )
            places = count(1)
            text = re.sub(r"%s", lambda _: f"${next(places)}", text).replace("%%", "%")  # noqa: B023
            try:
                opened.execute(f"PREPARE one AS {text}".encode())
                opened.execute("DEALLOCATE one")
            except psycopg.Error as error:
                refused.append(f"{name}: {error}")
    assert refused == []


def test_the_kernels_statements_are_found() -> None:
    assert len(HOT) > 60
    assert {KERNEL + name for name in INDEXES} <= HOT.keys()
    assert {KERNEL + name for name in RARE} <= HOT.keys()


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_reads_no_table_whole(connection: sqlite3.Connection, name: str) -> None:
    if name.removeprefix(KERNEL) in RARE:
        return
    for step in plan(connection, HOT[name]):
        if step.startswith("SCAN") and not step.endswith(("processes_live", "transfers_running")):
            assert step.split()[1] in SMALL | {"ended_last", "newest", "CONSTANT"}, step  # a few rows, by LIMIT
        assert not re.search(r"\b(ledger|l) USING PRIMARY KEY \(request_id=\?\)", step), f"walks a request: {step}"


JUDGED_BY = {
    "history.RUN": "events_project",
    "history.GOT_FURTHER": "processes_request .*rowid>",
    "history.ON_NODE": "processes_node .*node=",
    "history.WORKED": "processes_node .*node=",
    "history.FAILED_ELSEWHERE": "deliveries_file",
    "history.ALONE_ON": "deliveries_file",
    "history.OTHER_SETBACKS": "deliveries_file",
}
"""What each of these must be answered from: however many processes a request had, they look at a few."""


@pytest.mark.parametrize("name", JUDGED_BY)
def test_a_judge_looks_at_a_few_rows(connection: sqlite3.Connection, name: str) -> None:
    steps = plan(connection, HOT[JUDGES + name])
    assert any(re.search(rf"INDEX {JUDGED_BY[name]}", step) for step in steps), steps
    assert not any(re.search(r"processes_\w+ \(request_id=\?\)", step) for step in steps), steps
    assert "newest" in str(steps) or not any("TEMP B-TREE FOR ORDER" in step for step in steps), steps


@pytest.mark.parametrize("name", INDEXES)
def test_a_hot_statement_uses_its_partial_index(connection: sqlite3.Connection, name: str) -> None:
    steps = plan(connection, HOT[KERNEL + name])
    assert any(re.search(rf"INDEX {INDEXES[name]}\b", step) for step in steps), steps
    assert name == "parking.PARKED" or not any("TEMP B-TREE" in step for step in steps), steps


AT_EACH_LOOK = {
    "jobs.findings.ANY_UNJUDGED": r"b USING INDEX jobs_unjudged",
    "jobs.findings.DEAD": r"b USING INDEX jobs_batch \(batch_id=\?\)",
    "jobs.findings.UNJUDGED": r"b USING INDEX jobs_unjudged",
    "jobs.looking.OPEN_JOBS": r"b USING INDEX jobs_open",
    "jobs.looking.SUBMISSIONS": r"b USING INDEX jobs_open",
    "transfers.queue.GROUPS": r"transfers USING INDEX transfers_running",
    "transfers.tidying.ANYTHING": r"t USING INDEX transfers_near_copies",
    "transfers.tidying.NEAR_COPIES": r"t USING INDEX transfers_near_copies",
    "transfers.tidying.UNPUBLISHED": r"t USING INDEX transfers_near_copies",
}
"""What each of these must be answered from: however many jobs and transfers are over, they look at none of those."""


@pytest.mark.parametrize("name", AT_EACH_LOOK)
def test_what_is_asked_all_the_time_looks_at_nothing_that_is_over(connection: sqlite3.Connection, name: str) -> None:
    steps = plan(connection, STATEMENTS[f"bookkeeper.{name}"])
    assert any(re.search(rf"{AT_EACH_LOOK[name]}", step) for step in steps), steps
    whole = [step for step in steps if step.startswith("SCAN") and "INDEX" not in step]
    assert all(step in ("SCAN CONSTANT ROW", "SCAN t") for step in whole), steps
    assert name == "transfers.queue.GROUPS" or "SCAN t" not in whole, steps


def test_a_number_that_no_column_holds_is_refused_by_a_question_as_by_a_move(tmp_path: Path) -> None:
    with create_catalog(f"sqlite:///{tmp_path}/c.db") as catalog:
        for number in (2**63, -(2**63) - 1, 10**400):
            with pytest.raises(UsageError, match="too large"):
                catalog.database.rows("SELECT 1 WHERE 1 = :number", {"number": number})
            with pytest.raises(UsageError, match="too large"), catalog.database.transaction() as tx:
                tx.run("DELETE FROM files WHERE id = :number", {"number": number})
