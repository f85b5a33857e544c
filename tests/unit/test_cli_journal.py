"""`ticket`, `work --ticket` and `ingest` at the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from commandline import ok, run

JOB = """\
import shutil, sys
output, *inputs = sys.argv[1:]
if not inputs[0].endswith(".root"):
    sys.exit("no ROOT file")
shutil.copy(inputs[0], output)
"""
COMMAND = [sys.executable, "job.py", "{output}", "{inputs}"]
NAME = ["--output-name", "mass-{process}.root"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    ok("init")
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "zmumu", "--names", "*")
    ok("project", "start", "p", "--dataset", "zmumu")
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "tickets").mkdir()
    return tmp_path


def lend(*more: object) -> Path:
    made = ok("ticket", "p", "--files-per-process", "4", "--destination", "out", "--out", "tickets", *more, "--json")
    return Path(made.json[0]["ticket"])


def test_a_ticket_out_and_a_journal_home(here: Path) -> None:
    ran = ok("ticket", "p", "--files-per-process", "4", "--count", "3", "--destination", "out", "--out", "tickets")
    assert ran.lines == ["tickets/p-1.ticket: process 1, 4 files", "tickets/p-2.ticket: process 2, 2 files"]
    assert "2 of 3 tickets" in ran.err
    assert (here / "tickets/p-1.ticket").stat().st_mode & 0o777 == 0o600
    catalog = (here / "bookkeeper.db").rename(here / "away.db")  # no catalog in reach
    for number in (2, 1):
        words = ["--ticket", f"tickets/p-{number}.ticket", "--journal", f"{number}.journal", *NAME]
        ran = ok("work", *words, "--", *COMMAND)
        assert ran.out.startswith(f"process {number} is recorded; `bookkeeper ingest` commits it\n"), ran
    catalog.rename(here / "bookkeeper.db")
    assert not list((here / "out").glob("*.root"))
    found = ok("ingest", "1.journal", "2.journal", "1.journal", "--json").json
    assert [one["verdict"] for one in found] == ["committed", "committed", "already committed"]
    assert [one["files"] for one in found] == [4, 2, 4]
    assert sorted(path.name for path in (here / "out").glob("*.root")) == ["mass-1.root", "mass-2.root"]
    assert ok("status", "p", "--json").json["complete"]
    ok("check")


def test_a_job_that_fails_says_so_at_once_and_its_files_are_free_when_it_is_ingested(here: Path) -> None:
    words = ["--ticket", lend(), "--journal", "j", *NAME]
    ran = run("work", *words, "--", sys.executable, "-c", "raise SystemExit('basket 3 is corrupt')")
    assert ran.code == 13
    assert run("work", *words, "--", *COMMAND).code == 13, "its journal has ended"
    assert not list((here / "out/.bookkeeper").glob("1-*"))
    assert "j: rolled back: exit code 1" in ok("ingest", "j").out
    assert ok("status", "p", "--json").json["available"] == 6
    assert "basket 3 is corrupt" in ok("failures", "p", "--json").out


def test_exit_codes_tell_the_worst(here: Path) -> None:
    ticket = lend()
    ok("work", "--ticket", ticket, "--journal", "good", *NAME, "--", *COMMAND)
    ok("work", "--ticket", ticket, "--journal", "twice", *NAME, "--", *COMMAND)
    whole = (here / "good").read_bytes()
    (here / "half").write_bytes(whole[: whole.index(b"\n") + 10])
    (here / "edited").write_bytes(whole.replace(b"consumed", b"unreadxx", 1))
    assert run("ingest", "half").code == 10
    assert run("ingest", "edited").code == 8
    assert run("ingest", "good", "twice", "half").code == 7
    assert run("ingest", "nowhere").code == 3
    assert [path.name for path in (here / "out").glob("*.root")] == ["mass-1.root"]
    assert not list((here / "out/.bookkeeper").glob("1-*"))


def test_what_makes_no_sense_is_refused(here: Path) -> None:
    ticket = lend()
    for words, code in (
        (["--ticket", ticket, "--partition", "1", "--", "true"], 2),
        (["--ticket", "nowhere", "--", "true"], 3),
        (["--ticket", "job.py", "--", "true"], 2),
        (["--journal", "j", "p", "--", "true"], 2),
        (["p"], 2),
    ):
        ran = run("work", *words)
        assert ran.code == code, ran
    assert run("ticket", "nowhere").code == 3
    assert run("ticket", "p", "--count", "2", "--partition", "1").code == 2
    assert run("ticket", "p", "--out", ticket).code == 4
    assert run("ticket", "p", "--wall", "soon").code == 2
    ran = run("work", "--ticket", ticket, *NAME, "--destination", "elsewhere", "--", *COMMAND)
    assert ran.code == 13
    assert "the ticket is for outputs in" in ran.err
    text = json.loads(ticket.read_text())
    text["ticket"]["process"] = 7
    ticket.write_text(json.dumps(text))
    assert "was changed" in run("work", "--ticket", ticket, "--", "true").err
    ticket.chmod(0o644)
    assert "chmod 600" in run("work", "--ticket", ticket, "--", "true").err


def test_no_ticket_where_no_file_is_left(here: Path) -> None:
    ok("ticket", "p", "--out", "tickets")
    assert run("ticket", "p", "--out", "tickets").code == 12
    assert [path.name for path in (here / "tickets").iterdir()] == ["p-1.ticket"]


@pytest.mark.parametrize(
    ("content", "verdict", "code", "said"),
    [
        (b"garbage", "not authentic", 8, "bring it again as its job wrote it"),
        (b"{}\n", "not authentic", 8, "bring it again as its job wrote it"),
        (b"", "incomplete", 10, "ingest it again when its job has ended"),
        (b"0123456789abcdef", "incomplete", 10, "ingest it again when its job has ended"),
        (b"0" * 64 + b' {"n', "incomplete", 10, "ingest it again when its job has ended"),
        (b"0" * 65, "not authentic", 8, "bring it again as its job wrote it"),
    ],
)
def test_what_is_no_journal_is_told_from_one_that_was_cut_off(
    here: Path, content: bytes, verdict: str, code: int, said: str
) -> None:
    (here / "odd.journal").write_bytes(content)
    ran = run("ingest", "odd.journal")
    assert (ran.code, ran.lines[0].split(": ")[1]) == (code, verdict)
    assert said in ran.err
