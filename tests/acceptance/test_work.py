"""One process around any command: the five steps, and what each failure costs."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import logs
from bookkeeper.errors import NotAllowed, UsageError
from bookkeeper.worker import OutputSpec
from services.reach import Reach
from workbench import Bench, alive, until

STEPS = ["stage-executable", "stage-inputs", "analysis", "verification", "output-storage"]


@pytest.fixture
def bench(tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch, reach: Reach) -> Iterator[Bench]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = Bench(tmp_path, zmumu_folder, reach)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield made
    assert list(scratch.iterdir()) == [], "the private folder is removed, whatever happened"
    made.catalog.close()


def own_data(bench: Bench, zmumu_folder: Path, **rules: Any) -> tuple[Path, str]:
    """A second project ``q`` over copies of the files, which a test may spoil: (folder, project)."""
    folder = bench.folder / "own"
    folder.mkdir()
    for path in sorted(zmumu_folder.iterdir())[:3]:
        shutil.copy(path, folder / f"own-{path.name}")
    import bookkeeper

    bench.catalog.declare_files(bookkeeper.scan([folder]))
    bench.catalog.define_dataset("own", names=["own-*"])
    bench.catalog.start_project("q", "own", **rules)
    return folder, "q"


def test_success_is_committed_and_published(bench: Bench) -> None:
    outcome = bench.work()
    assert (outcome.fate, outcome.exit_code, outcome.files, outcome.consumed, outcome.entries) == (
        "committed", 0, 1, 1, 500,
    )  # fmt: skip
    assert bench.published() == ["m-1.root"] and not bench.temporaries()
    assert outcome.outputs == (str(bench.out / "m-1.root"),)
    assert [body["step"] for body in bench.events("step.started", 1)] == STEPS
    ended = bench.events("step.ended", 1)
    assert [body["step"] for body in ended] == STEPS
    assert {body["outcome"] for body in ended} == {"ok"} and all(body["seconds"] >= 0 for body in ended)
    assert bench.one("SELECT peak_rss_mb > 0 FROM process_summary WHERE process_id = 1")


def test_command_learns_its_files_and_never_the_token(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKKEEPER_PROCESS", "9:secret")
    command = bench.script(
        """
import os, sys, shutil
inputs = open(os.environ["BOOKKEEPER_INPUTS"]).read().split()
assert inputs == sys.argv[1:3], (inputs, sys.argv)
assert "BOOKKEEPER_PROCESS" not in os.environ
assert sys.argv[3:] == ["1", "{a}", os.environ["BOOKKEEPER_OUTPUT"], "a b;c"]
assert os.environ["BOOKKEEPER_PROCESS_ID"] == "1"
assert os.stat(os.environ["BOOKKEEPER_REPORT"]).st_size == 0
assert os.stat(os.path.dirname(os.environ["BOOKKEEPER_REPORT"])).st_mode & 0o777 == 0o700
assert os.getcwd() == os.path.realpath(os.path.dirname(__file__))
assert os.path.basename(sys.argv[5]) == "m-1.root"
shutil.copy(inputs[0], sys.argv[5])
print("said", flush=True)
print("complained", file=sys.stderr)
"""
    )
    outcome = bench.work(*command, "{process}", "{{a}}", "{output}", "a b;c", files_per_process=2)
    assert outcome.fate == "committed", outcome
    assert logs.read(bench.catalog.database, 1) == ("said\n", "complained\n", False)


def test_failure_is_told_in_words_and_charged(bench: Bench) -> None:
    command = bench.script("print('on the way'); raise RuntimeError('bad basket')")
    outcome = bench.work(*command, files_per_process=2)
    assert (outcome.fate, outcome.exit_code, outcome.code, outcome.step) == ("rolled_back", 13, 1, "analysis")
    assert outcome.reason == "exit code 1: RuntimeError: bad basket"
    assert bench.attempts() == [1, 1, 0, 0, 0, 0]
    assert not bench.published()
    reasons = {row["reason"] for row in bench.project.uncommitted()}
    assert reasons == {"process 1 rolled back: exit code 1: RuntimeError: bad basket", "never delivered"}
    assert bench.events("step.ended", 1)[-1]["outcome"] == "failed"


def test_failure_without_a_word_on_standard_error_quotes_standard_output(bench: Bench) -> None:
    outcome = bench.work("sh", "-c", "echo Fatal: no such tree; exit 3")
    assert outcome.reason == "exit code 3: Fatal: no such tree"


def test_secrets_that_a_command_prints_stay_in_its_log(bench: Bench) -> None:
    token = "c2VjcmV0c2VjcmV0"
    text = f"import sys; sys.exit('> Authorization: Bearer {token}\\nroot://eos//f?authz={token}: permission denied')"
    outcome = bench.work(*bench.script(text))
    assert "authz=[hidden]" in outcome.reason
    with contextlib.suppress(PermissionError), bench.project.start_process() as process:
        process.next_files()
        raise PermissionError(f"https://me:{token}@host/f is not to be read")
    assert "https://[hidden]@host" in bench.one("SELECT reason FROM processes WHERE id = 2")
    told = bench.catalog.sql("SELECT body FROM events") + bench.catalog.sql("SELECT reason FROM processes")
    assert token not in repr(told)
    assert token in logs.read(bench.catalog.database, 1).stderr


def test_death_by_signal_is_told_in_words(bench: Bench) -> None:
    outcome = bench.work("sh", "-c", "kill -9 $$")
    assert (outcome.fate, outcome.code) == ("rolled_back", -9)
    assert outcome.reason == "killed by signal 9 (SIGKILL)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("head -c 20000 {inputs} > {output}", "output m-{process}.root"),
        ("echo '<html>504 Gateway Time-out</html>' > {output}", "output m-{process}.root"),
        (": > {output}", "output m-{process}.root: it is empty"),
        ("true", "wrote no output m-1.root"),
        ("cp {inputs} {output}.part", "beside it lies m-1.root.part"),
        ("ln -s {inputs} {output}", "the output m-1.root is no regular file"),
        ("mkdir {output}", "the output m-1.root is no regular file"),
    ],
    ids=["truncated", "html", "empty", "missing", "misnamed", "link", "folder"],
)
def test_bad_output_of_a_zero_exit_is_refused(bench: Bench, text: str, said: str) -> None:
    words = text.replace("{inputs}", "$1").replace("{output}", "$2")
    outcome = bench.work("sh", "-c", words, "sh", "{inputs}", "{output}")
    assert (outcome.fate, outcome.step, outcome.code) == ("rolled_back", "verification", 0)
    assert said in outcome.reason and "scratch" not in outcome.reason
    assert bench.attempts()[0] + bench.setbacks()[0] == 1
    assert not bench.published() and not bench.temporaries()


def test_optional_output_may_be_missing(bench: Bench) -> None:
    outcome = bench.work("true", outputs=(replace(bench.output, optional=True),))
    assert (outcome.fate, outcome.outputs) == ("committed", ())
    assert bench.ledger()[0] == "committed"


def test_several_outputs_are_committed_together_or_not_at_all(bench: Bench) -> None:
    both = (
        OutputSpec("hist-{process}.root", str(bench.out), key="hist"),
        OutputSpec("ids-{process}.txt", str(bench.folder / "ids"), key="ids"),
    )
    shell = ("sh", "-c", 'cp "$1" "$2" && echo 17 > "$3"', "sh", "{inputs}", "{output.hist}", "{output.ids}")
    assert bench.work(*shell, outputs=both).fate == "committed"
    assert (bench.folder / "ids" / "ids-1.txt").read_text() == "17\n"
    shell = ("sh", "-c", 'cp "$1" "$2"', "sh", "{inputs}", "{output.hist}")
    outcome = bench.work(*shell, outputs=both)
    assert "wrote no output ids-2.txt" in outcome.reason
    assert bench.published() == ["hist-1.root"] and not bench.temporaries()


def test_expected_entries_are_those_consumed(bench: Bench) -> None:
    expecting = (replace(bench.output, expect={"tree": "events", "entries": "consumed"}),)
    assert bench.work(outputs=expecting).fate == "committed"
    outcome = bench.work(
        "sh", "-c", 'cp "$1" "$3"', "sh", "{inputs}", "{output}", outputs=expecting, files_per_process=2
    )
    assert outcome.fate == "rolled_back" and "1000 entries are expected, it has 500" in outcome.reason


def test_validation_command_judges(bench: Bench) -> None:
    judged = (replace(bench.output, validate=("sh", "-c", "echo too few events; exit 1", "{path}")),)
    outcome = bench.work(outputs=judged)
    assert outcome.step == "verification" and "too few events" in outcome.reason


def test_output_that_somebody_still_writes_to_is_refused(bench: Bench) -> None:
    """What the command leaves running in its group ends with it; what escaped cannot change the output unseen."""
    command = bench.script(
        """
import os, shutil, subprocess, sys
child = subprocess.Popen(["sleep", "600"])
open("child", "w").write(str(child.pid))
shutil.copy(sys.argv[1], os.environ["BOOKKEEPER_OUTPUT"])
"""
    )
    assert bench.work(*command).fate == "committed"
    pid = int((bench.folder / "child").read_text())
    until(lambda: not alive(pid), "the death of what was left running")


def test_unreadable_file_is_left_out_in_pull_mode(bench: Bench, zmumu_folder: Path) -> None:
    folder, project = own_data(bench, zmumu_folder)
    (folder / "own-zmumu-2.root").unlink()
    command = bench.script("import os, shutil, sys; shutil.copy(sys.argv[2], os.environ['BOOKKEEPER_OUTPUT'])")
    outcome = bench.work(*command, project=project, files_per_process=3)
    assert (outcome.fate, outcome.files, outcome.consumed) == ("committed", 3, 2)
    (row,) = bench.catalog.project(project).uncommitted()
    assert row["file"] == "own-zmumu-2.root" and row["attempts"] == 1
    assert row["reason"].startswith("failed: cannot be reached") and "No such file" in row["reason"]


def test_no_readable_file_rolls_back(bench: Bench, zmumu_folder: Path) -> None:
    folder, project = own_data(bench, zmumu_folder)
    for path in folder.iterdir():
        path.unlink()
    outcome = bench.work(project=project, files_per_process=3)
    assert (outcome.fate, outcome.step, outcome.code) == ("rolled_back", "stage-inputs", None)
    assert "no input can be read" in outcome.reason and "and 2 more" in outcome.reason


def test_changed_file_is_parked_before_it_is_opened(bench: Bench, zmumu_folder: Path) -> None:
    folder, project = own_data(bench, zmumu_folder)
    with (folder / "own-zmumu-1.root").open("ab") as stream:
        stream.write(b"more")
    outcome = bench.work(project=project)
    assert outcome.step == "stage-inputs"
    (row,) = [row for row in bench.catalog.project(project).uncommitted() if row["state"] == "parked"]
    assert "changed since it was declared" in row["reason"]
    assert bench.one("SELECT count(*) FROM deliveries WHERE opened_at IS NOT NULL") == 0


def test_partition_with_a_bad_file_rolls_back_whole(bench: Bench, zmumu_folder: Path) -> None:
    folder, project = own_data(bench, zmumu_folder, partition_by={"files": 2})
    (folder / "own-zmumu-2.root").unlink()
    named = (replace(bench.output, name="part-{partition}.root"),)
    command = bench.script("import os, shutil, sys; shutil.copy(sys.argv[1], os.environ['BOOKKEEPER_OUTPUT'])")
    outcome = bench.work(*command, project=project, outputs=named, files_per_process=None, partition=0)
    assert (outcome.fate, outcome.step) == ("rolled_back", "stage-inputs")
    assert "own-zmumu-2.root cannot be reached" in outcome.reason
    outcome = bench.work(*command, project=project, outputs=named, files_per_process=None, partition=1)
    assert outcome.fate == "committed" and bench.published() == ["part-1.root"]


def test_staged_inputs_are_copies_whose_checksums_were_compared(bench: Bench, zmumu_folder: Path) -> None:
    folder, project = own_data(bench, zmumu_folder)
    spoiled = folder / "own-zmumu-3.root"
    data = bytearray(spoiled.read_bytes())
    data[len(data) // 2] ^= 1
    spoiled.write_bytes(data)
    command = bench.script(
        """
import os, shutil, sys
for path in sys.argv[1:]:
    assert "/inputs/" in path and path.startswith(os.path.dirname(os.environ["BOOKKEEPER_REPORT"])), path
    open(path, "ab").write(b"a copy may be written to")
print(*map(os.path.basename, sys.argv[1:]))
shutil.copy("own/own-zmumu-1.root", os.environ["BOOKKEEPER_OUTPUT"])
"""
    )
    outcome = bench.work(*command, project=project, stage_inputs=True, files_per_process=3)
    assert (outcome.fate, outcome.consumed) == ("committed", 2), outcome
    assert logs.read(bench.catalog.database, 1).stdout == "own-zmumu-1.root own-zmumu-2.root\n"
    (row,) = bench.catalog.project(project).uncommitted()
    assert row["file"] == "own-zmumu-3.root" and row["state"] == "parked"


def test_impossible_destination_charges_no_file_and_brakes_the_project(bench: Bench) -> None:
    (bench.folder / "blocked").write_text("a file, not a folder")
    blocked = (replace(bench.output, destination=str(bench.folder / "blocked" / "out")),)
    ran = bench.folder / "ran"
    for _ in range(3):
        outcome = bench.work("touch", str(ran), outputs=blocked)
        assert (outcome.fate, outcome.step) == ("rolled_back", "output-storage")
    assert not ran.exists(), "what could not be stored anyway is not made"
    assert bench.attempts() == [0] * 6
    assert bench.project.status().open_state == "paused"
    outcome = bench.work()
    assert (outcome.fate, outcome.exit_code) == ("paused", 11)
    assert "3 failures in a row" in outcome.reason


def test_a_destination_that_is_only_away_may_be_back_when_the_output_is_made(bench: Bench) -> None:
    script = bench.script("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2]); open('ran', 'w').close()")
    away = (replace(bench.output, destination="dav://127.0.0.1:1/out"),)
    outcome = bench.work(*script, "{output}", outputs=away)
    assert (outcome.fate, outcome.step) == ("rolled_back", "output-storage")
    assert (bench.folder / "ran").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="privilege: root may write anywhere")
def test_destination_without_permission(bench: Bench) -> None:
    locked = bench.folder / "locked"
    locked.mkdir(mode=0o500)
    outcome = bench.work(outputs=(replace(bench.output, destination=str(locked)),))
    assert outcome.step == "output-storage" and "permission is denied" in outcome.reason
    assert bench.attempts()[0] == 0


def test_destination_of_another_catalog_is_refused_unless_adopted(bench: Bench) -> None:
    from bookkeeper import stageout

    stageout.claim(bench.out, "another-catalog")
    outcome = bench.work()
    assert outcome.step == "output-storage" and "is claimed by catalog another-catalog" in outcome.reason
    assert bench.attempts()[0] == 0
    assert bench.work(adopt=True).fate == "committed"


def test_commit_that_is_refused_rolls_back(tmp_path: Path, bench: Bench) -> None:
    bench.catalog.start_project("strict", "all", output_required=True)
    outcome = bench.work("true", project="strict", outputs=())
    assert (outcome.fate, outcome.step) == ("rolled_back", "output-storage")
    assert "the project requires an output of every process" in outcome.reason
    assert bench.work("true", outputs=()).fate == "committed", "where none is required, none may be made"


def test_outputs_go_to_any_storage(bench: Bench) -> None:
    outcome = bench.work(outputs=(replace(bench.output, destination=f"memory://{bench.folder.name}"),))
    assert (outcome.fate, outcome.reason) == ("committed", "")
    found = until(lambda: [row["url"] for row in bench.project.outputs()], "publication, by the server if there is one")
    assert found == [f"memory://{bench.folder.name}/m-1.root"]


def test_nothing_is_overwritten(bench: Bench) -> None:
    bench.out.mkdir()
    (bench.out / "m-1.root").write_text("precious")
    outcome = bench.work()
    assert outcome.step == "output-storage" and "exists already" in outcome.reason
    assert (bench.out / "m-1.root").read_text() == "precious"


def test_program_that_cannot_run_charges_no_file(bench: Bench) -> None:
    plain = bench.folder / "plain"
    plain.write_text("no first line")
    assert "no such program in $PATH" in bench.work("no-such-program-here").reason
    assert "there is no such program" in bench.work("./absent").reason
    outcome = bench.work("./plain")
    assert outcome.step == "stage-executable" and "not executable" in outcome.reason
    assert bench.project.status().open_state == "paused", "every process would fail so"
    assert bench.project.resume()
    plain.chmod(0o755)
    outcome = bench.work("./plain")
    assert outcome.step == "stage-executable" and "Exec format error" in outcome.reason
    assert bench.attempts() == [0] * 6
    assert bench.events("step.ended", outcome.process_id or 0)[-1]["outcome"] == "failed"


def test_working_folder_that_is_missing_is_named(bench: Bench) -> None:
    outcome = bench.work("true", workdir=str(bench.folder / "absent"))
    assert outcome.step == "stage-executable" and "absent does not exist" in outcome.reason


def test_command_line_that_is_too_long_names_the_way_out(bench: Bench) -> None:
    outcome = bench.work("echo", "x" * 3_000_000)
    assert outcome.step == "stage-executable" and "Argument list too long" in outcome.reason


@pytest.mark.parametrize("word", ["{input}", "{outputs}", "{", "--in={inputs}", "{output.hist}"])
def test_unknown_placeholder_is_refused_before_anything_happens(bench: Bench, word: str) -> None:
    with pytest.raises(UsageError):
        bench.work("echo", word)
    assert bench.one("SELECT count(*) FROM processes") == 0


def test_nothing_left_is_an_answer(bench: Bench) -> None:
    first = bench.project.start_process(files_per_process=6)
    assert len(first.next_files()) == 6
    outcome = bench.work()
    assert (outcome.fate, outcome.exit_code, outcome.reason) == ("nothing", 12, "nothing to do")
    first.roll_back("done")


def test_ended_project_is_refused(bench: Bench) -> None:
    bench.project.end()
    with pytest.raises(NotAllowed, match="has ended"):
        bench.work()


def test_long_logs_keep_their_beginning_and_their_end(bench: Bench) -> None:
    outcome = bench.work("sh", "-c", "echo first; seq 1 5000; echo last; exit 4", log_cap=2000)
    assert outcome.reason == "exit code 4: last"
    log = logs.read(bench.catalog.database, 1)
    assert log.truncated and log.stdout.startswith("first\n1\n2\n") and log.stdout.endswith("\n5000\nlast\n")
    assert "bytes were not kept" in log.stdout and len(log.stdout) < 2100


def test_scratch_that_was_made_read_only_is_removed_too(bench: Bench) -> None:
    command = (
        "sh",
        "-c",
        'd=$(dirname "$1"); mkdir -p "$d/a/b"; touch "$d/a/b/c"; chmod 500 "$d/a/b" "$d/a"; false',
        "sh",
    )
    assert bench.work(*command, "{output}").code == 1


def test_earlier_outputs_are_published_first(bench: Bench) -> None:
    process = bench.project.start_process(files_per_process=1)
    process.next_files()[0].consumed()
    shutil.copy(process.files[0].locations[0], bench.folder / "x.root")
    process.stage_out(bench.folder / "x.root", bench.out, "x-{process}.root")
    final = bench.out / "x-1.root"
    final.write_text("in the way")
    with pytest.raises(Exception, match="taken by another object"):
        process.commit()
    final.unlink()
    assert bench.work().fate == "committed"
    assert bench.published() == ["m-2.root", "x-1.root"]
    assert bench.project.status().unpublished == 0


def test_worker_starts_light(bench: Bench) -> None:
    import json
    import subprocess

    code = "import sys, json, bookkeeper.worker.__main__; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert not loaded & {"sqlalchemy", "pydantic", "typer", "rich", "uproot", "numpy", "fsspec", "alembic"}
