"""Group commit: many moves, one transaction, each answered for itself, and nobody before it is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.database import Tx
from bookkeeper.errors import BookkeeperError, CatalogBusy, CatalogError, Fenced, NotAllowed, UsageError
from bookkeeper.server.group import GroupCommit
from ledgers import World

Groups = list[tuple[int, bool]]


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World.create(tmp_path / "catalog.db", 1, backend=request.param)
    yield made
    made.close()


@contextlib.contextmanager
def grouped(world: World, **how: Any) -> Iterator[tuple[GroupCommit, Groups]]:
    groups: Groups = []
    group = GroupCommit(world.database, on_group=lambda jobs, durable: groups.append((jobs, durable)), **how)
    try:
        yield group, groups
    finally:
        group.close()


def at_once(group: GroupCommit, *works: Callable[[], Any], durable: bool = False) -> list[Any]:
    """Hand in work while the writer is busy, so that it is one group; the answers, exceptions among them."""
    busy, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert busy.wait(30)

    async def together() -> list[Any]:
        first = group.submit(hold)
        assert begun.wait(30)
        try:
            futures: list[Awaitable[Any]] = [group.submit(work, durable=durable) for work in works]
        finally:
            busy.set()
        await first
        return await asyncio.gather(*futures, return_exceptions=True)

    return asyncio.run(together())


def adding(
    group: GroupCommit, name: str, then: BaseException | None = None, *, durable: bool = False
) -> Callable[[], str]:
    """Work that adds an excluded node, and then fails where it is to."""

    def move(tx: Tx) -> str:
        tx.run(
            "INSERT INTO excluded_nodes (node, since, until, reason, by) VALUES (:n, 0, 0, 'r', 'b')",
            {"n": name},
        )
        if then is not None:
            raise then
        return name

    return lambda: group.run(move, durable=durable)


def nodes(world: World) -> list[str]:
    return sorted(world.column("SELECT node FROM excluded_nodes"))


def test_what_waits_is_made_in_one_transaction(world: World) -> None:
    with grouped(world) as (group, groups):
        assert at_once(group, *(adding(group, f"n{number}") for number in range(20))) == [f"n{n}" for n in range(20)]
    assert groups == [(1, False), (20, False)]
    assert len(nodes(world)) == 20


def test_a_refused_move_is_undone_and_the_others_stand(world: World) -> None:
    with grouped(world) as (group, groups):
        first, refused, last = at_once(
            group, adding(group, "a"), adding(group, "b", NotAllowed("no")), adding(group, "c")
        )
    assert (first, last) == ("a", "c")
    assert isinstance(refused, NotAllowed)
    assert nodes(world) == ["a", "c"]
    assert groups[-1] == (3, False)


def test_whatever_a_job_raises_the_others_do_not_suffer(world: World) -> None:
    with grouped(world) as (group, _):
        first, odd, double, last = at_once(
            group,
            adding(group, "a"),
            adding(group, "b", ZeroDivisionError("odd")),
            adding(group, "a"),
            adding(group, "c"),
        )
    assert (first, last) == ("a", "c")
    assert isinstance(odd, ZeroDivisionError)
    assert isinstance(double, UsageError | CatalogError)  # the database's own words, as without a group
    assert nodes(world) == ["a", "c"]


def test_work_of_several_moves_is_part_of_its_group(world: World) -> None:
    with grouped(world) as (group, groups):

        def work() -> list[str]:
            with contextlib.suppress(NotAllowed):
                adding(group, "refused", NotAllowed("no"))()
            return [adding(group, "x")(), adding(group, "y")()]

        assert at_once(group, work, adding(group, "z")) == [["x", "y"], "z"]
    assert nodes(world) == ["x", "y", "z"]
    assert groups[-1] == (2, False)


def test_one_durable_move_makes_its_group_durable(world: World) -> None:
    with grouped(world) as (group, groups):
        at_once(group, adding(group, "a"), adding(group, "b", durable=True))
        at_once(group, adding(group, "c"), durable=True)
    assert groups == [(1, False), (2, True), (1, False), (1, True)]
    assert nodes(world) == ["a", "b", "c"]


def test_that_a_process_is_fenced_is_not_told_before_it_is_on_disk(world: World) -> None:
    with grouped(world) as (group, groups):
        (fenced,) = at_once(group, adding(group, "a", Fenced("over")))
    assert isinstance(fenced, Fenced)
    assert groups[-1] == (1, True)


def test_nobody_is_answered_where_the_commit_fails(tmp_path: Path) -> None:
    world = World.create(tmp_path / "catalog.db", 1)

    def broken(tx: Tx) -> str:
        tx.run("PRAGMA defer_foreign_keys = ON")
        tx.run("INSERT INTO locations (file_id, url) VALUES (999, 'nowhere')")
        return "made"

    with grouped(world) as (group, _):
        answers = at_once(group, adding(group, "a"), lambda: group.run(broken))
    assert all(isinstance(answer, BookkeeperError) for answer in answers)
    assert nodes(world) == []
    world.close()


def test_threads_share_groups_too(world: World) -> None:
    with grouped(world) as (group, _):
        threads = [threading.Thread(target=adding(group, f"n{number}")) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(nodes(world)) == 30


def test_who_comes_when_too_many_wait_is_asked_to_come_later(world: World) -> None:
    with grouped(world, most_waiting=2) as (group, _), pytest.raises(CatalogBusy):
        at_once(group, *(adding(group, f"n{number}") for number in range(5)))


def test_what_waits_when_the_end_comes_is_done(world: World) -> None:
    with grouped(world) as (group, _):

        async def end() -> list[str]:
            futures = [group.submit(adding(group, f"n{number}")) for number in range(10)]
            await asyncio.to_thread(group.close)
            with pytest.raises(CatalogBusy):
                group.submit(adding(group, "late"))
            return await asyncio.gather(*futures)

        assert len(asyncio.run(end())) == 10
    assert len(nodes(world)) == 10


def test_a_group_is_no_longer_than_it_may_be(world: World) -> None:
    with grouped(world, most_at_once=4) as (group, groups):
        at_once(group, *(adding(group, f"n{number}") for number in range(10)))
    assert [jobs for jobs, _ in groups] == [1, 4, 4, 2]
