"""Every statement of every verb fails, is interrupted, or is the last of its process: whole or absent, and repeatable."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper.errors import CatalogError
from forking import forks
from ledgerfaults import Fuse, How, Scene, breakable, broken, killed_at
from ledgers import violations

pytestmark = pytest.mark.fault

VERBS = (
    "start_process", "next_files", "next_files that sweeps", "mark", "heartbeat", "stage", "commit", "commit of a failed file",
    "commit of a staged process", "commit that is refused", "roll_back", "roll_back of a staged process", "expire",
    "roll_back that brakes", "roll_back that lets rest", "roll_back that excludes", "bury", "exclude", "hold_back", "published", "will_write_to", "record", "pause", "end with fence", "recover", "recover with fence", "park",
    "reopen, first phase", "reopen, second phase",
    "stage near", "claim", "progress", "arrived", "arrived, the last", "failed", "silent", "give up", "near copy gone",
)  # fmt: skip
KILLED = (
    "next_files", "stage", "commit", "commit of a failed file", "commit of a staged process", "commit that is refused",
    "roll_back", "roll_back that excludes", "expire", "recover with fence", "reopen, second phase",
    "stage near", "claim", "arrived", "arrived, the last", "failed", "silent", "give up", "near copy gone",
)  # fmt: skip
SEVERAL = {"start_process", "next_files that sweeps", "commit that is refused", "expire"}
"""Verbs of several transactions: between them the catalog is sound, and neither as before nor as after."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with breakable():
        yield Scene(tmp_path_factory.mktemp("scene"))


def fresh(scene: Scene, path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(scene.path, path)
    scene.play_on(path)


def clean_run(scene: Scene, verb: str, path: Path) -> tuple[int, object, object, object]:
    """The statements that the verb takes, its answer, and the catalog before and after."""
    fresh(scene, path)
    before = scene.world.dump()
    with broken(Fuse()) as fuse:
        answer = scene.verbs[verb]()
    after = scene.world.dump()
    assert violations(scene.world.database) == []
    assert fuse.count >= 3
    scene.world.close()
    return fuse.count, answer, before, after


def repeat(scene: Scene, verb: str, answer: object, after: object) -> None:
    assert violations(scene.world.database) == []
    assert scene.verbs[verb]() == answer
    assert scene.world.dump() == after
    assert violations(scene.world.database) == []


def test_every_verb_has_its_test(scene: Scene) -> None:
    assert set(scene.verbs) == set(VERBS)


@pytest.mark.parametrize("how", ["fails before", "is interrupted", "fails after"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_whose_nth_statement_breaks_is_whole_or_absent_and_repeatable(
    scene: Scene, tmp_path: Path, verb: str, how: How
) -> None:
    path = tmp_path / "c.db"
    statements, answer, before, after = clean_run(scene, verb, path)
    for n in range(1, statements + 1):
        fresh(scene, path)
        with broken(Fuse(n, how)), pytest.raises(CatalogError) as caught:
            scene.verbs[verb]()
        assert str(path) in str(caught.value)
        now = scene.world.dump()
        if verb not in SEVERAL:
            assert now in (before, after), n
        repeat(scene, verb, answer, after)
        scene.world.close()


@pytest.mark.parametrize("verb", KILLED)
def test_a_process_killed_at_its_nth_statement_leaves_the_verb_whole_or_absent(
    scene: Scene, tmp_path: Path, verb: str
) -> None:
    path = tmp_path / "c.db"
    statements, answer, before, after = clean_run(scene, verb, path)
    children = []
    for n in range(1, statements + 1):
        copy = tmp_path / f"{n}.db"
        shutil.copyfile(scene.path, copy)
        child = forks().Process(target=killed_at, args=(scene, copy, verb, n))
        child.start()
        children.append((child, copy))
    for child, copy in children:
        child.join(600)
        assert child.exitcode == -signal.SIGKILL
        scene.play_on(copy)
        if verb not in SEVERAL:
            assert scene.world.dump() in (before, after)
        repeat(scene, verb, answer, after)
        scene.world.close()


def test_what_follows_from_the_failures_of_the_scene_is_what_they_are_called_by(scene: Scene, tmp_path: Path) -> None:
    fresh(scene, tmp_path / "c.db")
    world = scene.world
    for verb in ("brakes", "lets rest", "excludes"):
        scene.verbs[f"roll_back that {verb}"]()
    assert world.project_state("b")[0] == "paused"
    assert world.value("SELECT rest_until FROM projects WHERE name = 't'") is not None
    assert world.column("SELECT node FROM excluded_nodes") == ["bad"]
    world.close()
