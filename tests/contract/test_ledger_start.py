"""start_process, and what every verb answers to a stranger or to the dead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bookkeeper.errors import Fenced, NotAllowed, NotFound, Paused
from bookkeeper.protocol import EventRecord, Fate, FileMark, Manifest, Mark, ProcessKey
from ledgers import Job, World

VERBS: dict[str, Callable[[Job, ProcessKey], object]] = {
    "next_files": lambda job, key: job.ledger.next_files(key, 99, 1),
    "mark": lambda job, key: job.ledger.mark(key, [FileMark(1, Mark.OPENED)]),
    "heartbeat": lambda job, key: job.ledger.heartbeat(key),
    "stage": lambda job, key: job.ledger.stage(key, job.manifest(job.output(n=7))),
    "commit": lambda job, key: job.ledger.commit(key, job.manifest(job.output(n=7))),
    "published": lambda job, key: job.ledger.published(key, []),
    "will_write_to": lambda job, key: job.ledger.will_write_to(key, "/elsewhere"),
}
QUESTIONS: dict[str, Callable[[Job, ProcessKey], object]] = {
    "roll_back": lambda job, key: job.ledger.roll_back(key, "late"),
    "fate": lambda job, key: job.ledger.fate(key),
}
RECORDS: dict[str, Callable[[Job, ProcessKey], object]] = {
    "outputs_of": lambda job, key: job.ledger.outputs_of(key),
    "to_publish": lambda job, key: job.ledger.to_publish(key),
    "deliveries_of": lambda job, key: job.ledger.deliveries_of(key),
    "record": lambda job, key: job.ledger.record(key, [EventRecord("job.said")]),
}


def test_the_same_nonce_again_is_the_same_process(world: World) -> None:
    job = world.start(node="n1", lease=77.0, files_per_process=3)
    before = world.dump(clocks=True)
    assert world.ledger.start_process(job.introduction) == job.started
    assert (job.started.lease, job.started.files_per_process) == (77.0, 3)
    assert world.dump(clocks=True) == before


def test_the_same_nonce_gets_the_same_answer_after_the_project_was_paused_or_ended(world: World) -> None:
    job = world.start()
    world.catalog.project("p").pause("look at the disk")
    assert world.ledger.start_process(job.introduction) == job.started
    world.end()
    assert world.ledger.start_process(job.introduction) == job.started


def test_the_same_nonce_gets_the_same_answer_after_the_commit(world: World) -> None:
    job = world.start()
    job.take()
    job.commit()
    assert world.ledger.start_process(job.introduction) == job.started
    assert world.ledger.fate(job.started.key) is Fate.COMMITTED


def test_the_nonce_of_a_process_that_was_rolled_back_opens_no_other(world: World) -> None:
    job = world.start()
    job.roll_back("no luck")
    with pytest.raises(Fenced, match="no luck"):
        world.ledger.start_process(job.introduction)
    assert world.value("SELECT count(*) FROM processes") == 1


def test_a_batch_job_that_runs_twice_is_two_processes(world: World) -> None:
    first, second = world.start(job_id="42.0"), world.start(job_id="42.0")
    assert first.key.id != second.key.id
    assert set(first.take(2)).isdisjoint(second.take(2))


def test_no_process_starts_where_it_cannot(world: World) -> None:
    with pytest.raises(NotFound, match="'q'"):
        world.start("q")
    world.catalog.project("p").pause("look at the disk")
    with pytest.raises(Paused, match="look at the disk"):
        world.start()
    world.end()
    with pytest.raises(NotAllowed, match="ended") as caught:
        world.start()
    assert "recover p" in caught.value.remedy
    world.recover()
    with pytest.raises(NotAllowed) as caught:
        world.start()
    assert "p-recovery-1" in caught.value.remedy
    assert world.value("SELECT count(*) FROM processes") == 0


def test_a_partition_is_asked_for_only_where_it_exists(world: World, make: Callable[..., World]) -> None:
    with pytest.raises(NotAllowed, match="no partitions"):
        world.start(partition=0)
    parts = make(4, partition_by={"files": 2})
    with pytest.raises(NotFound, match="no partition 2"):
        parts.start(partition=2)
    assert parts.value("SELECT count(*) FROM processes") == 0


@pytest.mark.parametrize("verb", [*VERBS, *QUESTIONS, *RECORDS])
def test_a_wrong_token_or_number_speaks_for_nobody(world: World, verb: str) -> None:
    say = {**VERBS, **QUESTIONS, **RECORDS}[verb]
    job, other = world.start(), world.start()
    job.take(1)
    before = world.dump(clocks=True)
    for key in (
        ProcessKey(job.key.id, "guess"),
        ProcessKey(job.key.id, other.key.token),
        ProcessKey(99, job.key.token),
    ):
        with pytest.raises(NotFound):
            say(job, key)
    assert world.dump(clocks=True) == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("end", ["rolled back", "expired", "fenced", "revoked"])
def test_a_process_that_was_rolled_back_is_told_so_and_why(world: World, verb: str, end: str) -> None:
    job = world.start()
    job.take(2)
    if end == "rolled back":
        job.roll_back("of its own will")
    elif end == "expired":
        world.late(job)
        assert world.catalog.expire() == 1
    elif end == "fenced":
        assert world.end(fence=True) == 1
    else:
        job.commit()
        assert world.reopen(job) == 2
    before = world.dump(clocks=True)
    why = {"rolled back": "own will", "expired": "lease expired", "fenced": "fence", "revoked": "its output was lost"}
    with pytest.raises(Fenced, match=why[end]):
        VERBS[verb](job, job.key)
    assert QUESTIONS["fate"](job, job.key) is Fate.ROLLED_BACK
    assert QUESTIONS["roll_back"](job, job.key) is Fate.ROLLED_BACK
    RECORDS["record"](job, job.key)
    assert world.dump(clocks=True) == before


@pytest.mark.parametrize("verb", ["next_files", "mark", "heartbeat", "stage"])
def test_a_committed_process_can_do_no_more(world: World, verb: str) -> None:
    job = world.start()
    job.take(2)
    job.commit()
    before = world.dump(clocks=True)
    with pytest.raises(NotAllowed, match="committed"):
        VERBS[verb](job, job.key)
    assert world.dump(clocks=True) == before


def test_the_catalog_keeps_no_token(world: World) -> None:
    job = world.start(nonce="open sesame")
    assert world.value("SELECT count(*) FROM processes WHERE token IS NOT NULL") == 0  # readers see none at all
    with world.database.transaction() as tx:
        assert "sesame" not in tx.run("SELECT token FROM processes WHERE id = ?", (job.key.id,)).fetchone()[0]


def test_an_empty_manifest_of_nothing_commits_where_no_output_is_declared(world: World) -> None:
    job = world.start()
    assert world.ledger.commit(job.key, Manifest([], no_output=True)) == ()
    assert world.ledger.fate(job.key) is Fate.COMMITTED
