"""Jobs that are killed for want of memory: the next ones ask for more, and `recover --dry-run` tells what is needed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import bookkeeper
from commandline import ok, run

REFUSED = "raise MemoryError(f'cannot allocate {NEED} MB')"
"""What a program does that is refused memory."""

KILLED = """
touched = bytearray(80 << 20)
touched[:: 4096] = b"x" * len(touched[:: 4096])
time.sleep(0.6)  # long enough to be seen
print("Out of memory: Killed process", os.getpid(), file=sys.stderr, flush=True)
os.kill(os.getpid(), 9)
"""
"""What becomes of a program at the hands of the kernel."""


def payload(need: int, dies: str) -> str:
    """A program that dies where it is given less memory than it needs, in MB."""
    return (
        f"import os, shutil, sys, time\nNEED = {need}\nGIVEN = int(os.environ['BOOKKEEPER_MEMORY_MB'])\n"
        "def dies():\n" + "\n".join(f"    {line}" for line in dies.strip().splitlines()) + "\n"
        "if GIVEN < NEED: dies()\nshutil.copy(sys.argv[1], os.environ['BOOKKEEPER_OUTPUT'])\n"
    )


@pytest.fixture
def here(tmp_path: Path, zmumu_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six files, a catalog, and a spec whose jobs ask for 200 MB, one at a time."""
    shutil.copytree(zmumu_folder, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    ok("init")
    return tmp_path


def spec(need: int, dies: str, *, memory: str = 'memory = "200MB"', retry: str = 'base_delay = "0.1s"') -> str:
    Path("payload.py").write_text(payload(need, dies))
    Path("p.toml").write_text(
        f"""
[project]
name = "p"
files = ["data/*.root"]
[job]
command = ["{sys.executable}", "-S", "payload.py", "{{inputs}}"]
files_per_process = 1
[output]
name = "m-{{process}}.root"
destination = "out"
validate = "quick"
[executor]
{memory}
[retry.executor]
{retry}
"""
    )
    return "p.toml"


def asked() -> list[Any]:
    """What each process asked for, in MB, in their order."""
    query = "SELECT body ->> 'memory_mb' AS mb FROM events WHERE kind = 'job.sized' ORDER BY process_id"
    with bookkeeper.open_catalog() as catalog:
        return [round(float(row["mb"])) for row in catalog.sql(query)]


@pytest.mark.parametrize("dies", [REFUSED, KILLED], ids=["refused", "killed"])
def test_jobs_ask_for_more_after_one_was_killed_for_its_memory(here: Path, dies: str) -> None:
    """One process dies of 200 MB; all that follow ask for one and a half times that, and the request completes."""
    assert run("submit", spec(250, dies)).code == 0
    assert asked() == [191, *[286] * 6], "in MB of 2^20 bytes: 200 MB, then 300 MB"
    with bookkeeper.open_catalog() as catalog:
        (failed,) = catalog.sql("SELECT category, rule FROM failures")
    assert failed["category"] == "executor"


def test_every_kill_raises_it_again(here: Path) -> None:
    assert run("submit", spec(420, REFUSED, memory='memory = "200MB"\nmax_memory = "1GB"')).code == 0
    assert asked() == [191, 286, *[477] * 6], "200 MB, 300 MB, and 450 MB in steps of 100 MB"


def test_nothing_is_asked_for_above_the_limit(here: Path) -> None:
    """What needs more than the limit is given up, and the numbers say why."""
    terms = {"memory": 'memory = "200MB"\nmax_memory = "400MB"', "retry": 'base_delay = "0.05s"\nmax_retries = 3'}
    assert run("submit", spec(9999, REFUSED, **terms)).code in (10, 11)
    most = 400e6 / 2**20
    assert max(asked()) == round(most) and asked()[:2] == [191, 286]
    if run("status", "p", "--json").json["open_state"] is None:
        ok("project", "unpark", "p", "--all")
    memory = ok("recover", "p", "--dry-run", "--json").json["estimates"]["job_memory_mb"]
    assert memory["value"] == pytest.approx(most)
    assert "killed for want of memory" in memory["evidence"]
    assert memory["evidence"].endswith("no more than 400 MB (max_memory of the spec)")


def test_a_dry_run_tells_what_is_needed_and_why(here: Path) -> None:
    """Five of six files are done; the rest is estimated from them, in lines that fit, and as JSON."""
    path = spec(250, REFUSED)
    with Path("payload.py").open("a") as program:
        program.write("if 'zmumu-5' in sys.argv[1]: sys.exit('no calibration')\n")
    assert run("submit", path).code in (10, 11)
    ok("project", "unpark", "p", "--all")
    found = ok("recover", "p", "--dry-run", "--jobs", "2", "--json").json["estimates"]
    assert (found["jobs"], found["files"], found["processes"]["value"]) == (2, 1, 1)
    for name in ("cpu_s", "wall_s", "elapsed_s", "job_wall_s"):
        assert found[name]["samples"] == 5 and 0 < found[name]["value"] <= found[name]["high"]
    assert found["cpu_s"]["evidence"].endswith("s CPU per million entries over only 5 committed processes")
    assert found["job_memory_mb"]["evidence"].startswith("1 process was killed for want of memory")
    assert found["ask"]["memory_mb"] == pytest.approx(300e6 / 2**20)
    assert ok("recover", "p", "--dry-run", "--json", "--spec", path).json["estimates"]["jobs"] == 1
    shown = ok("recover", "p", "--dry-run").lines
    begin = shown.index("what 1 file will need") + 1
    labels = ["processes", "to read", "CPU time", "wall time", "elapsed", "time of a job", "memory of a job"]
    assert [line[2:18].strip() for line in shown[begin : begin + 8]] == [*labels, "a job asks for"]
    assert "300 MB" in shown[begin + 7]


def test_a_dry_run_without_history_says_so(here: Path) -> None:
    """Nothing has run: the numbers of files are known, and nothing else is pretended."""
    with bookkeeper.open_catalog() as catalog:
        catalog.declare_files(bookkeeper.scan(["data"]))
        catalog.define_dataset("all", names=["*"])
        catalog.start_project("q", "all", files_per_process=4)
    found = ok("recover", "q", "--dry-run", "--json").json["estimates"]
    assert found["processes"]["value"] == 2 and found["read_bytes"]["value"] > 0
    assert [found[name]["value"] for name in ("cpu_s", "wall_s", "elapsed_s", "job_memory_mb")] == [None] * 4
    assert found["ask"] == {"memory_mb": None, "wall_s": None, "evidence": {}}
    assert ok("recover", "q", "--dry-run").out.count("unknown") == 5
