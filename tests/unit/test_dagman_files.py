"""What a DAG is written as, and what is read of DAGMan's own files: real ones of HTCondor among them."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from bookkeeper.catalog import create
from bookkeeper.dagman import folder as folders
from bookkeeper.dagman import look, make
from bookkeeper.dagman.ended import Ended, last_job
from bookkeeper.dagman.making import description, quoted
from bookkeeper.dagman.standing import status_ads
from bookkeeper.errors import Conflict, NotAllowed, NotFound, NothingToDo, UsageError
from bookkeeper.executors.batch import Asks
from bookkeeper.spec import load
from commandline import ok, run

LOGS = Path(__file__).parents[1] / "data" / "condor-logs"

SPEC = """
[project]
name = "p"
files = ["data/*.txt"]
max_wall = "3d"
[job]
command = ["/bin/sh", "-c", "cat \\"$@\\" > \\"$0\\"", "{output}", "{inputs}"]
partition_by = { files = 2 }
[output]
name = "out-{partition}.txt"
destination = "out/"
[executor]
jobs = 7
memory = "2GiB"
run_time = "2h"
environment = { GREETING = "it's \\"me\\"" }
extra = ["priority = 3"]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for number in range(5):
        (tmp_path / "data" / f"f{number}.txt").write_text(f"{number}\n")
    (tmp_path / "spec.toml").write_text(SPEC)
    create("sqlite:///bookkeeper.db").close()
    return tmp_path


def test_each_partition_is_a_node_with_its_scripts_and_its_retries(here: Path) -> None:
    made = ok("dag", "make", "spec.toml", "--out", "dag", "--json").json
    assert (made["nodes"], made["project"], made["batch"]) == (3, "p", None)
    text = (here / "dag" / "all.dag").read_text()
    assert re.findall(r"^JOB (\S+)", text, re.MULTILINE) == ["part-0000", "part-0001", "part-0002"]
    assert "SCRIPT DEFER 82 30 POST part-0001 script post all part-0001 $RETURN" in text
    assert re.search(r"^RETRY part-0002 \d+ UNLESS-EXIT 81$", text, re.MULTILINE)
    assert "PRE_SKIP part-0000 80" in text and "FINAL final final.sub NOOP" in text
    config = (here / "dag" / "dagman.config").read_text()
    assert "DAGMAN_MAX_POST_SCRIPTS = 10" in config and "DAGMAN_MAX_JOBS_SUBMITTED = 7" in config
    said = (here / "dag" / "node.sub").read_text()
    assert "request_memory = 2048" in said and "My.MaxRuntime = 7200" in said and "priority = 3" in said
    assert 'GREETING=it\'\'s ""me""' in said
    assert folders.read(here / "dag").wall == 7200.0


def test_groups_of_files_are_nodes_where_files_are_pulled(here: Path) -> None:
    (here / "spec.toml").write_text(
        SPEC.replace("partition_by = { files = 2 }", "files_per_process = 2").replace("{partition}", "{process}")
    )
    ok("dag", "make", "spec.toml", "--out", "dag")
    assert [one.name for one in folders.read(here / "dag").nodes] == ["group-0000", "group-0001", "group-0002"]
    view = look(here / "dag")
    assert (view.state, view.counts) == ("not submitted", {"waiting": 3})
    told = ok("dag", "status", "dag").out
    assert "group-0002" in told and "3 waiting" in told


def test_what_cannot_be_made_is_said_and_leaves_nothing(here: Path) -> None:
    spec = load(here / "spec.toml")
    with closing(create("sqlite:///bookkeeper.db")) as database:
        with pytest.raises(NotAllowed, match="max_wall"):
            make(spec, database, here / "dag", grace="5d")
        assert not (here / "dag").exists()
        make(spec, database, here / "dag", grace="1d")
        with pytest.raises(Conflict, match="is there already"):
            make(spec, database, here / "dag", grace="1d")
    (here / "spec.toml").write_text(SPEC.replace("[executor]", '[executor]\nkind = "nowhere"'))
    assert run("dag", "make", "spec.toml", "--out", "dag2").code == 2
    (here / "spec.toml").write_text(SPEC.replace("[output]", '[output]\nnear = "near"'))
    told = run("dag", "make", "spec.toml", "--out", "dag2")
    assert (told.code, (here / "dag2").exists()) == (2, False)
    assert "stores outputs near first" in told.err
    assert run("dag", "status", "nowhere").code == 3
    with pytest.raises(NotFound, match="holds no DAG"):
        look(here / "nowhere")


def test_a_request_that_is_complete_needs_no_dag(here: Path) -> None:
    ok("submit", "spec.toml", "--jobs", "2")
    with closing(create("sqlite:///bookkeeper.db")) as database, pytest.raises(NothingToDo):
        make(load(here / "spec.toml"), database, here / "dag", grace="1d")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("a", "b c"), "\"a 'b c'\""),
        (("it's",), "\"'it''s'\""),
        (('say "x"',), '"\'say ""x""\'"'),
        (("",), "\"''\""),
        (("$(node)",), '"$(DOLLAR)(node)"'),
    ],
)
def test_words_reach_the_job_whole(words: tuple[str, ...], text: str) -> None:
    assert quoted(words) == text


def test_what_htcondor_reads_of_a_description_is_what_was_said(here: Path) -> None:
    htcondor2 = pytest.importorskip("htcondor2", reason="platform: HTCondor's bindings are for Linux")
    ok("dag", "make", "spec.toml", "--out", "dag", "--grace", "1d")
    dag = folders.read(here / "dag")
    words = ("/usr/bin/python3", "-c", "print('it''s', \"x\")", "$(node)")
    text = description(dag, here / "dag", Asks(environment={"A": "b 'c'"}), words, (), 60.0)
    said = htcondor2.Submit(text)
    assert said["initialdir"].endswith("/dag/nodes/$(node)")
    assert said["executable"] == "/usr/bin/python3"


def test_the_node_status_file_of_a_real_dag_is_read() -> None:
    nodes = {ad["Node"]: ad for ad in status_ads(LOGS / "23-dag-node-status") if ad["Type"] == "NodeStatus"}
    assert {name: (ad["NodeStatus"], ad["RetryCount"]) for name, ad in nodes.items()} == {
        "A": (5, 0),
        "B": (5, 1),
        "C": (5, 0),
    }
    assert list(status_ads(LOGS / "no-such-file")) == []


def test_how_a_dag_stands_is_read_from_what_dagman_wrote(here: Path) -> None:
    ok("dag", "make", "spec.toml", "--out", "dag", "--grace", "1d")
    text = (LOGS / "23-dag-node-status").read_text()
    for ours, theirs in zip(("part-0000", "part-0001", "part-0002"), "ABC", strict=True):
        text = text.replace(f'"{theirs}"', f'"{ours}"')
    held = text.replace('"part-0000";\n  NodeStatus = 5', '"part-0000";\n  NodeStatus = 3')
    held = held.replace(
        'JobProcsHeld = 0;\n]\n[\n  Type = "NodeStatus";\n  Node = "part-0001"',
        'JobProcsHeld = 1;\n]\n[\n  Type = "NodeStatus";\n  Node = "part-0001"',
    )
    (here / "dag" / "all.status").write_text(held)
    assert [one.state for one in look(here / "dag").nodes] == ["held", "finished", "finished"]
    (here / "dag" / "all.status").write_text(text)
    view = look(here / "dag")
    assert (view.state, view.counts) == ("finished", {"finished": 3})


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("01-submit20-terminated.log", {"exit_code": 0}),
        ("08-killed-by-signal.log", {"signal": 11}),
        ("04-memory-exceeded-held.log", {"hold_code": 21}),
        ("09-missing-input-held.log", {"hold_code": 13}),
        ("20-dag-nodes.log", {"exit_code": 0}),
    ],
)
def test_how_a_job_ended_is_read_from_real_logs(log: str, wanted: dict[str, int]) -> None:
    ended = last_job(LOGS / log)
    assert {name: getattr(ended, name) for name in wanted} == wanted, ended


def test_a_removal_is_a_failure_only_where_something_was_wrong(tmp_path: Path) -> None:
    by_person = last_job(LOGS / "02-hold-release-remove.log")
    assert by_person.removed is not None and by_person.by_person
    assert "was removed" in by_person.words()
    assert not Ended(removed="", hold_code=34, held="memory").by_person
    assert Ended().returned(-1002).removed == ""
    assert Ended().returned(-9).signal == 9
    assert Ended(exit_code=3).returned(1).exit_code == 3
    assert last_job(tmp_path / "no.log") == Ended()
    torn = tmp_path / "torn.log"
    whole = (LOGS / "08-killed-by-signal.log").read_text()
    torn.write_text(whole[: len(whole) * 2 // 3])
    assert last_job(torn).job != ""


def test_without_a_pool_nothing_is_submitted_and_it_is_said_why(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ok("dag", "make", "spec.toml", "--out", "dag", "--grace", "1d")
    monkeypatch.setenv("PATH", str(here))
    ran = run("dag", "submit", "dag")
    assert (ran.code, "condor_dagman is not in $PATH" in ran.err) == (UsageError.exit_code, True)
    assert run("dag", "resubmit", "dag").code == NotAllowed.exit_code
    assert run("dag", "kill", "dag", "part-0009").code == NotFound.exit_code
    shutil.rmtree(here / "dag")
