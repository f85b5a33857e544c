"""Jobs without a network that are killed at every record, and ingests that are killed at every statement."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import check
from bookkeeper.journal import Verdict
from forking import forks
from journaling import exactly_once, ingest_until_killed, lend, take_in, uploads, worked
from ledgers import World

pytestmark = pytest.mark.fault


def run(work: Any, *arguments: Any, **named: Any) -> int:
    """Do it in a process of its own; its exit code."""
    child = forks().Process(target=work, args=arguments, kwargs=named)
    child.start()
    child.join()
    return int(child.exitcode or 0)


def expire(world: World) -> None:
    world.change("UPDATE processes SET lease_until = 1 WHERE state IN ('active', 'staged')")
    world.catalog.expire()


@pytest.mark.parametrize("end", ["commit", "roll_back"])
def test_a_worker_killed_after_any_record_counts_whole_or_not_at_all(tmp_path: Path, end: str) -> None:
    n, code, incomplete = 0, -signal.SIGKILL, 0
    while code != 0:
        n += 1
        folder = tmp_path / str(n)
        folder.mkdir()
        world = World.create(folder / "c.db", 4, files_per_process=2)
        lent, journal = lend(world, folder), folder / "journal"
        code = run(worked, lent, journal, end=end, dies_at=n)
        assert code in (0, -signal.SIGKILL)
        (one,) = take_in(world, journal)
        assert one.verdict in (Verdict.INCOMPLETE, Verdict.COMMITTED, Verdict.ROLLED_BACK)
        exactly_once(world, folder)
        again = take_in(world, journal)[0].verdict
        assert again is (Verdict.ALREADY if one.verdict is Verdict.COMMITTED else one.verdict)
        if one.verdict is Verdict.INCOMPLETE:
            incomplete += 1
            if n % 2:  # the batch system runs the job again, on its journal
                assert run(worked, lent, journal, end=end) == 0
                (one,) = take_in(world, journal)
                assert one.verdict is (Verdict.COMMITTED if end == "commit" else Verdict.ROLLED_BACK)
        expire(world)
        assert len(world.files("committed")) == (2 if one.verdict is Verdict.COMMITTED else 0)
        check.repair(world.database, older_than=0)
        assert not [found for found in check.check(world.database) if found.severity == "violation"]
        exactly_once(world, folder)
        assert uploads(folder) == []
        world.close()
    assert (n > 6, incomplete >= 5) == (True, True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fails", "is refused", "is one of two"])
def test_an_ingest_killed_at_any_statement_is_finished_by_the_next(tmp_path: Path, how: str) -> None:
    n, code = 0, -signal.SIGKILL
    while code != 0:
        n += 1
        folder = tmp_path / str(n)
        folder.mkdir()
        world = World.create(folder / "c.db", 4)
        lent = lend(world, folder)
        journals = [worked(lent, folder / "a", end="roll_back" if how == "fails" else "commit")]
        if how == "is one of two":
            journals.append(worked(lent, folder / "b"))
        if how == "is refused":
            expire(world)
        code = run(ingest_until_killed, world.database.url, journals, n)
        assert code in (0, -signal.SIGKILL), code
        verdicts = [one.verdict for one in take_in(world, *journals)]
        expected = {
            "fails": [Verdict.ROLLED_BACK],
            "is refused": [Verdict.REFUSED],
            "is one of two": [verdicts[0], Verdict.REFUSED],
        }
        assert verdicts == expected[how]
        if how == "is one of two":
            assert verdicts[0] in (Verdict.COMMITTED, Verdict.ALREADY)
            assert len(world.files("committed")) == 4
        assert uploads(folder) == []
        assert world.value("SELECT count(*) FROM events WHERE kind = 'job.said'") == 2 * len(journals)
        exactly_once(world, folder)
        world.close()
    assert n > 10
