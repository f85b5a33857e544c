"""Jobs that no slot of a real HTCondor pool can run: whoever looks is told why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import bookkeeper
from bookkeeper.executors import htcondor as executor
from bookkeeper.executors.batch import BatchSystem
from bookkeeper.executors.htcondor import matching, system
from commandline import ok, run
from following import Followed, order
from services import condor as service
from services.condor import Pool
from workbench import until

pytestmark = pytest.mark.fault


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setattr(system, "PATIENCE", 0.0)
    running = service.shared()
    monkeypatch.setenv("CONDOR_CONFIG", running.config)
    yield running
    running.clear()


@pytest.fixture
def access(pool: Pool, tmp_path: Path) -> Iterator[BatchSystem]:
    made = executor.make(tmp_path, {})
    yield made
    made.close()


NEVER = {
    "memory": ({"memory_mb": 9e6}, "no slot of the pool can run it: none has Memory >= 9000000"),
    "cpus": ({"cpus": 9}, "no slot of the pool can run it: none has Cpus >= 9"),
    "container": (
        {"container": "/images/analysis.sif"},
        "no slot of the pool can run it: none has HasContainer, none has HasSIF",
    ),
    "image": (
        {"container": "docker://debian:12", "transfer": "files"},
        "no slot of the pool can run it: none has HasContainer, none has HasDockerURL",
    ),
    "extra": (
        {"extra": ('requirements = HasCVMFS && (Arch == "X86_64" || Other) && Colour == "a && b"',)},
        'no slot of the pool can run it: none has HasCVMFS, none has Colour == "a && b"',
    ),
    "never": ({"extra": ("requirements = false",)}, "its requirements are never true: (false) && "),
}


@pytest.mark.parametrize("what", NEVER)
def test_why_no_slot_can_run_a_job(access: BatchSystem, tmp_path: Path, what: str) -> None:
    asks, words = NEVER[what]
    followed = Followed.of(access, order(tmp_path, f"never-{what}", "/bin/true", count=2, **asks))
    followed.look()
    followed.look(thorough=True)
    assert [str(followed.last(number).reason).startswith(words) for number in (0, 1)] == [True, True], followed.seen
    assert (followed.last().kind, followed.last().state, followed.last().died) == ("waits", None, False)
    access.remove(followed.jobs, "the test is over")


def test_a_job_that_waits_for_others_is_told_nothing(access: BatchSystem, tmp_path: Path) -> None:
    """A slot that is divided among jobs is taken as if it were empty; one that waits is compared with its whole."""
    first = Followed.of(access, order(tmp_path, "first", "/bin/sleep", "600", cpus=8)).until_running()
    later = Followed.of(access, order(tmp_path, "later", "/bin/true", cpus=8, memory_mb=8000.0))
    later.look()
    later.look(thorough=True)
    assert (later.last().kind, later.last().reason) == ("waits", "")
    access.remove([*first.jobs, *later.jobs], "the test is over")


def test_requirements_are_taken_apart_at_what_joins_them() -> None:
    found = list(matching.parts('((A) && (B || C && D)) && (f(x, "(&&") > 1) && (G ? H && I : J) && ("&&" == K)'))
    assert [one.strip() for one in found] == ["A", "B || C && D", 'f(x, "(&&") > 1', "G ? H && I : J", '"&&" == K']
    assert matching.of_slot('TARGET.Memory >= 1 && RequestMemory && "Memory"') == (
        'TotalSlotMemory >= 1 && RequestMemory && "Memory"'
    )


SPEC = """
[project]
name = "heavy"
dataset = "zmumu"
[job]
command = ["sh", "-c", 'cat "$2" > "$1"', "copy", "{{output}}", "{{inputs}}"]
files_per_process = 6
[output]
name = "copy-{{process}}.root"
destination = "{folder}/out"
[executor]
kind = "htcondor"
memory = "{memory}"
"""


def test_whoever_looks_is_told_why_a_job_is_idle(
    pool: Pool, tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKKEEPER_CATALOG", f"sqlite:///{tmp_path}/bookkeeper.db")
    monkeypatch.chdir(tmp_path)
    bookkeeper.create_catalog(f"sqlite:///{tmp_path}/bookkeeper.db").close()
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "zmumu", "--names", "zmumu-*")
    (tmp_path / "heavy.toml").write_text(SPEC.format(folder=tmp_path, memory="1TiB"))
    ok("submit", "heavy.toml", "--detach")
    words = "no slot of the pool can run it: none has Memory >= 1048576"
    told: list[str] = []
    until(lambda: told.append(ok("watch", "heavy", "--once").err) or words in "".join(told), "its watcher says so")
    assert words in ok("jobs", "heavy").out
    assert f"1 job: {words}" in run("status", "heavy").out
    assert ok("jobs", "heavy", "--json").json["waits"] == {words: 1}
    (tmp_path / "heavy.toml").write_text(SPEC.format(folder=tmp_path, memory="100MiB"))
    (job,) = [row["job"] for row in ok("jobs", "heavy", "--json").json["jobs"]]
    ok("kill", "heavy", "--job", job)  # another is submitted in its place
    assert ok("submit", "heavy.toml", "--json").json["complete"]
