"""How failures are explained: what is read, and what decides between rules."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bookkeeper.errors import ValidationError
from bookkeeper.failures import (
    Evidence,
    FailureCategory,
    Rules,
    classify_failure,
    default_rules,
    explain,
    explain_failure,
)
from bookkeeper.failures.lines import HEAD, MOST_LINES, TAIL, Lines
from bookkeeper.failures.patterns import Pattern, required_literals
from bookkeeper.failures.rules import EXPLAINING, Rule
from bookkeeper.failures.signals import readings, signal_name, signal_of

CRASH_THEN_STAGEOUT = """\
Processing event 1
 *** Break *** segmentation violation
ERROR: stage-out failed: out.root could not be copied
"""


# -- the cause and its consequence -----------------------------------------------------------------------------------


def test_a_crash_beats_the_stage_out_that_failed_after_it() -> None:
    told = explain_failure(stderr=CRASH_THEN_STAGEOUT, exit_code=60307)
    assert (told.category, told.rule, told.source) == (FailureCategory.ANALYSIS_CRASH, "segfault", "stderr")
    assert told.evidence == "*** Break *** segmentation violation"


@pytest.mark.parametrize(
    ("end", "category"),
    [
        ("Segmentation fault (core dumped)", "analysis_crash"),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1\nAssertionError: no muon',
            "analysis_crash",
        ),
        ("Traceback (most recent call last):\nKeyError: 'pt'", "configuration"),
    ],
)
def test_the_aftermath_counts_half(end: str, category: str) -> None:
    """Copying what a dead program never wrote fails with sure words, which are beside the point."""
    after = "xrdcp: [ERROR] Local error: no such file or directory: out.root"
    before = explain_failure(stderr=after)
    assert (before.category, before.confidence > 0.8) == ("configuration", True)
    told = explain_failure(stderr=f"{end}\n{after}")
    assert told.category == category
    assert told.evidence in end
    assert classify_failure(stderr=f"{end}\nslurmstepd: error: Detected 1 oom-kill event(s)") == "executor"


def test_a_consequence_speaks_where_no_cause_does() -> None:
    assert explain_failure(stderr="ERROR: stage-out failed").rule == "stage-out"


def test_a_bad_file_beats_the_crash_that_it_caused() -> None:
    log = "Error in <TFile::Init>: file a.root is truncated at 10 bytes: should be 90\n *** Break *** segmentation violation"
    assert classify_failure(stderr=log, signal=11) == FailureCategory.CORRUPTED_INPUT


def test_what_was_got_over_does_not_beat_what_came_after() -> None:
    log = (
        "[ERROR] Operation expired: root://a//x.root\nSuccessfully opened file root://b//x.root\n"
        "Traceback (most recent call last):\nKeyError: 'Muon_pt'"
    )
    assert explain_failure(stderr=log).rule == "python-key"
    without = log.replace("Successfully opened file root://b//x.root\n", "")
    assert classify_failure(stderr=without) == FailureCategory.TRANSIENT_IO


def test_a_retried_connection_counts_half() -> None:
    sure = explain_failure(stderr="ERROR: connection reset by peer")
    doubtful = explain_failure(stderr="WARNING: connection reset by peer, will retry (1 of 3)")
    assert doubtful.confidence == pytest.approx(sure.confidence / 2)
    log = "WARNING: connection reset by peer, will retry (1 of 3)\nKeyError: 'Muon_pt'"
    assert classify_failure(stderr=log) == FailureCategory.CONFIGURATION


def test_warnings_alone_say_nothing() -> None:
    log = "Warning in <TClass::Init>: no dictionary for class X is available\nDeprecationWarning: imp is deprecated"
    assert explain_failure(stderr=log, exit_code=1).rule == "unknown"


def test_of_equals_the_earlier_line_speaks() -> None:
    told = explain_failure(stderr="NameError: name 'a' is not defined\nNameError: name 'b' is not defined")
    assert "'a'" in told.evidence


def test_an_exit_code_of_one_says_nothing() -> None:
    told = explain_failure(exit_code=1)
    assert (told.category, told.rule, told.source, told.confidence) == (FailureCategory.UNKNOWN, "unknown", "none", 0.0)
    assert told.remedy


# -- exceptions --------------------------------------------------------------------------------------------------------


def test_the_root_of_a_chain_is_the_cause() -> None:
    try:
        try:
            raise ConnectionResetError(104, "Connection reset by peer")
        except ConnectionResetError as error:
            raise RuntimeError("could not process the chunk") from error
    except RuntimeError as error:
        told = explain_failure(error)
        evidence = Evidence.of(error)
    assert told.category == FailureCategory.TRANSIENT_IO
    assert told.source == "exception"
    assert [name for name, _ in evidence.exceptions] == ["RuntimeError", "ConnectionResetError"]


def test_the_text_inside_a_wrapper_is_read() -> None:
    error = RuntimeError("job 7 failed with exit code 1\nstderr:\n *** Break *** segmentation violation")
    assert explain_failure(error).rule == "segfault"
    assert explain_failure(error).source == "stderr"


def test_a_base_class_speaks_for_what_no_rule_names() -> None:
    class StoreAway(ConnectionError): ...

    told = explain_failure(StoreAway("gone"))
    assert told.category == FailureCategory.TRANSIENT_IO
    assert told.confidence < explain_failure(ConnectionError("gone")).confidence


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (OSError(2, "No such file or directory"), "configuration"),
        (OSError(5, "Input/output error"), "transient_io"),
        (OSError(13, "Permission denied"), "configuration"),
        (OSError(28, "No space left on device"), "executor"),
        (OSError(30, "Read-only file system"), "executor"),
        (OSError(110, "Connection timed out"), "transient_io"),
        (OSError(116, "Stale file handle"), "transient_io"),
        (OSError(122, "Disk quota exceeded"), "configuration"),
        (OSError("not a ROOT file: first four bytes are b'<htm' rather than b'root'"), "corrupted_input"),
        (FileNotFoundError("a.toml"), "configuration"),
        (PermissionError("a.toml"), "configuration"),
        (TimeoutError(), "transient_io"),
        (MemoryError(), "executor"),
        (subprocess.CalledProcessError(-11, ["mass"]), "analysis_crash"),
        (subprocess.CalledProcessError(1, ["mass"], stderr=b"mass: command not found"), "configuration"),
        (SystemExit(137), "executor"),
        (ExceptionGroup("two", [ValueError("odd"), MemoryError()]), "executor"),
    ],
    ids=repr,
)
def test_an_exception_is_called_by_what_it_says(error: BaseException, category: str) -> None:
    assert classify_failure(error) == category


def test_frames_of_a_traceback_are_no_evidence() -> None:
    log = (
        'Traceback (most recent call last):\n  File "/sw/xrootd/timeout.py", line 3, in connect\n'
        '    raise KeyError("connection reset by peer")\n    ~~~^^^\nKeyError: 7'
    )
    assert explain_failure(stderr=log).evidence == "KeyError: 7"


# -- codes, signals, states, steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "rule"),
    [
        ({"exit_code": -11}, "segfault-signal"),
        ({"exit_code": 139}, "segfault-signal"),
        ({"exit_code": 265}, "killed"),
        ({"exit_code": 127}, "exit-not-found"),
        ({"exit_code": 32512}, "exit-not-found"),
        ({"exit_code": 8021}, "cms-code-read"),
        ({"exit_code": 85}, "cms-code-cut-read"),
        ({"exit_code": 50660}, "cms-code-memory"),
        ({"exit_code": 1213}, "pilot-executor"),
        ({"signal": 9}, "killed"),
        ({"signal": 15}, "terminated"),
        ({"hold_code": 34, "hold_subcode": 102}, "condor-memory"),
        ({"hold_code": 13, "hold_subcode": 2}, "condor-transfer-path"),
        ({"hold_code": 13}, "condor-transfer"),
        ({"state": "NODE_FAIL"}, "state-node"),
        ({"state": "CANCELLED by 1001"}, "state-cancelled"),
        ({"state": "FAILED"}, "unknown"),
        ({"step": "output-storage"}, "output-storage"),
        ({"exit_code": 0}, "unknown"),
        ({"exit_code": 10**30, "signal": 999, "hold_code": -1}, "unknown"),
    ],
    ids=str,
)
def test_numbers_and_words_of_the_batch_system(known: dict[str, object], rule: str) -> None:
    assert explain_failure(**known).rule == rule  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "step", "rule"),
    [
        ("lease expired", None, "lease-expired"),
        ("max_wall passed", "analysis", "max-wall"),
        ("the worker was told to stop by signal 15 (SIGTERM)", "analysis", "worker-stopped"),
        ("killed by signal 9 (SIGKILL)", "analysis", "killed"),
        ("killed by signal 11 (SIGSEGV)", "analysis", "segfault"),
        ("exit code 139", "analysis", "segfault"),
        ("mass.py: no such program in $PATH", "stage-executable", "executable-missing"),
        ("a.root is not what was declared: 3 bytes are there, 9 were declared", "stage-inputs", "input-changed"),
        ("out.root: it is truncated: 3 of 9 bytes are there", "verification", "output-bad"),
        ("no file was consumed: a.root was failed: Error -5 while decompressing", "verification", "decompression-text"),
        ("no file was consumed: a.root was failed: file is truncated", "verification", "root-truncated"),
        ("no file was consumed: a.root was failed: it was empty", "verification", "nothing-consumed"),
        ("the command exited 0 and wrote no output m-1.root", "verification", "no-output"),
        ("its worker ended without a word: exit code 1: it went away", "analysis", "worker-lost"),
        ("its worker ended without a word: killed by signal 9 (SIGKILL)", "analysis", "killed"),
        ("its worker ended without a word: exit code 1: MemoryError", "analysis", "python-memory"),
        ("cannot write file:///out/m.root: permission is denied", "output-storage", "destination"),
        ("cannot write file:///out/m.root: the disk is full", "output-storage", "destination"),
        ("cannot write file:///out/m.root: the quota is used up", "output-storage", "destination"),
        (
            "the destination /out vanished: its claim /out/.bookkeeper/claim is not there",
            "output-storage",
            "destination",
        ),
        ("/out/m.root exists already: this process would have to overwrite it", "output-storage", "destination"),
        ("cannot write root://s//m.root: [ERROR] Operation expired", "output-storage", "xrootd-transient"),
    ],
)
def test_what_the_worker_says(message: str, step: str | None, rule: str) -> None:
    assert explain(Evidence(message=message, step=step)).rule == rule


def test_an_exception_of_bookkeeper_is_none_of_the_program() -> None:
    said = ValidationError("the command exited 0 and wrote no output m-1.root")
    assert explain_failure(said, step="verification").rule == "no-output"
    basket = "Error in <TBasket::ReadBasketBuffers>: fNbytes = 12, fKeylen = 5, fObjlen = 80"
    assert explain_failure(said, basket, step="verification").rule == "root-basket"


def test_a_script_in_a_temporary_folder_is_not_the_temporary_folder() -> None:
    told = explain_failure(stderr="/tmp/job/run.sh: 2: /etc/passwd: Permission denied", exit_code=126)
    assert told.category is FailureCategory.CONFIGURATION
    told = explain_failure(stderr="mkdir: cannot create directory '/tmp/job': Permission denied", exit_code=1)
    assert told.category is FailureCategory.EXECUTOR


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("Command '['mass']' returned non-zero exit status 127.", "exit-not-found"),
        ("Command '['mass']' died with <Signals.SIGSYS: 31>.", "crash-signal"),
        ("the job failed with exit code 134", "abort-signal"),
        ("the job failed with exit code 1", "unknown"),
    ],
)
def test_codes_are_read_from_words_where_none_is_given(said: str, rule: str) -> None:
    assert explain_failure(RuntimeError(said)).rule == rule


def test_signals_are_read_from_every_kind_of_code() -> None:
    assert [signal_of(code) for code in (-9, 137, 265, 1, 0, 147, 255, -300)] == [9, 9, 9, None, None, None, None, None]
    assert readings(127 << 8) == (127 << 8, 127)
    assert readings(8021) == (8021,)
    assert [signal_name(one) for one in (9, "kill", "SIGKILL", "9", "nonsense", 4711)] == [*["SIGKILL"] * 4, None, None]


# -- it never raises ---------------------------------------------------------------------------------------------------


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("I do not speak")


def test_odd_things_are_explained_too() -> None:
    loop = RuntimeError("a")
    loop.__cause__ = loop
    for odd in (Mute(), loop, None, "", "text", 7):
        assert explain_failure(odd).category == FailureCategory.UNKNOWN  # type: ignore[arg-type]
    assert classify_failure(None, b"\xff\xfe Segmentation fault") == FailureCategory.ANALYSIS_CRASH
    assert classify_failure(None, None) == FailureCategory.UNKNOWN  # type: ignore[arg-type]
    assert Evidence.from_mapping({"exit_code": "x", "stderr": None, "strange": 1, "message": 3}) == Evidence(
        message="3"
    )


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(["error", "timed out", "\n", "Killed", ": ", "/cvmfs/", "not a ROOT file", "'", "(", "é"])
    ),
    st.none() | st.integers(),
    st.none() | st.integers(),
    st.none() | st.text(max_size=20),
)
def test_it_never_raises_and_says_the_same_twice(
    text: str, words: list[str], code: int | None, number: int | None, state: str | None
) -> None:
    evidence = Evidence.of(
        ValueError(text), "".join(words), exit_code=code, hold_code=number, signal=number, state=state
    )
    told = explain(evidence)
    assert told == explain(Evidence.from_mapping(json.loads(json.dumps(evidence.as_dict()))))
    assert 0 <= told.confidence <= 1 and len(told.evidence) <= 300 and "\n" not in told.evidence


# -- long texts --------------------------------------------------------------------------------------------------------


def test_a_long_log_is_read_at_both_ends() -> None:
    filler = "Processing event 17 of run 5\n" * ((HEAD + TAIL) // 20)
    for log in (f"not a ROOT file\n{filler}", f"{filler}not a ROOT file\n"):
        assert classify_failure(stderr=log) == FailureCategory.CORRUPTED_INPUT


def test_work_is_bounded_on_any_text() -> None:
    """A pattern is tried in at most `MOST_LINES` lines, and a text is read to at most its window."""
    lines = Lines()
    lines.add("error here\n" * 1_000_000, "stderr")
    assert sum(map(len, lines.texts)) <= HEAD + TAIL
    assert sum(1 for _ in lines.holding("error")) == MOST_LINES
    assert sum(1 for _ in lines.last_holding("error")) == MOST_LINES
    assert len(next(lines.holding("error"))[1]) == len("error here")


def test_few_patterns_are_tried_on_a_healthy_log() -> None:
    """What makes it fast: of over a thousand patterns a handful can match at all, which the words of the log tell."""
    lines = Lines()
    lines.add("".join(f"10:11:{n % 60} INFO reading entry {n} of a.root, 12.1 MB/s\n" for n in range(200)), "stderr")
    tried = [pattern for _, pairs in default_rules().index.present(lines) for pattern, _ in pairs]
    everything = sum(len(rule.searched) for rule in default_rules().rules)
    assert everything > 1000
    assert len(tried) < 20


@pytest.mark.parametrize("length", [2000])
@pytest.mark.parametrize("unit", ["a", " ", "(", "proxy ", "job exceeded ", "error: ", "/x", "0", "Failed to ", "'\""])
def test_no_pattern_runs_away(unit: str, length: int) -> None:
    """Every shipped pattern is a search of bounded gaps: on a hostile line it ends (a runaway would take years)."""
    row = (unit * length)[:length]
    for rule in default_rules().rules:
        for pattern in (*rule.searched, *rule.text, *rule.unless):
            pattern.regex.search(row)


def test_shortened_evidence_keeps_the_cause_and_the_tail() -> None:
    noise = "".join(f"10:11:12 INFO reading entry {n}\n" for n in range(2000))
    log = f"{noise}Error in <TFile::Init>: a.root not a ROOT file\n{noise}the end\n"
    short = Evidence.of(None, log, exit_code=1).shortened()
    assert len(short.stderr) <= Evidence.KEPT
    assert short.stderr.endswith("the end")
    assert explain(short) == explain(Evidence.of(None, log, exit_code=1))
    assert short.shortened() == short


# -- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("not a ROOT file", ("not a root file",)),
        (r"signal:? 11\b", ("signal",)),
        (r"ab(?:cde|fgh)xy", ("cde", "fgh")),
        (r"ab(?:cde)?xyz", ("xyz",)),
        (r"(?!never)alpha\d+", ("alpha",)),
        (r"one|three", ("one", "three")),
        (r"a\.b\[c", ("a.b[c",)),
        (r"x{2,3}", ("",)),
        (r"[abc]+", ("",)),
        (r"fo+bar", ("bar",)),
    ],
)
def test_the_text_that_a_pattern_cannot_do_without(pattern: str, texts: tuple[str, ...]) -> None:
    assert set(required_literals(pattern)) == set(texts)


SHIPPED: list[Rule] = list(default_rules().rules)


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.id)
def test_a_shipped_rule_is_whole(rule: Rule) -> None:
    """It has an example that it matches, a remedy, patterns that compile, and each of them a text to look for."""
    for pattern in (*rule.text, *rule.unless, *rule.raised):
        assert not pattern.regex.match(""), pattern
    for pattern in rule.searched:
        assert pattern.literals, f"{pattern.source} is tried on every line"
    assert rule.example, "an example"
    if rule.role not in EXPLAINING:
        assert any(pattern.regex.search(rule.example) for pattern in rule.text)
        return
    assert rule.remedy and 0 < rule.confidence < 1
    known = rule.example if isinstance(rule.example, dict) else {"stderr": rule.example}
    told = explain(Evidence.from_mapping(known))
    assert told.category == rule.category, told
    alone = Rules([{"id": "other", "category": "unknown", "text": "nothing of the kind"}])
    alone.rules = (rule,)
    assert explain(Evidence.from_mapping(known), alone).rule == rule.id


def test_ids_of_shipped_rules_are_unique() -> None:
    assert len({rule.id for rule in SHIPPED}) == len(SHIPPED) > 150


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([pattern for rule in SHIPPED for pattern in rule.searched]), st.data())
def test_whatever_matches_holds_a_literal(pattern: Pattern, data: st.DataObject) -> None:
    """The quick look never hides a match."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = data.draw(st.from_regex(pattern.regex))
    if text.isascii():
        assert any(literal in text.lower() for literal in pattern.literals)
