"""The protocol's messages as JSON: what is sent is what comes, what is odd is refused, errors keep their class."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeper import errors, wire
from bookkeeper.errors import BookkeeperError, Fenced, UsageError
from bookkeeper.failures.evidence import Evidence
from bookkeeper.ledger.guards import GuardFailed
from bookkeeper.protocol import (
    Delivered,
    EventRecord,
    FileInfo,
    FileMark,
    Ledger,
    Manifest,
    Mark,
    OutputRecord,
    ProcessKey,
    Started,
    StartProcess,
    Status,
    StoredOutput,
)

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BookkeeperError)]

numbers = st.integers(0, 2**63 - 1)
texts = st.text(max_size=20)
maybe = st.none() | texts
floats = st.floats(allow_nan=False, allow_infinity=False)
marks = st.builds(
    FileMark, numbers, st.sampled_from(Mark), st.none() | numbers, st.none() | numbers, maybe, st.booleans()
)
outputs = st.builds(OutputRecord, texts, texts, texts, texts, numbers, texts, st.none() | numbers, maybe)
stored = st.builds(StoredOutput, numbers, numbers, texts, outputs)
infos = st.builds(
    FileInfo, numbers, texts, numbers, maybe, st.none() | numbers, maybe, st.lists(texts, max_size=2).map(tuple)
)
some_marks = st.lists(marks, max_size=3).map(tuple)
manifests = st.builds(Manifest, st.lists(marks, max_size=3), st.lists(outputs, max_size=2), st.booleans())
pairs = st.lists(st.tuples(texts, texts), max_size=2).map(tuple)
evidence = st.builds(Evidence, texts, pairs, texts, st.none() | numbers, step=maybe)
bodies = st.dictionaries(texts, texts | numbers | floats | st.none() | st.lists(texts, max_size=2), max_size=3)
events = st.lists(st.builds(EventRecord, texts, bodies, st.none() | numbers), max_size=2).map(tuple)

CALLS: dict[str, st.SearchStrategy[Any]] = {
    "start_process": st.builds(
        StartProcess, texts, texts, maybe, maybe, maybe, st.none() | floats, st.none() | numbers
    ),
    "next_files": st.builds(wire.NextFiles, numbers, numbers, numbers, some_marks),
    "mark": st.builds(wire.MarkFiles, numbers, some_marks, st.booleans()),
    "heartbeat": st.builds(wire.Call, numbers),
    "stage": st.builds(wire.WithManifest, numbers, manifests),
    "commit": st.builds(wire.WithManifest, numbers, manifests),
    "roll_back": st.builds(wire.RollBack, numbers, texts, maybe, st.booleans(), some_marks, st.none() | evidence),
    "published": st.builds(wire.Published, numbers, st.lists(numbers, max_size=3).map(tuple)),
    "will_write_to": st.builds(wire.WillWriteTo, numbers, texts),
    "record": st.builds(wire.Record, numbers, events, texts),
}
ANSWERS: dict[str, st.SearchStrategy[Any]] = {
    "start_process": st.builds(
        Started, st.builds(ProcessKey, numbers, texts), texts, texts, floats, numbers, st.booleans(),
        st.none() | numbers, st.booleans(), texts, texts,
    ),
    "next_files": st.builds(
        Delivered, st.lists(infos, max_size=3).map(tuple), st.sampled_from(Status), st.none() | numbers, texts, texts
    ),
    "commit": st.lists(stored, max_size=2).map(tuple),
    "deliveries_of": st.lists(st.tuples(infos, st.none() | marks), max_size=2).map(tuple),
}  # fmt: skip


def test_every_verb_of_the_protocol_has_its_messages() -> None:
    verbs = {name for name in vars(Ledger) if not name.startswith("_")} - {"close", "sole_publisher"}
    assert set(wire.CALLS) == set(wire.ANSWERS) == verbs


@pytest.mark.parametrize("verb", CALLS)
@given(data=st.data())
def test_a_call_comes_as_it_was_sent(verb: str, data: st.DataObject) -> None:
    call = data.draw(CALLS[verb])
    assert wire.decode(wire.encode(call), wire.CALLS[verb]) == call


@pytest.mark.parametrize("verb", ANSWERS)
@given(data=st.data())
def test_an_answer_comes_as_it_was_sent(verb: str, data: st.DataObject) -> None:
    answer = data.draw(ANSWERS[verb])
    assert wire.decode(wire.encode(answer), wire.ANSWERS[verb]) == answer


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_comes_as_the_class_it_was(kind: type[BookkeeperError]) -> None:
    found = wire.decode_error(wire.encode_error(kind("what", remedy="how")))
    assert (type(found), str(found), found.remedy) == (kind, "what", "how")  # type: ignore[union-attr]


def test_an_error_that_one_side_does_not_know_comes_as_the_nearest_above() -> None:
    assert type(wire.decode_error(wire.encode_error(GuardFailed("no")))) is BookkeeperError
    assert type(wire.decode_error(b'{"error":"FromTheFuture","message":"m"}')) is BookkeeperError


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"\xff", b'{"error":1,"message":"m"}', b"[" * 100_000])
def test_what_is_no_error_of_ours_is_none(body: bytes) -> None:
    assert wire.decode_error(body) is None


@pytest.mark.parametrize(
    ("verb", "body", "names"),
    [
        ("next_files", b'{"process":1,"seq":"1","limit":1}', "$.seq"),
        ("next_files", b'{"process":1,"seq":1}', "limit"),
        ("next_files", b'{"process":1,"seq":1,"limit":1,"extra":0}', "extra"),
        ("next_files", b'{"process":1,"seq":1,"limit":1.5}', "$.limit"),
        ("mark", b'{"process":1,"marks":[{"file_id":1,"mark":"eaten"}]}', "$.marks[0].mark"),
        ("commit", b'{"process":1,"manifest":{"files":{}}}', "$.manifest.files"),
        ("start_process", b'{"project":null,"nonce":"n"}', "$.project"),
        ("heartbeat", b"{", "truncated"),
        ("heartbeat", b'{"process":\xff}', "cannot be read"),
        ("roll_back", b'{"process":1,"reason":' + b"[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_message_is_refused_by_naming_what_is_odd(verb: str, body: bytes, names: str) -> None:
    with pytest.raises(UsageError, match="cannot be read") as raised:
        wire.decode(body, wire.CALLS[verb])
    assert names in str(raised.value)


def test_what_is_no_character_is_spelled() -> None:
    call = wire.RollBack(1, "it is called \udce9", evidence=Evidence(message="\udce9"))
    found = wire.decode(wire.encode(call), wire.RollBack)
    assert found.reason == "it is called \\udce9"
    assert found.evidence.message == "\\udce9"


def test_a_fenced_job_hears_why() -> None:
    error = wire.decode_error(wire.encode_error(Fenced("process 3 was rolled back: ü", remedy="stop")))
    assert isinstance(error, Fenced)
    assert error.exit_code == 7


FIRST_USE = """
import os, sys, threading
from bookkeeper import wire

def child():
    sys.setswitchinterval(1e-6)
    kinds = [wire.ANSWERS["next_files"], wire.ANSWERS["deliveries_of"], wire.NextFiles, wire.WithManifest] * 4
    together = threading.Barrier(len(kinds))
    said = b'{"process": 1, "seq": 1, "limit": 1, "done": [{"file_id": 1, "mark": "opened"}], "manifest": {"files": []}}'

    def one(kind):
        together.wait()
        made = wire.decoder(kind)
        for _ in range(20):
            try:
                made.decode(said)
            except ValueError:
                pass

    threads = [threading.Thread(target=one, args=[kind]) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

codes = []
for _ in range(40):
    pid = os.fork()
    if not pid:
        child()
        os._exit(0)
    codes.append(os.waitpid(pid, 0)[1])
sys.exit(any(codes))
"""


def test_decoders_are_made_by_many_threads_at_once() -> None:
    """In processes that made none yet: msgspec crashes where two threads make what they share of a class."""
    assert subprocess.run([sys.executable, "-c", FIRST_USE], timeout=600).returncode == 0
