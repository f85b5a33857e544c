"""The job event log of HTCondor: real logs, and what becomes of logs while somebody reads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bookkeeper.executors.batch import Asks, Known, Seen
from bookkeeper.executors.htcondor import eventlog, telling
from bookkeeper_schema.states import JobState

LOGS = Path(__file__).parents[1] / "data" / "condor-logs"


def known(cluster: int, jobs: int = 1, state: JobState = JobState.IDLE) -> Known:
    open_ = {number: (f"{cluster}.{number}", state) for number in range(jobs)}
    return Known(1, "tag", Path(), str(cluster), None, jobs, open_, Asks())


def told(name: str, cluster: int, jobs: int = 1) -> list[Seen]:
    """What a log tells of a cluster."""
    _, events = eventlog.read(LOGS / name, None)
    return list(telling.of_events(events, known(cluster, jobs)))


def short(seen: list[Seen]) -> list[tuple[str, bool]]:
    """What happened, and whether what ran was dead then."""
    return [(one.kind, one.died) for one in seen]


def test_jobs_that_end_well() -> None:
    seen = told(
        "01-submit20-terminated.log", eventlog.read(LOGS / "01-submit20-terminated.log", None)[1][0]["Cluster"], 20
    )
    for number in range(20):
        mine = [one for one in seen if one.number == number]
        assert short(mine) == [("submitted", False), ("running", False), ("terminated", True)]
        assert (mine[-1].state, mine[-1].signal) == (JobState.COMPLETED, None) and mine[-1].exit_code is not None
        assert mine[1].node == "127-0-0-1.condor.test" and mine[0].at <= mine[1].at <= mine[2].at


def test_a_job_that_its_own_process_was_killed() -> None:
    assert [(one.exit_code, one.signal) for one in told("4x-kill-job.log", 51)][-1] == (None, 9)
    assert told("08-killed-by-signal.log", _cluster("08-killed-by-signal.log"))[-1].signal is not None


def test_a_killed_shadow_is_a_second_start_and_no_word_of_an_end() -> None:
    seen = told("4x-kill-shadow.log", 45)
    assert short(seen) == [("submitted", False), ("running", False), ("running", True)]
    assert seen[-1].reason == telling.AGAIN


def test_a_killed_starter_is_an_eviction() -> None:
    seen = told("4x-kill-starter.log", 46)
    assert short(seen) == [
        ("submitted", False), ("running", False), ("disconnected", False), ("reconnect_failed", True),
        ("evicted", True), ("running", False),
    ]  # fmt: skip
    assert seen[4].reason == "Job not found at execution machine" and seen[4].state is JobState.IDLE
    assert seen[4].detail["reason_code"] == 1008


def test_a_lost_machine_is_an_eviction_when_the_lease_of_the_claim_ends() -> None:
    seen = told("4x-kill-startd-and-starter.log", 49)
    assert [kind for kind, died in short(seen) if died] == ["reconnect_failed", "evicted"]
    assert seen[3].at - seen[2].at == 20  # JobLeaseDuration: until then nobody knows


def test_a_killed_schedd_costs_nothing() -> None:
    seen = told("4x-kill-schedd.log", 50)
    assert short(seen) == [
        ("submitted", False), ("running", False), ("disconnected", False), ("reconnected", False), ("terminated", True),
    ]  # fmt: skip
    assert seen[-1].exit_code == 0


@pytest.mark.parametrize(
    ("name", "code", "subcode"),
    [
        ("04-memory-exceeded-held.log", 21, 102),
        ("05-periodic-hold-release.log", 3, 42),
        ("06-on-exit-hold.log", 3, 7),
        ("09-missing-input-held.log", 13, 2),
        ("10-missing-output-held.log", 12, 2),
        ("11-exec-failed-held.log", 6, 2),
    ],
)
def test_holds_have_their_codes(name: str, code: int, subcode: int) -> None:
    held = [one for one in told(name, _cluster(name)) if one.kind == "held"]
    assert held and all(one.state is JobState.HELD and one.died and one.reason for one in held)
    assert {(one.hold_code, one.hold_subcode) for one in held} == {(code, subcode)}


def test_held_released_and_removed_by_a_person() -> None:
    seen = told("02-hold-release-remove.log", 15)
    assert [one.kind for one in seen] == [
        "submitted", "running", "evicted", "held", "released", "running", "evicted", "removed",
    ]  # fmt: skip
    assert seen[3].hold_code == 1 and seen[-1].state is JobState.REMOVED


def test_suspended_and_resumed_is_no_new_start() -> None:
    seen = told("03-vacate-evicted-suspend.log", 16)
    assert short(seen) == [
        ("submitted", False), ("running", False), ("evicted", True), ("running", False), ("suspended", False),
        ("resumed", False),
    ]  # fmt: skip


def test_a_node_that_cannot_make_a_folder_says_so() -> None:
    """25.14 says it; of 23.9 there is only that the job was not there."""
    for name, words in (
        ("14-execute-dir-unwritable.log", "Failed to create scratch dir"),
        ("50-v23.9-execute-dir-unwritable.log", "Job not found at execution machine"),
    ):
        evicted = [one for one in told(name, _cluster(name)) if one.kind == "evicted"]
        assert evicted and all(one.died and words in str(one.reason) for one in evicted)


def test_jobs_that_are_never_made_are_removed_with_their_cluster() -> None:
    seen = told("13-late-materialization.log", 27, 10)  # the log says that eight were made
    assert [(one.number, one.state, one.reason) for one in seen if one.number >= 8] == [
        (8, JobState.REMOVED, telling.NEVER_MADE), (9, JobState.REMOVED, telling.NEVER_MADE),
    ]  # fmt: skip
    assert {one.number for one in seen if one.kind == "terminated"} == set(range(8))


def test_other_clusters_in_the_same_log_are_not_ours() -> None:
    assert told("4x-kill-job.log", 50) == []


# -- where reading goes on --------------------------------------------------------------------------------------------


@pytest.fixture
def pieces() -> list[bytes]:
    """The events of a log, as they are written."""
    text = (LOGS / "02-hold-release-remove.log").read_bytes()
    return [part + b"...\n" for part in text.split(b"...\n")[:-1]]


def numbers(events: list[eventlog.Event]) -> list[int]:
    return [int(event["EventTypeNumber"]) for event in events]


ALL = [0, 40, 40, 1, 6, 4, 12, 13, 40, 40, 1, 4, 9]


def growing(path: Path, text: bytes, step: int) -> Iterator[None]:
    with path.open("wb", buffering=0) as stream:
        for begin in range(0, len(text), step):
            stream.write(text[begin : begin + step])
            yield


@pytest.mark.parametrize("step", [1, 7, 100, 5000])
def test_events_are_told_once_however_the_log_grows(tmp_path: Path, pieces: list[bytes], step: int) -> None:
    """Also while an event is half written: it is told when its end is there."""
    log, position, found = tmp_path / "events.log", None, []
    for _ in growing(log, b"".join(pieces), step):
        position, events = eventlog.read(log, position)
        found += numbers(events)
    assert found == ALL
    assert eventlog.read(log, position) == (position, [])


def test_a_log_that_is_not_there_yet_tells_nothing(tmp_path: Path) -> None:
    assert eventlog.read(tmp_path / "events.log", None) == (None, [])


def test_the_rest_of_a_rotated_log_is_read_first(tmp_path: Path, pieces: list[bytes]) -> None:
    log = tmp_path / "events.log"
    log.write_bytes(b"".join(pieces[:4]))
    position, _ = eventlog.read(log, None)
    with log.open("ab") as stream:
        stream.writelines(pieces[4:6])
    log.rename(tmp_path / "events.log.1")
    log.write_bytes(b"".join(pieces[6:]))
    position, events = eventlog.read(log, position)
    assert numbers(events) == ALL[4:]
    assert eventlog.read(log, position) == (position, [])


def test_a_log_that_was_cut_is_read_from_its_beginning(tmp_path: Path, pieces: list[bytes]) -> None:
    """Also where it has grown past the old place since: what stands before that is other text."""
    for kept in (pieces[11:], pieces[5:] + pieces[5:]):
        log = tmp_path / "events.log"
        log.write_bytes(b"".join(pieces[:5]))
        position, _ = eventlog.read(log, None)
        with log.open("r+b") as stream:
            stream.truncate()
            stream.writelines(kept)
        _, events = eventlog.read(log, position)
        assert len(events) == len(kept)
        log.unlink()


def test_a_log_that_was_copied_goes_on_where_it_was(tmp_path: Path, pieces: list[bytes]) -> None:
    """The catalog's folder was moved to another disk, or brought back from a backup: nothing is told twice."""
    log = tmp_path / "events.log"
    log.write_bytes(b"".join(pieces[:5]))
    position, _ = eventlog.read(log, None)
    shutil.copy(log, tmp_path / "copy")
    log.unlink()
    (tmp_path / "keeps-the-old-inode").write_text("")
    (tmp_path / "copy").rename(log)
    assert eventlog.read(log, position)[1] == []
    with log.open("ab") as stream:
        stream.writelines(pieces[5:])
    assert numbers(eventlog.read(log, position)[1]) == ALL[5:]


def test_an_older_state_of_a_log_tells_nothing_old(tmp_path: Path, pieces: list[bytes]) -> None:
    """A start that was told, told again, would be taken for a second one."""
    log = tmp_path / "events.log"
    log.write_bytes(b"".join(pieces))
    position, _ = eventlog.read(log, None)
    log.write_bytes(b"".join(pieces[:8]))
    assert numbers(eventlog.read(log, position)[1]) == []


def test_what_is_no_event_is_passed_over(tmp_path: Path, pieces: list[bytes]) -> None:
    """A crash of the machine leaves zeros or the half of an event; a newer HTCondor has events that we do not know."""
    for rubbish in (
        b"rubbish\nmore\n...\n",
        b"\0" * 300 + b"\n...\n",
        b"099 (015.000.000) 2026-11-20 10:33:13 News\n...\n",
    ):
        log = tmp_path / "events.log"
        log.write_bytes(b"".join(pieces[:6]) + rubbish + b"".join(pieces[6:]))
        position, events = eventlog.read(log, None)
        assert [one for one in numbers(events) if one != 99] == ALL, rubbish
        list(telling.of_events(events, known(15)))
        assert eventlog.read(log, position)[1] == []


def _cluster(name: str) -> int:
    return int(eventlog.read(LOGS / name, None)[1][0]["Cluster"])
