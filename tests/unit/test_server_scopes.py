"""What an operation needs is asked of whoever calls: the scope, the project, the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bookkeeper import datasets, files, nodes, projects, publishing, stepwise
from bookkeeper.api import Catalog, Project
from bookkeeper.catalog import Database, open_existing
from bookkeeper.check import check
from bookkeeper.errors import BookkeeperError, Forbidden, Unauthenticated
from bookkeeper.ledger.door import bury, sweep
from bookkeeper.ledger.requests import Rules
from bookkeeper.operations import REGISTRY
from bookkeeper.server.operations import SCOPES
from bookkeeper.worker import Job, OutputSpec, work
from ledgers import new_catalog
from services.reach import served


@dataclass(frozen=True)
class Known:
    scope: str
    projects: tuple[str, ...] | None = None

    def require(self, scope: str, project: str | None = None) -> None:
        if SCOPES.index(scope) > SCOPES.index(self.scope):
            raise Forbidden(f"needs {scope}")
        if scope != "read" and self.projects is not None and project not in self.projects:
            raise Forbidden(f"not on {project}")


class Doorman:
    """Knows tokens of the form ``scope`` and ``scope@project``."""

    def identify(self, authorization: str | None, client: str = "") -> Known:
        scope, _, project = (authorization or "").removeprefix("Bearer ").partition("@")
        if scope not in SCOPES:
            raise Unauthenticated("who are you?")
        return Known(scope, (project,) if project else None)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(new_catalog(tmp_path / "c.db").database) as made:
        (tmp_path / "f.txt").write_text("hello")
        files.declare(made, [{"name": "f", "size": 5, "locations": [f"{tmp_path}/f.txt"]}])
        datasets.define(made, "all", names="*")
        for name in ("p", "q"):
            projects.start(made, name, "all", ("a", "b", "1"), Rules())
        with served(made, guard=Doorman()) as url, contextlib.closing(open_existing(url)) as remote:
            yield remote


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    yield lambda token: monkeypatch.setenv("BOOKKEEPER_TOKEN", token)


CALLS = {
    "read": [
        lambda at: files.get(at, "f"),
        lambda at: list(files.find(at)),
        lambda at: at.rows("SELECT 1 AS one"),
        lambda at: projects.status(at, "p"),
        lambda at: publishing.pending(at),
    ],
    "work": [
        lambda at: files.declare(at, [{"name": "f", "size": 5}]),
        lambda at: datasets.define(at, "all", names="*"),
        lambda at: projects.start(at, "p", "all", ("a", "b", "1"), Rules()),
        lambda at: sweep(at),
        lambda at: projects.finish(at, "p"),
    ],
    "operate": [
        lambda at: files.retire(at, ["f"], "why"),
        lambda at: projects.pause(at, "p", "why"),
        lambda at: projects.resume(at, "p"),
        lambda at: sweep(at, grace=False),
        lambda at: nodes.exclude(at, "n", reason="why"),
        lambda at: check(at),
    ],
    "admin": [lambda at: files.declare(at, [{"name": "f", "size": 6}], update=True)],
}


@pytest.mark.parametrize("scope", SCOPES)
def test_an_operation_needs_its_scope(there: Database, speak, scope: str) -> None:  # type: ignore[no-untyped-def]
    for needed, calls in CALLS.items():
        for call in calls:
            speak(scope)
            if SCOPES.index(scope) >= SCOPES.index(needed):
                call(there)
            else:
                with pytest.raises(Forbidden, match="needs"):
                    call(there)


def test_nothing_but_its_name_is_told_without_a_token(there: Database) -> None:
    for calls in CALLS.values():
        for call in calls:
            with pytest.raises(Unauthenticated):
                call(there)


def test_a_token_for_one_project(there: Database, speak) -> None:  # type: ignore[no-untyped-def]
    speak("operate@p")
    projects.pause(there, "p", "why")
    projects.resume(there, "p")
    for call in (
        lambda: projects.pause(there, "q", "why"),
        lambda: projects.end(there, "q", fence=True),
        lambda: files.retire(there, ["f"], "why"),
        lambda: nodes.exclude(there, "n", reason="why"),
    ):
        with pytest.raises(Forbidden, match="not on"):
            call()
    speak("work@q")
    with Project(Catalog(there), "q").start_process() as process:
        process.next_files(1)
        speak("work@p")
        with pytest.raises(Forbidden, match="not on q"):
            bury(there, process.id, "dead")
        process.roll_back("enough")


def test_every_operation_that_names_a_project_says_so() -> None:
    """A change that a token for one project may not make elsewhere."""
    whole = {"files.declare", "files.retire", "datasets.define", "datasets.snapshot", "nodes.exclude", "nodes.admit",
             "ledger.sweep", "ledger.forgive", "check.proved", "reporting.explained_anew",
             "tokens.create", "tokens.revoke", "tokens.rotate"}  # fmt: skip
    for name, one in REGISTRY.items():
        if one.changes and one.scope is not None and not name.startswith("cursors."):
            assert one.project or one.process or name in whole, name


def test_a_process_speaks_for_itself_alone(there: Database, speak, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    speak("work@p")
    outcome = work(
        there,
        Job(
            "p", ("cp", "{inputs}", "{output}"), str(tmp_path), (OutputSpec("o-{process}.txt", str(tmp_path / "out")),)
        ),
    )
    assert outcome.fate == "committed"
    speak("work@q")
    from bookkeeper.ledger import ledger_of
    from bookkeeper.protocol import ProcessKey, StartProcess

    started = ledger_of(there).start_process(StartProcess("q", nonce="a-long-secret-of-the-job"))
    speak("")
    assert stepwise.recall(there, started.key).started.project == "q"
    for key in (ProcessKey(started.key.id, "another-token"), ProcessKey(1, started.key.token)):
        with pytest.raises(BookkeeperError):
            stepwise.recall(there, key)
        with pytest.raises(BookkeeperError):
            stepwise.stale(there, key, 1)
