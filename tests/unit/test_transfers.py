"""Outputs that lie near get to their destinations by themselves; whoever comes late, twice or never changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import stageout, transfers
from bookkeeper.api import create_catalog
from bookkeeper.check import check, repair
from bookkeeper.errors import Fenced, NotAllowed, RolledBack
from bookkeeper.ledger import outputs
from bookkeeper.ledger import transfers as moves
from bookkeeper.ledger.door import bury
from bookkeeper.ledger.transfers import Arrival
from bookkeeper.process import Process
from bookkeeper.protocol import Manifest, Mark, Status
from bookkeeper.transfers import carrying, tidying
from bookkeeper.transfers.crew import work
from goodcatalog import declare
from ledgers import World, sound

SOON = {"retry": {name: {"base_delay": 0.0, "jitter": False} for name in ("transient_io", "configuration", "unknown")}}


class Place(World):
    """A catalog whose jobs store near, in a folder, what is to go to another."""

    def __init__(self, folder: Path, files: int = 4, **rules: Any) -> None:
        super().__init__(create_catalog(f"sqlite:///{folder}/c.db"))
        self.folder, self.near, self.out = folder, folder / "near", folder / "out"
        declare(self.catalog, files)
        self.catalog.define_dataset("all", names=["f*"])
        self.project = self.catalog.start_project("p", dataset="all", policy=SOON, **rules)

    def produce(self, files: int = 1, content: str = "made\n", **marks: str) -> Process:
        """Let a job consume files, store its output near, and end."""
        process = self.project.start_process()
        for file in process.next_files(files):
            file.consumed(entries=1)
        source = self.folder / "payload"
        source.write_text(content)
        process.stage_out(source, self.out, "o-{process}.txt", validate=None, near=self.near)
        process.commit()
        return process

    def claim(self, seconds: float = 60.0) -> moves.Claimed:
        one = carrying.claim_next(self.database, seconds=seconds)
        assert one is not None
        return one

    def transfer_state(self) -> list[str]:
        return self.column("SELECT state FROM transfers ORDER BY output_id")

    def lying(self, folder: Path) -> list[str]:
        """Every file below a folder; folders may come and go meanwhile."""
        walked = ((Path(at), name) for at, _, names in os.walk(folder) for name in names)
        return sorted(str((at / name).relative_to(folder)) for at, name in walked if name != "claim")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    sound(place)
    place.close()


def test_a_job_that_stored_near_is_staged_and_gone_and_its_output_is_published_without_it(place: Place) -> None:
    process = place.produce(2)
    assert process.staged
    assert place.value("SELECT state FROM processes") == "staged"
    assert place.files("held") == ["f00", "f01"]
    assert place.lying(place.out) == []
    assert work(place.database, linger=0) == 0
    assert place.value("SELECT state FROM processes") == "committed"
    assert place.files("committed") == ["f00", "f01"]
    assert (place.out / "o-1.txt").read_text() == "made\n"
    assert place.lying(place.out) == ["o-1.txt"]
    assert place.lying(place.near) == []
    assert place.value("SELECT near_bytes FROM requests") == 0
    assert check(place.database, checksum=True) == []


def test_what_the_manifest_said_of_every_file_is_kept_for_the_commit(place: Place) -> None:
    job = place.start()
    job.take(4)
    job.open("f00", "f01")
    job.stage_near(f01=Mark.SKIPPED, f02=Mark.UNREAD, f03=Mark.FAILED)
    with pytest.raises(NotAllowed):
        job.open("f02")
    one = place.claim()
    with place.database.transaction(durable=True) as tx:
        assert moves.arrived(tx, one, "/results/.bookkeeper/1-x-0/a") is Arrival.COMMITTED
    assert place.files("committed") == ["f00"]
    assert place.files("available") == ["f01", "f02", "f03"]
    assert [place.attempts(name)[0] for name in ("f00", "f01", "f02", "f03")] == [0, 1, 0, 1]


def test_a_process_commits_with_the_last_of_its_outputs(place: Place) -> None:
    job = place.start()
    job.take(1)
    job.stage_near(job.near(0), job.near(1))
    first, second = place.claim(), place.claim()
    for one, became in ((second, Arrival.ARRIVED), (first, Arrival.COMMITTED)):
        with place.database.transaction(durable=True) as tx:
            assert moves.arrived(tx, one, f"/results/.bookkeeper/1-{one.claim}-0/a") is became
        sound(place)


def test_nothing_is_tidied_of_a_process_that_is_being_taken_back(place: Place) -> None:
    job = place.start()
    job.take(1)
    job.stage_near()
    one = place.claim()
    with place.database.transaction(durable=True) as tx:
        moves.arrived(tx, one, "/results/.bookkeeper/1-x-0/a")
    assert tidying.untidy(place.database)
    with place.database.transaction(durable=True) as tx:
        outputs.begin_reopen(tx, one.process, one.request, "wrong")
    assert not tidying.untidy(place.database), "transfer workers would be started for it again and again"


def test_staging_again_is_answered_alike_also_when_it_is_committed_by_then(place: Place) -> None:
    job = place.start()
    job.take(1)
    job.stage_near()
    job.stage_near()
    one = place.claim()
    with place.database.transaction(durable=True) as tx:
        moves.arrived(tx, one, "/results/.bookkeeper/1-x-0/a")
    job.stage_near()
    assert place.value("SELECT count(*) FROM transfers") == 1
    with pytest.raises(NotAllowed):
        job.stage_near(job.near(1))


def test_a_job_cannot_commit_what_is_on_its_way_nor_be_buried_but_may_roll_back(place: Place) -> None:
    job = place.start()
    job.take(1)
    job.stage_near()
    with pytest.raises(NotAllowed):
        job.ledger.commit(job.key, job.manifest(job.near()))
    assert bury(place.database, job.key.id, "its worker ended without a word") is False
    job.roll_back()
    assert place.transfer_state() == ["given_up"]
    with pytest.raises(Fenced):
        job.stage_near()


def test_a_manifest_that_may_not_count_is_refused_when_it_is_staged(place: Place) -> None:
    job = place.start()
    job.take(2)
    with pytest.raises(RolledBack):
        job.ledger.stage(job.key, Manifest(job.manifest().files[:1], [job.near()]))
    assert place.transfer_state() == []
    assert place.value("SELECT near_bytes FROM requests") == 0


def test_an_upload_of_another_process_is_not_taken_for_a_near_copy(place: Place) -> None:
    job, other = place.start(), place.start()
    job.take(1)
    with pytest.raises(RolledBack, match="no upload of process"):
        job.stage_near(other.near())


def test_a_worker_that_comes_back_late_changes_nothing_and_deletes_only_its_own_copy(place: Place) -> None:
    place.produce()
    late = place.claim(seconds=-1.0)
    assert tidying.tend(place.database) == 1
    one = place.claim()
    assert carrying.carry(place.database, one) is Arrival.COMMITTED
    assert carrying.carry(place.database, late) is Arrival.LATE
    assert len(place.lying(place.out)) == 1
    assert work(place.database, linger=0) == 0
    assert place.lying(place.out) == ["o-1.txt"]


def test_a_late_failure_or_a_late_word_of_progress_changes_nothing(place: Place) -> None:
    place.produce()
    late = place.claim(seconds=-1.0)
    tidying.tend(place.database)
    one = place.claim()
    before = place.dump(clocks=True)
    with place.database.transaction() as tx:
        assert moves.failed(tx, late, "unknown", "it broke", 0.0) is False
        assert moves.progress(tx, late, 5, 60.0) is False
    assert place.dump(clocks=True)["transfers"] == before["transfers"]
    assert carrying.carry(place.database, one) is Arrival.COMMITTED


def test_every_try_writes_under_a_name_of_its_own(place: Place) -> None:
    place.produce()
    urls = []
    for _ in range(3):
        one = place.claim(seconds=-1.0)
        url = stageout.temporary_url(place.out, one.process, f"{one.tag}{one.claim}", one.attempts, "o-1.txt")
        urls.append(url)
        tidying.tend(place.database)
        place.change("UPDATE transfers SET next_at = 0")
    assert len(set(urls)) == 3


def test_what_fails_is_tried_again_and_says_why(place: Place) -> None:
    place.produce()
    place.out.write_text("no folder")
    for failures in (1, 2):
        assert carrying.carry(place.database, place.claim()) is None
        (row,) = transfers.progress(place.database, "p")
        assert (row.state, row.failures, row.attempts) == ("waiting", failures, failures)
        assert "no folder" in str(row.error)
        place.change("UPDATE transfers SET next_at = 0")
    place.out.unlink()
    assert work(place.database, linger=0) == 0
    assert place.lying(place.out) == ["o-1.txt"]


def test_a_near_copy_that_changed_is_never_published_and_its_files_come_again(place: Place) -> None:
    place.produce()
    (near,) = [place.near / one for one in place.lying(place.near)]
    near.write_text("MADE\n")
    for _ in range(2):
        assert carrying.carry(place.database, place.claim()) is None
        place.change("UPDATE transfers SET next_at = 0")
    assert place.value("SELECT state FROM processes") == "rolled_back"
    assert "is not what was stored" in place.value("SELECT reason FROM processes")
    assert place.attempts("f00") == (0, 0)
    assert work(place.database, linger=0) == 0
    assert place.lying(place.near) == place.lying(place.out) == []
    place.produce()
    work(place.database, linger=0)
    assert place.lying(place.out) == ["o-2.txt"]


def test_a_near_copy_that_is_gone_is_given_up_and_noted_before(place: Place) -> None:
    place.produce()
    for one in place.lying(place.near):
        (place.near / one).unlink()
    assert "missing-near-copy" in [finding.code for finding in check(place.database)]
    for _ in range(2):
        carrying.carry(place.database, place.claim())
        place.change("UPDATE transfers SET next_at = 0")
    assert place.files("available") == ["f00", "f01", "f02", "f03"]


def test_at_its_deadline_the_process_is_rolled_back_with_the_evidence(place: Place) -> None:
    process = place.produce()
    place.out.write_text("no folder")
    carrying.carry(place.database, place.claim())
    place.change("UPDATE transfers SET deadline = deadline - 1e6, queued_at = queued_at - 1e6, next_at = 0")
    assert tidying.tend(place.database) == 1
    reason = place.value("SELECT reason FROM processes")
    assert "did not arrive within 86400 s, in 1 tries" in reason
    assert "no folder" in reason
    assert place.value("SELECT count(*) FROM events WHERE kind = 'failure.classified'") == 1
    assert place.attempts("f00") == (0, 0)
    assert tidying.tend(place.database) == 0
    assert process.fate == "live"


def test_what_is_under_way_at_its_deadline_may_arrive(place: Place) -> None:
    place.produce()
    one = place.claim()
    place.change("UPDATE transfers SET deadline = 1")
    assert tidying.tend(place.database) == 0
    assert carrying.carry(place.database, one) is Arrival.COMMITTED


def test_no_lease_no_outage_and_no_heartbeat_cuts_the_time_of_a_transfer_short(tmp_path: Path) -> None:
    place = Place(tmp_path, lease=0.1, max_wall=0.2, transfer_deadline=1000.0)
    process = place.produce()
    until = place.value("SELECT lease_until FROM processes")
    assert until > place.database.now() + 900
    place.ledger.heartbeat(process.key)
    from bookkeeper.ledger.door import forgive

    forgive(place.database, "the server was started")
    assert place.value("SELECT lease_until FROM processes") == until
    assert place.catalog.expire() == 0
    place.close()


def test_so_many_bytes_at_the_near_storage_stop_the_delivery_until_they_are_gone(tmp_path: Path) -> None:
    place = Place(tmp_path, near_limit=10)
    place.produce()
    place.produce()
    job = place.start()
    answer = job.ask()
    assert answer.status is Status.NONE_NOW
    assert answer.reason == "10 bytes wait at the near storage for their transfer"
    assert place.catalog.project("p").status().near_is_full
    assert work(place.database, linger=0) == 0
    assert job.take() == ["f02", "f03"]
    sound(place)
    place.close()


def test_a_full_near_storage_is_told_over_http_with_the_time_to_come_again(tmp_path: Path) -> None:
    import httpx

    place = Place(tmp_path, near_limit=1).served()
    place.produce()
    job = place.start()
    url = job.ledger._transport.url  # type: ignore[attr-defined]
    call = {"process": job.key.id, "seq": 1, "limit": 1}
    headers = {"authorization": f"Bearer {job.key.token}"}
    answer = httpx.post(f"{url}/v1/ledger/next_files", json=call, headers=headers, timeout=60)
    assert answer.status_code == 202
    assert float(answer.headers["retry-after"]) > 0
    assert "near storage" in answer.json()["reason"]
    place.close()


def test_not_more_than_allowed_run_over_a_link_but_everybody_has_one(tmp_path: Path) -> None:
    place = Place(tmp_path, 4, link_limit=2)
    for _ in range(3):
        place.produce()
    other = place.catalog.start_project("q", dataset="all")
    place.claim()
    place.claim()
    assert carrying.claim_next(place.database) is None
    place.project = other
    last = place.produce()
    assert place.claim().process == last.id, "it does not wait behind what others have under way"
    assert carrying.claim_next(place.database) is None
    place.close()


def test_whose_turn_it_is_goes_around_the_requests(tmp_path: Path) -> None:
    place = Place(tmp_path, 4)
    for _ in range(3):
        place.produce()
    place.project = place.catalog.start_project("q", dataset="all")
    other = place.produce()
    assert [place.claim().process for _ in range(3)] == [1, other.id, 2]
    place.close()


def test_the_near_copy_of_a_process_that_was_rolled_back_goes_by_repair_too(place: Place) -> None:
    process = place.produce()
    place.ledger.roll_back(process.key, "an operator said so")
    assert place.lying(place.near) != []
    repair(place.database)
    assert place.lying(place.near) == []
    assert place.transfer_state() == ["done"]


def test_what_waits_to_be_copied_is_no_orphan_to_repair(place: Place) -> None:
    place.produce()
    repair(place.database, older_than=0.0)
    assert work(place.database, linger=0) == 0
    assert place.lying(place.out) == ["o-1.txt"]


def test_progress_is_told_in_bytes_rate_and_time(place: Place) -> None:
    place.produce(content="x" * 1000)
    one = place.claim()
    place.change("UPDATE transfers SET began_at = began_at - 10")
    with place.database.transaction() as tx:
        assert moves.progress(tx, one, 500, 60.0)
    (row,) = transfers.progress(place.database, "p", "running")
    assert (row.bytes, row.bytes_done) == (1000, 500)
    assert row.rate == pytest.approx(50, rel=0.1)
    assert row.eta == pytest.approx(10, rel=0.1)
    whole = transfers.totals(place.database, "p")
    assert (whole.running, whole.open, whole.bytes_left) == (1, 1, 500)


PATIENT = """
import functools, sys
from bookkeeper.transfers import __main__ as worker
worker.work = functools.partial(worker.work, linger=600.0)
sys.exit(worker.main(sys.argv[1:]))
"""
"""A transfer worker that does not end by itself before it is killed."""


def test_transfer_workers_that_are_killed_at_any_instant_lose_nothing_and_publish_once(tmp_path: Path) -> None:
    place = Place(tmp_path, 30)
    command = [sys.executable, "-P", "-c", PATIENT, place.database.url]
    kills = 0
    for number in range(6):
        for output in range(5):  # each worker finds work for as many dots as it is waited for
            place.produce(content=f"{number} {output}\n" * 1000)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.read(1 + number % 5)  # killed after so many things were done, each told by a dot
            os.kill(child.pid, signal.SIGKILL)
            kills += child.wait() == -signal.SIGKILL
        place.change("UPDATE transfers SET claimed_until = 1 WHERE state = 'running'")
        tidying.tend(place.database)
        place.change("UPDATE transfers SET next_at = 0")
        sound(place)
    assert kills == 6
    assert work(place.database, linger=0) == 0
    assert place.catalog.project("p").status().complete
    assert len([one for one in place.lying(place.out) if "/" not in one]) == 30
    assert place.lying(place.near) == []
    repair(place.database, older_than=0.0)
    assert check(place.database, checksum=True) == []
    place.close()


def test_a_crew_starts_workers_while_there_is_work_and_has_none_afterwards(place: Place) -> None:
    for _ in range(4):
        place.produce()
    crew = transfers.Crew(place.database)
    most = 0
    while not place.catalog.project("p").status().complete or place.lying(place.near) or crew.running:
        most = max(most, crew.step())
        crew.wait(0.05)
    assert 1 <= most <= 4
    assert crew.step() == 0
    crew.close()
