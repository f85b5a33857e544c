"""The submission spec: what is right is read whole, what is wrong is told whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bookkeeper.errors import SpecError
from bookkeeper.spec import load
from bookkeeper.spec.lines import line_of, lines_of
from specs import GOOD, faults, read


def test_whole_spec_is_read(tmp_path: Path) -> None:
    spec = read(tmp_path, GOOD)
    rules = spec.rules()
    assert (rules.max_attempts, rules.files_per_process, rules.lease, rules.max_wall) == (4, 5, 90.0, 172800.0)
    assert rules.output_required and rules.partition_by is None
    assert spec.application == ("analysis", "mass", "1.0") and spec.dataset == "zmumu" and spec.files == []
    job = spec.process()
    assert job.project == "zmumu-mass" and job.workdir == str(tmp_path) and job.executor == "local"
    assert job.outputs[0].destination == str(tmp_path / "out")
    assert job.outputs[0].expect == {"tree": "events", "entries": "consumed"}
    assert spec.process("zmumu-mass-recovery-1").project == "zmumu-mass-recovery-1"


def test_least_spec_has_defaults(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        '[project]\nname="p"\nfiles=["data/*.root", "root://host//x.root"]\n'
        '[job]\ncommand=["./run"]\n[output]\nname="{process}.root"\ndestination="s3://bucket/out"\n',
    )
    assert spec.files == [str(tmp_path / "data/*.root"), "root://host//x.root"] and spec.dataset == "p"
    assert (spec.executor.kind, spec.executor.jobs) == ("local", 1)
    assert spec.rules().files_per_process == 100 and spec.rules().lease == 600
    assert spec.process().outputs[0].destination == "s3://bucket/out"
    assert spec.process().outputs[0].validate == "deep"


@pytest.mark.parametrize(
    ("given", "measure", "size"),
    [
        ("files = 5", "files", 5),
        ("entries = 1_000_000", "entries", 1_000_000),
        ("bytes = 2048", "bytes", 2048),
        ('bytes = "30GB"', "bytes", 30 * 10**9),
        ('bytes = "1.5 GiB"', "bytes", 3 * 2**29),
    ],
)
def test_partitions_have_a_measure_and_a_size(tmp_path: Path, given: str, measure: str, size: int) -> None:
    text = GOOD.replace("files_per_process = 5", f"partition_by = {{ {given} }}").replace("{process}", "{partition}")
    rules = read(tmp_path, text).rules()
    assert (rules.partition_by, rules.partition_size) == (measure, size)


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    spec = read(
        tmp_path,
        '[project]\nname="p"\nfiles=["~/data", "~nobody-of-that-name/data"]\n'
        '[job]\ncommand=["./run"]\n[output]\nname="{process}.root"\ndestination="~/out"\n',
    )
    assert spec.files == [str(tmp_path / "me/data"), str(tmp_path / "~nobody-of-that-name/data")]
    assert spec.process().outputs[0].destination == str(tmp_path / "me/out")


def test_several_outputs_have_keys(tmp_path: Path) -> None:
    outputs = """
[[output]]
key = "hist"
name = "h-{process}.root"
destination = "out"
[[output]]
key = "ids"
name = "i-{process}.txt"
destination = "/elsewhere"
validate = { command = ["check", "{path}"] }
optional = true
"""
    head, tail = GOOD.split("[output]")
    text = (
        head.replace('"{output}"', '"{output.hist}", "{output.ids}"')
        + outputs
        + "[executor]"
        + tail.split("[executor]")[1]
    )
    spec = read(tmp_path, text)
    assert [one.key for one in spec.output] == ["hist", "ids"]
    assert spec.process().outputs[1].validate == ("check", "{path}")
    assert spec.rules().output_required


CHANGES: list[tuple[str, str, str]] = [
    ('name = "zmumu-mass"', 'name = "zmumu mass"', "2: project.name: 'zmumu mass' is no name; use letters"),
    ('name = "zmumu-mass"', "name = 7", "2: project.name: must be a text, not 7"),
    ('name = "zmumu-mass"\n', "", "1: project.name: is missing"),
    ('dataset = "zmumu"\n', "", "1: project: needs exactly one of dataset"),
    ('dataset = "zmumu"', 'dataset = "zmumu"\nfiles = ["a"]', "1: project: needs exactly one of dataset"),
    ('dataset = "zmumu"', "files = []", "3: project.files: must not be empty"),
    ('dataset = "zmumu"', 'files = "data/*.root"', "3: project.files: must be a list, not 'data/*.root'"),
    ('dataset = "zmumu"', 'datset = "zmumu"', "3: project.datset: unknown key; did you mean dataset? allowed: name, dataset"),
    ('version = "1.0"', "version = 1.0", "4: project.application.version: must be a text, not 1.0"),
    ('version = "1.0"', 'verson = "1.0"', "4: project.application.verson: unknown key; did you mean version?"),
    ("max_attempts = 4", "max_attempts = 0", "5: project.max_attempts: must be 1 or more, not 0"),
    ("max_attempts = 4", 'max_attempts = "4"', "5: project.max_attempts: must be a whole number, not '4'"),
    ("max_attempts = 4", "max_attempts = true", "5: project.max_attempts: must be a whole number, not True"),
    ("max_attempts = 4", "max_attempts = 2.5", "5: project.max_attempts: must be a whole number, not 2.5"),
    ('lease = "1m30s"', 'lease = "ten minutes"', "6: project.lease: 'ten minutes' is no length of time"),
    ('lease = "1m30s"', "lease = 0", "6: project.lease: 0 is no length of time"),
    ('lease = "1m30s"', "lease = inf", "6: project.lease: inf is no length of time"),
    ('lease = "1m30s"', "lease = []", "6: project.lease: must be a length of time"),
    ('"{inputs}"]', '"{input}"]', "9: job.command: unknown placeholder {input}; allowed: {inputs}, {process}, {output}"),
    ('"{inputs}"]', '"--in={inputs}"]', "9: job.command: {inputs} becomes one argument per file"),
    ('"{inputs}"]', '"{partition}"]', "9: job.command: unknown placeholder {partition}"),
    ('"{inputs}"]', '"{"]', "9: job.command: '{' has a single {; write {{ for a brace"),
    ('"{inputs}"]', '""]', "9: job.command[5]: must not be empty"),
    ('"{inputs}"]', "5]", "9: job.command[5]: must be a text, not 5"),
    ("files_per_process = 5", "files_per_process = -1", "10: job.files_per_process: must be 1 or more, not -1"),
    (
        "files_per_process = 5",
        "files_per_process = 5\npartition_by = { files = 3 }",
        "8: job: takes files_per_process or partition_by, not both",
    ),
    (
        "files_per_process = 5",
        "partition_by = { files = 3, bytes = 5 }",
        "10: job.partition_by: takes exactly one of files = 5",
    ),
    ("files_per_process = 5", 'partition_by = { bytes = "3 parsecs" }', "10: job.partition_by.bytes: '3 parsecs' is no size"),
    ("files_per_process = 5", "partition_by = { lumis = 3 }", "10: job.partition_by.lumis: unknown key"),
    ("files_per_process = 5", "partition_by = 5", "10: job.partition_by: must be a table, not 5"),
    ("files_per_process = 5", 'stage_inputs = "yes"', "10: job.stage_inputs: must be true or false, not 'yes'"),
    ("mass-{process}.root", "mass.root", "12: output.name: 'mass.root' is the same for every process; put {process}"),
    ("mass-{process}.root", "mass-{partition}.root", "12: output.name: {partition} needs partition_by in [job]"),
    ("mass-{process}.root", "mass-{job}.root", "12: output.name: unknown placeholder {job}"),
    ("mass-{process}.root", "sub/mass-{process}.root", "12: output.name: 'sub/mass-{process}.root' is no name for an output"),
    ("mass-{process}.root", ".mass-{process}", "12: output.name: '.mass-{process}' is no name for an output"),
    ('destination = "out/"\n', "", "11: output.destination: is missing"),
    ('destination = "out/"', 'destination = ""', "13: output.destination: must not be empty"),
    ('destination = "out/"', 'destination = "out/.bookkeeper"', "13: output.destination: "),
    ('destination = "out/"', 'destination = "https://h/x"', "13: output.destination: https://h/x can be read, but not"),
    ('destination = "out/"', 'destination = "davs://me:pw@h/x"', "13: output.destination: davs://[hidden]@h/x has a"),
    ('destination = "out/"', 'destination = "s3://b/x?y=1"', "13: output.destination: s3://b/x?y=1 is no destination"),
    ('validate = "deep"', 'validate = "deeply"', '14: output.validate: must be "deep", "quick" or { command'),
    ('validate = "deep"', 'validate = { command = ["check"] }', "14: output.validate: its command does not say {path}"),
    ('validate = "deep"', 'validate = { program = ["check"] }', '14: output.validate: must be "deep"'),
    ('entries = "consumed"', 'entries = "all"', "15: output.expect.entries: must be a whole number or \"consumed\", not 'all'"),
    ('entries = "consumed"', "branches = 3", "15: output.expect.branches: unknown key"),
    ("optional = false", "optional = 0", "16: output.optional: must be true or false, not 0"),
    ("optional = false", 'key = "a b"', "16: output.key: 'a b' is no key"),
    ('kind = "local"', 'kind = "condor"', "18: executor.kind: 'condor' is not known here; this version runs kind = "),
    ("jobs = 4", "jobs = 0", "19: executor.jobs: must be 1 or more, not 0"),
    ("jobs = 4", 'jobs = "4"', "19: executor.jobs: must be a whole number, not '4'"),
    ("[executor]", "[exekutor]", "17: exekutor: unknown key; did you mean executor? allowed: project, job, output, executor"),
    ("[project]", 'folder = "x"\n[project]', "1: folder: unknown key"),
    ("[job]", "[job", "8: no valid TOML"),
    ("jobs = 4", "jobs = ", "19: no valid TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), CHANGES, ids=[new[:40] or old[:40] for old, new, _ in CHANGES])
def test_every_fault_names_line_key_and_what_is_allowed(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    told = faults(tmp_path, GOOD.replace(old, new))
    assert any(line.startswith(said) for line in told), told
    assert len(told) == 1, told


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = (
        GOOD.replace("max_attempts = 4", "max_atempts = 4").replace("{inputs}", "{x}").replace("jobs = 4", "jobs = 0")
    )
    told = faults(tmp_path, text.replace("{process}", "fixed"))
    assert [line.split(": ")[1] for line in told] == [
        "project.max_atempts", "executor.jobs", "job.command", "output.name",
    ]  # fmt: skip


def test_outputs_are_told_apart_by_number(tmp_path: Path) -> None:
    head, tail = GOOD.split("[executor]")
    more = '[[output]]\nkey = "a"\nname = "mass-{process}.root"\ndestination = "out/"\n'
    text = head.replace("[output]", "[[output]]") + more + "[executor]" + tail
    assert faults(tmp_path, text) == [
        "9: job.command: {output} could be any of 2 outputs; allowed: {inputs}, {process}, {output.a}",
        "11: output[1].key: is missing: several outputs need a key each, for example key = \"hist\"",
        "19: output[2].name: is the same as in another output",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "is no text in UTF-8"),
        (b"", "project: is missing"),
        (b"x = " + b"[" * 60_000, "no valid TOML"),
    ],
)
def test_what_is_no_spec_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "spec.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=said):
        load(path)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path)


def test_lines_of_keys_are_found() -> None:
    lines = lines_of('[a]\nx = 1\n"y z" = 2\n[a.b]\nc.d = 3\n[[e]]\nf = 1\n[[e]]\nf = 2\n')
    assert lines[("a", "x")] == 2 and lines[("a", "y z")] == 3 and lines[("a", "b", "c", "d")] == 5
    assert lines[("e", 0, "f")] == 7 and lines[("e", 1, "f")] == 9
    assert line_of(("a", "x", "inside", 3), lines) == 2
    assert line_of(("nowhere",), lines) is None


def test_what_travels_is_said_by_the_job_and_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tarfile

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    for name in ("mass.py", "conf.json"):
        (tmp_path / name).write_text(name)
    with tarfile.open(tmp_path / "env.tar.gz", "w:gz") as members:
        members.add(tmp_path / "conf.json", "conf.json")
    text = """
[project]
name = "p"
dataset = "d"
[job]
command = ["python3", "mass.py", "{inputs}"]
files = ["*.json"]
archives = ["env.tar.gz"]
stage_inputs = true
[output]
name = "m-{process}.root"
destination = "s3://bucket/out"
[executor]
transfer = "files"
"""
    spec = read(tmp_path, text)
    (tmp_path / "batch").mkdir()
    loaded = spec.load(spec.process(), tmp_path / "batch", "https://host:8443")
    assert [path.name for path in loaded.files] == ["job.json", "cargo.tar.gz", "env.tar.gz"]
    assert loaded.command == (str(tmp_path / "batch/bookkeeper-worker"), "https://host:8443", "job.json")
    with tarfile.open(tmp_path / "batch/cargo.tar.gz") as members:
        assert sorted(members.getnames()) == ["conf.json", "mass.py"]
    assert faults(tmp_path, text.replace("s3://bucket/out", "out/"))[0].startswith(
        "12: output.destination: 'out/' is a folder of this host, which its nodes do not share"
    )
    (said,) = faults(tmp_path, text.replace('"files"', '"shared"'))
    assert 'archives: needs transfer = "files" in [executor]' in said


def test_one_spec_for_many_datasets(tmp_path: Path) -> None:
    text = (
        GOOD.replace('"zmumu-mass"', '"mass-{dataset}"')
        .replace('"zmumu"', '"{dataset}"')
        .replace("out/", "out/{dataset}/")
    )
    (tmp_path / "spec.toml").write_text(text.replace('"--output"', '"{dataset}", "{{dataset}}"'))
    spec = load(tmp_path / "spec.toml@ggH_M125")
    assert (spec.project.name, spec.dataset, spec.folder) == ("mass-ggH_M125", "ggH_M125", tmp_path)
    assert spec.process().outputs[0].destination == str(tmp_path / "out/ggH_M125/")
    assert spec.process().command[2:4] == ("ggH_M125", "{{dataset}}")
    (said,) = faults(tmp_path, text)
    assert said == " it says {dataset}, and no dataset is named"
    with pytest.raises(SpecError, match="no name"):
        load(tmp_path / "spec.toml@a b")
    (tmp_path / "spec.toml").write_text(GOOD)
    with pytest.raises(SpecError, match="the same for every dataset"):
        load(tmp_path / "spec.toml@ggH_M125")
    (tmp_path / "spec.toml@odd").write_text(GOOD)
    assert load(tmp_path / "spec.toml@odd").dataset == "zmumu"
