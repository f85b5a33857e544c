"""What the tables of nodes and of errors tell of retries: in the views, on the command line, on the pages; in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from bookkeeper import reporting
from bookkeeper.failures import Evidence
from bookkeeper.server.pages import retried, router
from browsing import Browser, Element, faults, read
from commandline import ok
from failing import ODD, SEGFAULT, TIMEOUT, commit, fail, find_nothing, interrupt, world
from ledgers import Job, World

COUNTS = ("files", "retried", "recovered", "parked", "waiting")


@pytest.fixture(params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """One file crashes on node a and is committed on b; one crashes three times on c and is parked; one waits for its next
    try after a timeout on a; one failed oddly on c, and is tried again on b right now."""
    one = world(tmp_path / "bookkeeper.db", 4, backend=request.param)
    monkeypatch.setenv("BOOKKEEPER_CATALOG", one.database.url)
    lose(one, "f000", SEGFAULT, "a")
    take(one, "f000", "b").commit()
    for _ in range(3):
        lose(one, "f001", SEGFAULT, "c")
    lose(one, "f002", ODD, "c")
    take(one, "f002", "b")
    lose(one, "f003", TIMEOUT, "a")
    assert (one.files("committed"), one.files("parked")) == (["f000"], ["f001"])
    assert (one.files("held"), one.files("available")) == (["f002"], ["f003"])
    yield one
    one.close()


def take(made: World, name: str, node: str) -> Job:
    """Let a job on a node have one file, whose last failure, if it was there, is a while ago."""
    made.change(
        "UPDATE processes SET started_at = started_at - 100, ended_at = ended_at - 100 WHERE ended_at IS NOT NULL"
    )
    made.change("UPDATE ledger SET not_before = CASE WHEN file_id = ? THEN 0 ELSE 1e12 END", [(made.id_of(name),)])
    job = made.start(node=node)
    assert job.take(1) == [name]
    job.open()
    return job


def lose(made: World, name: str, evidence: Evidence, node: str) -> None:
    """Let a job on a node have one file, and fail after 100 seconds."""
    job = take(made, name, node)
    made.change("UPDATE processes SET started_at = started_at - 100 WHERE id = ?", [(job.key.id,)])
    job.roll_back(evidence.message, step=evidence.step, evidence=evidence)


def counts(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[key] for key in COUNTS)


def test_every_failure_says_what_became_of_its_files(made: World) -> None:
    rows = made.database.rows(f"SELECT node, rule, {', '.join(COUNTS)} FROM failures ORDER BY process_id")
    assert [(row["node"], counts(row)) for row in rows] == [
        ("a", (1, 1, 1, 0, 0)),  # committed on b
        ("c", (1, 1, 0, 1, 0)),  # failed again, then parked
        ("c", (1, 1, 0, 1, 0)),
        ("c", (1, 0, 0, 1, 0)),  # parked at once
        ("c", (1, 1, 0, 0, 0)),  # at work again
        ("a", (1, 0, 0, 0, 1)),  # waits
    ]


def test_a_node_has_its_files_counted_once_however_often_they_failed(made: World) -> None:
    query = "SELECT node, processes, failed, failed_files, retried, recovered, wall_time_s, waste_s FROM node_summary ORDER BY 1"
    a, b, c = made.database.rows(query)
    assert (a["processes"], a["failed"], a["failed_files"], a["retried"], a["recovered"]) == (2, 2, 2, 1, 1)
    assert (b["processes"], b["failed"], b["failed_files"], b["retried"], b["recovered"]) == (2, 0, 0, 0, 0)
    assert (c["processes"], c["failed"], c["failed_files"], c["retried"], c["recovered"]) == (4, 4, 2, 2, 0)
    assert c["wall_time_s"] == c["waste_s"] == pytest.approx(400, abs=10)


def test_many_files_of_a_process_do_not_multiply_the_process(tmp_path: Path) -> None:
    made = world(tmp_path / "bookkeeper.db", 9)
    fail(made, SEGFAULT, "a", 6, lasted=50)
    interrupt(made, "a", 3, lasted=70)
    find_nothing(made, "a")
    (row,) = made.database.rows("SELECT * FROM node_summary")
    assert (row["processes"], row["failed"], row["stageout_failures"]) == (3, 1, 0)
    assert (row["wall_time_s"], row["waste_s"]) == (pytest.approx(120, abs=5), pytest.approx(120, abs=5))
    assert (row["failed_files"], row["retried"], row["recovered"]) == (6, 0, 0)
    made.close()


def test_errors_count_different_files_by_what_became_of_them(made: World) -> None:
    view = reporting.failures_of(made.database, "p")
    assert (view["processes"], view["files"]) == (6, 4)
    assert {row["category"]: (row["processes"], *counts(row)) for row in view["categories"]} == {
        "analysis_crash": (4, 2, 2, 1, 1, 0),
        "configuration": (1, 1, 1, 0, 0, 0),
        "transient_io": (1, 1, 0, 0, 0, 1),
    }
    assert sorted(counts(row) for row in view["rules"]) == sorted(counts(row) for row in view["categories"])
    assert sorted(counts(row) for row in view["messages"]) == sorted(counts(row) for row in view["categories"])
    assert {row["node"]: counts(row) for row in view["nodes"]} == {"a": (2, 1, 1, 0, 1), "c": (2, 2, 0, 1, 0)}
    narrowed = reporting.failures_of(made.database, "p", node="a")
    assert {row["category"]: counts(row) for row in narrowed["categories"]} == {
        "analysis_crash": (1, 1, 1, 0, 0),
        "transient_io": (1, 0, 0, 0, 1),
    }


def test_a_file_of_several_projects_of_a_request_is_one_file(made: World) -> None:
    """What a recovery has committed is recovered, too; what was reopened is not any more."""
    recovery = made.recover(fence=True)
    assert recovery is not None
    made.change("UPDATE ledger SET not_before = 0")
    job = made.start(recovery, node="d")
    assert sorted(job.take(2)) == ["f002", "f003"]
    job.commit()
    (row,) = [row for row in reporting.failures_of(made.database, "p")["nodes"] if row["node"] == "a"]
    assert counts(row) == (2, 2, 2, 0, 0)
    made.reopen(job)
    made.revoke(job)
    (row,) = [row for row in reporting.failures_of(made.database, "p")["nodes"] if row["node"] == "a"]
    assert counts(row) == (2, 2, 1, 0, 1)


def test_the_command_line_tells_them(made: World) -> None:
    rows = ok("node", "list", "--json").json
    assert [(row["node"], row["failed_files"], row["retried"], row["recovered"]) for row in rows] == [
        ("a", 2, 1, 1),
        ("b", 0, 0, 0),
        ("c", 2, 2, 0),
    ]
    header, first, *_ = ok("node", "list").lines
    assert header.split()[:9] == [
        "node",
        "running",
        "successful",
        "stage-out",
        "failed",
        "hit",
        "retried",
        "recovered",
        "wall",
    ]
    assert first.split()[:8] == ["a", "0", "0", "0", "2", "2", "1", "1"]
    report = ok("report", "p", "--json").json
    assert [
        (row["node"], row["retried"], row["recovered"]) for row in sorted(report["nodes"], key=lambda row: row["node"])
    ] == [
        ("a", 1, 1),
        ("b", 0, 0),
        ("c", 2, 0),
    ]
    assert (
        "  (hit: files of processes that failed; retried: given out again; recovered: committed since)"
        in ok("report", "p").lines
    )
    lines = ok("failures", "p").lines
    assert lines[0].startswith("p: 6 processes failed, with 4 files; ")
    place = lines.index("by category")
    assert lines[place + 1].split() == [
        "category",
        "processes",
        "files",
        "retried",
        "recovered",
        "parked",
        "waiting",
        "lost",
    ]
    assert lines[place + 2].split()[:6] == ["analysis_crash", "4", "2", "2", "1", "1"]
    assert {row["category"]: row["recovered"] for row in ok("failures", "p", "--json").json["categories"]} == {
        "analysis_crash": 1,
        "configuration": 0,
        "transient_io": 0,
    }
    assert max(map(len, lines[: lines.index("what they said")])) <= 100


def test_what_nothing_is_parked_or_waiting_of_has_no_such_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world(tmp_path / "bookkeeper.db", 1)
    monkeypatch.chdir(tmp_path)
    fail(one, SEGFAULT, "a")
    commit(one, "b")
    lines = ok("failures", "p").lines
    assert lines[lines.index("by category") + 1].split() == [
        "category",
        "processes",
        "files",
        "retried",
        "recovered",
        "lost",
    ]
    one.close()


def page(made: World, path: str) -> Element:
    app = FastAPI(openapi_url=None)
    app.include_router(router(made.database))
    answer = Browser(app).get(path)
    assert answer.status_code == 200, answer.text
    found = read(answer.text)
    assert not faults(found)
    return found


def table(found: Element, label: str) -> dict[str, dict[str, str]]:
    """The rows of a table by their first cells, each by the titles of its columns."""
    (region,) = found.all("div", **{"aria-label": label})
    titles = [cell.text for cell in region.all("th")]
    rows = [[cell.text for cell in row.all("td")] for row in region.all("tr") if row.all("td")]
    return {row[0]: dict(zip(titles, row, strict=True)) for row in rows}


@pytest.mark.parametrize("path", ["/nodes", "/projects/p"])
def test_pages_of_nodes_tell_them(made: World, path: str) -> None:
    rows = table(page(made, path), "Nodes")
    assert [(name, row["hit"], row["retried"], row["recovered"]) for name, row in sorted(rows.items())] == [
        ("a", "2", "1", "1"),
        ("b", "0", "0", "0"),
        ("c", "2", "2", "0"),
    ]


def test_the_page_of_a_request_tells_them_of_its_errors(made: World) -> None:
    text = " ".join(page(made, "/projects/p").text.split())
    assert "analysis crash 4 processes, 2 files: 2 retried, 1 recovered, 1 parked, 0 waiting" in text
    assert "transient io 1 process, 1 file: 0 retried, 0 recovered, 0 parked, 1 waiting" in text
    assert "These are of the newest failures" not in text


def test_the_report_as_a_page_tells_them(made: World, tmp_path: Path) -> None:
    ok("report", "p", "--html", str(tmp_path / "report.html"))
    found = read((tmp_path / "report.html").read_text(encoding="utf-8"))
    rows = [[cell.text for cell in row.all("td")] for one in found.all("table") for row in one.all("tr")]
    assert next(row for row in rows if row[:1] == ["a"])[4:8] == ["2", "2", "1", "1"]
    assert next(row for row in rows if row[:1] == ["analysis crash"])[1:6] == ["4", "2", "2", "1", "1"]


def test_pages_look_at_so_many_files_and_say_so(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = made.column("SELECT id FROM processes")
    assert retried.Retried(made.database, everything).whole
    monkeypatch.setattr(retried, "DELIVERIES", 6)
    assert retried.Retried(made.database, everything).whole
    monkeypatch.setattr(retried, "DELIVERIES", 5)
    cut = retried.Retried(made.database, everything)
    assert not cut.whole
    assert counts(cut.of(everything)) == (3, 2, 0, 1, 1), "the oldest is left out"
    monkeypatch.setattr(retried, "PROCESSES", 2)
    assert counts(retried.Retried(made.database, everything).of(everything)) == (1, 0, 0, 0, 1)
    assert "These are of the newest failures" in page(made, "/nodes").text
