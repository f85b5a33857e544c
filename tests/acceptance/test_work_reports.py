"""A command that reports: only what it reported consumed counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench import Bench

REPORTING = """
import os, shutil, sys
inputs, lines, code = sys.argv[1:3], sys.argv[3], int(sys.argv[4])
for number, path in enumerate(inputs, 1):
    lines = lines.replace(f"URL{number}", path).replace(f"NAME{number}", os.path.basename(path))
open(os.environ["BOOKKEEPER_REPORT"], "a").write(lines)
shutil.copy(inputs[0], os.environ["BOOKKEEPER_OUTPUT"])
print("it went wrong", file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def bench(tmp_path: Path, zmumu_folder: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, zmumu_folder)
    yield made
    made.catalog.close()


def lines(*entries: dict[str, Any]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def run(bench: Bench, report: str, code: int = 0, **changes: Any) -> Any:
    command = bench.script(REPORTING)
    # braces of JSON are no placeholders
    word = report.replace("{", "{{").replace("}", "}}")
    return bench.work(*command, word, str(code), files_per_process=2, **changes)


def states(bench: Bench) -> list[tuple[str, str | None]]:
    rows = bench.catalog.sql("SELECT state, reason FROM deliveries ORDER BY file_id")
    return [(row["state"], row["reason"]) for row in rows]


def test_silence_means_that_all_were_consumed(bench: Bench) -> None:
    assert run(bench, "").consumed == 2


def test_what_is_reported_by_name_or_url_is_believed(bench: Bench) -> None:
    report = lines(
        {"file": "NAME1", "state": "opened"},
        {"file": "URL2", "state": "consumed", "entries": 500, "bytes": 7},
        {"file": "URL1", "state": "consumed"},
    )
    outcome = run(bench, report.rstrip("\n"))  # a whole last line without its end counts
    assert (outcome.fate, outcome.consumed, outcome.entries) == ("committed", 2, 1000)
    row = bench.catalog.sql("SELECT entries_read, bytes_read FROM deliveries WHERE file_id = 2")
    assert row == [{"entries_read": 500, "bytes_read": 7}]


@pytest.mark.parametrize(
    ("entry", "state", "reason"),
    [
        ({"file": "NAME2", "state": "skipped", "reason": "no muons"}, "skipped", "no muons"),
        ({"file": "NAME2", "state": "failed"}, "failed", "the command gave no reason"),
        ({"file": "NAME2", "state": "opened"}, "skipped", "the command opened it and did not report it consumed"),
        (None, "skipped", "the command did not report it"),
    ],
)
def test_what_is_not_reported_consumed_is_free_again_and_charged(
    bench: Bench, entry: dict[str, Any] | None, state: str, reason: str
) -> None:
    said = [{"file": "NAME1", "state": "consumed"}, *([entry] if entry else [])]
    outcome = run(bench, lines(*said))
    assert (outcome.fate, outcome.consumed) == ("committed", 1)
    assert states(bench)[1] == (state, reason)
    assert bench.ledger()[:2] == ["committed", "available"] and bench.attempts()[:2] == [0, 1]


def test_nothing_consumed_is_no_result(bench: Bench) -> None:
    outcome = run(bench, lines({"file": "NAME1", "state": "failed", "reason": "empty tree"}))
    assert outcome.fate == "rolled_back"
    assert outcome.reason.startswith("no file was consumed: ") and outcome.reason.endswith("was failed: empty tree")


def test_wrong_entries_spoil_the_output(bench: Bench) -> None:
    """A part of the file is in the output: committing the rest would count that part twice one day."""
    report = lines({"file": "NAME1", "state": "consumed", "entries": 499}, {"file": "NAME2", "state": "consumed"})
    outcome = run(bench, report)
    assert outcome.fate == "rolled_back" and "499 entries were read, 500 are catalogued" in outcome.reason
    assert states(bench)[0] == ("failed", "499 entries were read, 500 are catalogued")
    assert not bench.published()


def test_wrong_entries_may_be_allowed(bench: Bench) -> None:
    report = lines({"file": "NAME1", "state": "consumed", "entries": 499}, {"file": "NAME2", "state": "consumed"})
    outcome = run(bench, report, allow_entries_mismatch=True)
    assert (outcome.fate, outcome.entries) == ("committed", 999)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ('{"file": "other.root", "state": "consumed"}\n', "report, line 1: unknown file 'other.root'"),
        ('\n{"file": "NAME1", "state": "eaten"}\n', "report, line 2: unknown state 'eaten'; allowed: opened, consumed"),
        (
            '{"file": "NAME1", "state": "consumed", "entries": "5"}\n',
            "entries must be a whole number, 0 or more, not '5'",
        ),
        ('{"file": "NAME1", "state": "consumed", "bytes": -1}\n', "bytes must be a whole number, 0 or more, not -1"),
        ('{"file": "NAME1", "state": "consumed", "entries": true}\n', "entries must be a whole number"),
        ('{"file": "NAME1", "state": "failed", "reason": 3}\n', "reason must be words, not 3"),
        ('{"file": 1, "state": "consumed"}\n', "file must be a name or URL, not 1"),
        ('{"file": "NAME1", "status": "consumed"}\n', "unknown key 'status'"),
        ('["NAME1"]\n', "it is no object"),
        ("consumed NAME1\n", "it is no JSON"),
        ('{"file": "NAME1", "state": "failed"}\n{"file": "NAME1", "state": "consumed"}\n', "cannot become consumed"),
        ('{"file": "NAME1", "state": "consumed"}\n{"file": "NAME2", "sta', "it is torn, and nothing else says"),
        ('{"file": "' + "x" * 70_000 + '"', "longer than"),
    ],
)
def test_report_that_cannot_be_understood_rolls_back(bench: Bench, report: str, said: str) -> None:
    outcome = run(bench, report)
    assert (outcome.fate, outcome.step) == ("rolled_back", "verification")
    assert said in outcome.reason and "report" in outcome.reason
    assert not bench.published()


def test_torn_last_line_is_passed_over_where_it_decides_nothing(bench: Bench) -> None:
    report = lines({"file": "NAME1", "state": "consumed"}, {"file": "NAME2", "state": "consumed"}) + '{"file'
    outcome = run(bench, report)
    assert (outcome.fate, outcome.consumed) == ("committed", 2)
    assert bench.events("report.torn", 1) == [{"line": 3}]


def test_command_that_fails_leaves_its_reasons(bench: Bench) -> None:
    outcome = run(bench, lines({"file": "NAME2", "state": "failed", "reason": "2 baskets unreadable"}) + "{", code=1)
    assert outcome.reason == "exit code 1: it went wrong"
    assert [state for state, _ in states(bench)] == ["opened", "failed"]
    reasons = [row["reason"] for row in bench.project.uncommitted()]
    assert "failed: 2 baskets unreadable" in reasons


def test_partition_is_never_reported_in_part(tmp_path: Path, zmumu_folder: Path) -> None:
    bench = Bench(tmp_path, zmumu_folder, partition_by={"files": 2})
    outcome = run(bench, lines({"file": "NAME1", "state": "consumed"}))
    assert outcome.fate == "rolled_back"
    assert "a partition counts whole or not at all" in outcome.reason
    assert bench.attempts()[:2] == [1, 1]
    bench.catalog.close()


@pytest.mark.parametrize("spoil", ["rm {}", "rm {}; mkdir {}", "rm {}; mkfifo {}"], ids=["removed", "folder", "pipe"])
def test_report_file_that_is_gone_says_nothing_and_any_other_thing_is_refused(bench: Bench, spoil: str) -> None:
    shell = f'cp "$1" "$2"; {spoil.replace("{}", "$BOOKKEEPER_REPORT")}'
    outcome = bench.work("sh", "-c", shell, "sh", "{inputs}", "{output}")
    if spoil == "rm {}":
        assert outcome.fate == "committed"
    else:
        assert "the report is no regular file" in outcome.reason
