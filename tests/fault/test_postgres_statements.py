"""The connection to PostgreSQL is lost at every statement of a verb: it is made again, and has the effect of once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bookkeeper.protocol import StoredOutput
from ledgerfaults import Fuse, How, Scene, breakable, broken
from ledgers import violations
from services import postgres

pytestmark = pytest.mark.fault

VERBS = (
    "next_files", "next_files that sweeps", "mark", "heartbeat", "stage", "commit", "commit of a failed file",
    "commit of a staged process", "commit that is refused", "roll_back", "roll_back that excludes", "expire", "bury",
    "published", "end with fence", "recover with fence", "park", "reopen, first phase", "reopen, second phase",
    "stage near", "claim", "arrived, the last", "failed", "give up", "near copy gone",
)  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with breakable():
        yield Scene(tmp_path_factory.mktemp("scene"), "postgresql")


def fresh(scene: Scene) -> None:
    postgres.shared().drop(scene.url)
    scene.play_on(postgres.shared().new(scene.url.rpartition("/")[2]))
    scene.world.value("SELECT 1")


def numberless(answer: Any) -> Any:
    """An answer without the numbers of outputs: a sequence goes on, whatever became of the transaction."""
    outputs = isinstance(answer, tuple) and all(isinstance(one, StoredOutput) for one in answer)
    return tuple(replace(one, id=0) for one in answer) if outputs else answer


def dump(scene: Scene, verb: str) -> dict[str, Any]:
    """Everything the catalog says, but for times, events, and numbers that come from a sequence."""
    if verb == "recover with fence":  # the new project's number stands in every row that went to it
        world = scene.world
        return {
            "projects": world.database.table("SELECT name, state, files FROM projects ORDER BY name")[1],
            "ledger": world.database.table("SELECT request_id, file_id, state, attempts FROM ledger ORDER BY 1, 2")[1],
        }
    said: dict[str, Any] = scene.world.dump()
    return {**said, **{table: [row[1:] for row in said[table]] for table in ("outputs", "transfers")}}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_whose_connection_is_lost_at_its_nth_statement_is_made_once(scene: Scene, verb: str) -> None:
    fresh(scene)
    with broken(Fuse()) as fuse:
        answer = numberless(scene.verbs[verb]())
    after, statements = dump(scene, verb), fuse.count
    scene.world.close()
    assert statements >= 3
    hows: tuple[How, How] = ("is lost before", "is lost after")
    for n in fuse.different():  # what PostgreSQL undoes, it undoes whole: the same statement again tells nothing new
        fresh(scene)
        with broken(Fuse(n, hows[n % 2])) as fuse:
            assert numberless(scene.verbs[verb]()) == answer, n
        assert fuse.count > n, "it was lost, and made again"
        assert dump(scene, verb) == after, n
        assert violations(scene.world.database) == []
        scene.world.close()
    fresh(scene)
    with broken(Fuse(statements, "is lost after")):  # the answer to the last commit
        assert numberless(scene.verbs[verb]()) == answer
    assert dump(scene, verb) == after
    scene.world.close()
