"""What workers are told, what commands say, and what is kept of it: the parts without a database."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeper.errors import UsageError
from bookkeeper.logs import CappedLog
from bookkeeper.process import DeliveredFile
from bookkeeper.protocol import FileInfo, Mark
from bookkeeper.worker import Job, Outcome, OutputSpec, command, report


def delivered(*names: str) -> list[DeliveredFile]:
    places = [FileInfo(n, name, 10, None, 5, "events", (f"/data/{name}",)) for n, name in enumerate(names, 1)]
    return [DeliveredFile(None, info) for info in places]  # type: ignore[arg-type]


def test_file_is_named_by_name_location_or_what_was_given(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text(
        '{"file": "a.root", "state": "consumed"}\n'
        '{"file": "/data/b.root", "state": "opened"}\n\n'
        '{"file": "/scratch/b.root", "state": "skipped", "reason": "empty"}'
    )
    said = report.read(path, delivered("a.root", "b.root"), {1: "/data/a.root", 2: "/scratch/b.root"})
    assert {file: (one.mark, one.reason) for file, one in said.said.items()} == {
        1: (Mark.CONSUMED, None), 2: (Mark.SKIPPED, "empty"),
    }  # fmt: skip
    assert said.torn == 0


def test_reason_with_half_a_character_can_be_stored(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text(r'{"file": "a.root", "state": "failed", "reason": "no caf\udce9.cfg"}' + "\n")
    (said,) = report.read(path, delivered("a.root"), {}).said.values()
    assert said.reason == r"no caf\udce9.cfg"


@given(cut=st.integers(0, 200))
def test_report_cut_anywhere_is_never_misread(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """A prefix of a report says less, and nothing else."""
    path = tmp_path_factory.mktemp("report") / "report"
    whole = "".join(f'{{"file": "{name}.root", "state": "consumed", "entries": 5}}\n' for name in "abcd")
    path.write_text(whole[:cut])
    said = report.read(path, delivered(*(f"{name}.root" for name in "abcd")), {})
    assert list(said.said) == list(range(1, len(said.said) + 1))
    assert len(said.said) in (whole[:cut].count("\n"), whole[:cut].count("}"))
    assert all(one.entries == 5 for one in said.said.values())


@given(st.binary(max_size=300))
def test_any_bytes_are_understood_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("report") / "report"
    path.write_bytes(data)
    try:
        report.read(path, delivered("a.root"), {})
    except UsageError as error:
        assert str(error).startswith("report, line ")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("[" * 60_000 + "\n")
    with pytest.raises(UsageError, match="line 1"):
        report.read(path, delivered("a.root"), {})


def test_job_and_outcome_survive_their_journey() -> None:
    job = Job(
        "p", ("run", "{inputs}"), "/w",
        (OutputSpec("a-{process}.root", "out", "k", ("check", "{path}"), {"tree": "t"}, True), OutputSpec("b", "o")),
        lease=1.5, wait=False, memory_mb=2000.5, plugins=("my_plugin.py", "package.module"),
    )  # fmt: skip
    assert Job.from_json(job.as_json()) == job
    outcome = Outcome("committed", 3, "", 2, 1, 500, ("/out/a.root",), 0)
    import json

    assert Outcome.from_mapping(json.loads(outcome.as_json())) == outcome


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"outputs": 3}', '{"outputs": [], "command": [], "x": 1}'])
def test_what_is_no_job_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="this is no job"):
        Job.from_json(text)


def test_command_is_filled_in_word_by_word() -> None:
    words = ("a", "{inputs}", "--out={output}", "{{x}}", "{output.h} {process}", "$(rm -rf ~)")
    values = {"output": "/o", "output.h": "/h", "process": "7"}
    assert command.expand(words, ["1 2", "{process}"], values) == [
        "a", "1 2", "{process}", "--out=/o", "{x}", "/h 7", "$(rm -rf ~)",
    ]  # fmt: skip


@given(chunks=st.lists(st.binary(max_size=400), max_size=30), cap=st.integers(2, 300))
def test_capped_log_keeps_its_ends_and_counts_the_rest(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], cap: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "1.out"
    log = CappedLog(path, cap)
    for chunk in chunks:
        log.write(chunk)
        assert path.stat().st_size <= 2 * cap + 500 + 80
    log.close()
    whole, kept, half = b"".join(chunks), path.read_bytes(), cap // 2
    if len(whole) <= 2 * half:
        assert kept == whole
    else:
        head, tail = whole[:half], whole[len(whole) - half :]
        marker = f"\n[... {len(whole) - 2 * half} bytes were not kept ...]\n".encode()
        assert kept == head + marker + tail


def test_log_can_be_followed(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "1.out", 100)
    log.write(b"at once\n")
    assert (tmp_path / "1.out").read_bytes() == b"at once\n" and log.tail() == "at once\n"
    log.close()
    log.close()
