"""Retry policies, the summary, calling again, and the fingerprint."""

from __future__ import annotations

import re
import threading
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeper.failures import (
    DEFAULT_RETRY_POLICIES,
    DiagnosticSummary,
    FailureCategory,
    FailureRecord,
    RetryPolicy,
    classify_failure,
    normalise,
    run_with_retries,
)


def test_the_documented_categories_and_policies() -> None:
    table = {
        "transient_io": (5, 10.0, 2.0),
        "executor": (3, 30.0, 2.0),
        "configuration": (1, 5.0, 1.0),
        "corrupted_input": (1, 5.0, 1.0),
        "analysis_crash": (1, 5.0, 1.0),
        "unknown": (2, 15.0, 2.0),
    }
    found = {
        category.value: (policy.max_retries, policy.base_delay, policy.backoff_factor)
        for category, policy in DEFAULT_RETRY_POLICIES.items()
    }
    assert found == table
    assert all(policy.jitter for policy in DEFAULT_RETRY_POLICIES.values())
    assert [one.name for one in fields(RetryPolicy)] == ["max_retries", "base_delay", "backoff_factor", "jitter"]


def test_the_delay_grows_and_jitter_adds_up_to_a_quarter() -> None:
    policy = RetryPolicy(max_retries=5, base_delay=10.0)
    assert [policy.delay(n, random=lambda: 0.0) for n in (1, 2, 3)] == [10.0, 20.0, 40.0]
    assert policy.delay(1, random=lambda: 1.0) == 12.5
    assert RetryPolicy(1, 10.0, 3.0, jitter=False).delay(2) == 30.0


def test_the_documented_classification() -> None:
    """The example of the documentation, with its arguments."""
    exc = RuntimeError("the branch failed")
    captured_stderr = "xrdcp: [ERROR] Operation expired"
    category = classify_failure(exc, stderr=captured_stderr)
    assert category is FailureCategory.TRANSIENT_IO


def test_the_documented_summary() -> None:
    """The example of the documentation, verbatim but for its import."""
    summary = DiagnosticSummary()
    summary.add(FailureRecord(
        branch_num=3,
        attempt=1,
        category=FailureCategory.TRANSIENT_IO,
        message="XRootD timeout on xrootd://cms-xrd.cern.ch//store/…",
    ))  # fmt: skip
    assert re.fullmatch(
        r"DiagnosticSummary: 1 failure event\(s\) across 1 branch\(es\)\.\n"
        r"\n"
        r"Failures by category:\n"
        r"  transient_io        :    1 event\(s\)\n"
        r"\n"
        r"Individual failure events:\n"
        r"  \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\] branch=3 attempt=1 category=transient_io\n"
        r"    XRootD timeout on xrootd://cms-xrd\.cern\.ch//store/…",
        summary.report(),
    )


def test_the_report_has_the_documented_format() -> None:
    summary = DiagnosticSummary()
    for number in range(7):
        category = FailureCategory.TRANSIENT_IO if number < 5 else FailureCategory.ANALYSIS_CRASH
        summary.add(FailureRecord(number % 3, number, category, f"m{number}", "", f"2024-03-15T10:31:0{number}Z"))
    assert summary.report().splitlines()[:10] == [
        "DiagnosticSummary: 7 failure event(s) across 3 branch(es).",
        "",
        "Failures by category:",
        "  transient_io        :    5 event(s)",
        "  analysis_crash      :    2 event(s)",
        "",
        "Individual failure events:",
        "  [2024-03-15T10:31:00Z] branch=0 attempt=0 category=transient_io",
        "    m0",
        "  [2024-03-15T10:31:01Z] branch=1 attempt=1 category=transient_io",
    ]
    assert summary.failed_branches() == {0, 1, 2}
    assert summary.total_failures() == 7
    assert {category: len(found) for category, found in summary.by_category().items()} == {
        FailureCategory.TRANSIENT_IO: 5,
        FailureCategory.ANALYSIS_CRASH: 2,
    }
    summary.records.clear()
    assert len(summary.records) == 7
    assert DiagnosticSummary().report() == "DiagnosticSummary: 0 failure event(s) across 0 branch(es)."


def test_many_threads_may_add() -> None:
    summary = DiagnosticSummary()

    def add() -> None:
        for attempt in range(200):
            summary.add(FailureRecord(1, attempt, FailureCategory.UNKNOWN, "x"))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert summary.total_failures() == 1600


def test_calling_again_until_it_works() -> None:
    waits: list[float] = []
    calls: list[tuple[int, bool]] = []

    def my_job_callable(one: int, *, flag: bool) -> str:
        calls.append((one, flag))
        if len(calls) < 3:
            raise ConnectionResetError(104, "Connection reset by peer")
        return "done"

    summary = DiagnosticSummary()
    result = run_with_retries(
        fn=my_job_callable,
        args=[1],
        kwargs={"flag": True},
        branch_num=42,
        summary=summary,
        policies=DEFAULT_RETRY_POLICIES,
        sleep_fn=waits.append,
    )
    assert (result, calls) == ("done", [(1, True)] * 3)
    assert 10 <= waits[0] <= 12.5 and 20 <= waits[1] <= 25
    first, second = summary.records
    assert (first.branch_num, first.attempt, second.attempt) == (42, 1, 2)
    assert first.category is FailureCategory.TRANSIENT_IO
    assert first.message == "[Errno 104] Connection reset by peer"
    assert "Traceback" in first.traceback_text and "my_job_callable" in first.traceback_text


def test_the_last_exception_is_raised_as_it_came() -> None:
    thrown = [KeyError(n) for n in range(5)]
    left = iter(thrown)

    def fail() -> None:
        raise next(left)

    with pytest.raises(KeyError) as caught:
        run_with_retries(fail, [], sleep_fn=lambda seconds: None)
    assert caught.value is thrown[1]  # one retry of a configuration failure


def test_a_part_of_the_policies_is_enough() -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        run_with_retries(fail, policies={FailureCategory.UNKNOWN: RetryPolicy(0, 0.0)}, sleep_fn=lambda seconds: None)
    assert calls == 6
    with pytest.raises(ConnectionResetError):
        run_with_retries(
            fail, policies={FailureCategory.TRANSIENT_IO: RetryPolicy(0, 0.0)}, sleep_fn=lambda seconds: None
        )
    assert calls == 7


def test_stderr_inside_a_message_is_read() -> None:
    summary = DiagnosticSummary()

    def fail() -> None:
        raise RuntimeError("Job failed (exit code 139)\nstderr:\n *** Break *** segmentation violation\n")

    with pytest.raises(RuntimeError):
        run_with_retries(fail, summary=summary, sleep_fn=lambda seconds: None)
    assert [record.category for record in summary.records] == [FailureCategory.ANALYSIS_CRASH] * 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stop_goes_through(stop: type[BaseException]) -> None:
    summary = DiagnosticSummary()

    def fail() -> None:
        raise stop

    with pytest.raises(stop):
        run_with_retries(fail, summary=summary)
    assert summary.records == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("exit code 1: OSError: cannot read /data/a/x_1.root", "exit code 1: OSError: cannot read /mnt/b/x_2.root"),
        ("2024-03-01T10:11:12Z pid 991 failed", "2025-12-31 01:02:03,456 pid 7 failed"),
        ("lost worker tcp://10.1.2.3:4412", "lost worker tcp://10.9.8.7:1"),
        ("node17.cern.ch: at 0x7fff12 in job 3f2b1c00-aaaa-bbbb-cccc-0123456789ab", "n2.fnal.gov: at 0x1 in job 00000000-aaaa-bbbb-cccc-0123456789ab"),
        ("basket 7 of branch pt1 is unreadable", "basket 8123 of branch pt1 is unreadable"),
        ("file zmumu-1.root is bad", "file zmumu-22.root is bad"),
    ],
)  # fmt: skip
def test_the_same_failure_of_two_processes_has_one_fingerprint(one: str, other: str) -> None:
    assert normalise(one) == normalise(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("exit code 1", "exit code 2"),
        ("killed by signal 9 (SIGKILL)", "killed by signal 11 (SIGSEGV)"),
        ("[Errno 5] I/O", "[Errno 2] I/O"),
        ("[ERROR] Server responded with an error: [3011] x", "[ERROR] Server responded with an error: [3010] x"),
        ("KeyError: 'Muon_pt'", "KeyError: 'Jet_pt'"),
    ],
)
def test_other_failures_have_other_fingerprints(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@given(st.text(max_size=600))
def test_a_fingerprint_is_one_short_line(message: str) -> None:
    found = normalise(message)
    assert len(found) <= 200 and "\n" not in found
    assert normalise(message) == found
