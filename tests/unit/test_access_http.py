"""The door of a server: who comes in, and the answers to those who do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bookkeeper import Catalog, access, create_catalog
from bookkeeper.access.http import FailureLimit, Gate, authorization, client_of, refusal
from bookkeeper.errors import AccessDenied, Forbidden, Unauthenticated

GARBAGE = "Bearer a.b.c"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return create_catalog(f"sqlite:///{tmp_path}/c.db")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(catalog: Catalog, clock: Clock) -> Gate:
    return Gate(access.Guard(catalog.database), limit=FailureLimit(3, 60, clock=clock))


def header(catalog: Catalog, scope: str = "work") -> str:
    return f"Bearer {access.create(catalog.database, 'alice', scope=scope).token}"


def refused(gate: Gate, shown: str | None, client: str = "192.0.2.1", **asked: str) -> AccessDenied:
    with pytest.raises(AccessDenied) as error:
        asyncio.run(gate.admit(shown, client, **asked))
    return error.value


def test_who_has_a_token_comes_in(catalog: Catalog, gate: Gate) -> None:
    shown = header(catalog)
    for _ in range(2):  # looked at, then remembered
        assert asyncio.run(gate.admit(shown, "192.0.2.1", scope="work", project="any")).name == "alice"
    assert not gate.refusals


def test_refusals_are_counted_by_cause(catalog: Catalog, gate: Gate) -> None:
    refused(gate, None)
    refused(gate, GARBAGE)
    refused(gate, header(catalog), scope="admin")
    access.create(catalog.database, "x", scope="read")
    assert gate.refusals == {"missing": 1, "malformed": 1, "scope": 1}


def test_answers_say_why_and_repeat_nothing_of_the_request(catalog: Catalog, gate: Gate) -> None:
    expected = {
        None: (401, 'Bearer realm="bookkeeper"', "Unauthenticated"),
        GARBAGE: (
            401,
            'Bearer realm="bookkeeper", error="invalid_token", error_description="malformed"',
            "Unauthenticated",
        ),
        header(catalog): (
            403,
            'Bearer realm="bookkeeper", error="insufficient_scope", error_description="scope"',
            "Forbidden",
        ),
    }
    for shown, (status, challenge, name) in expected.items():
        answer = refusal(refused(gate, shown, scope="admin"))
        headers = dict(answer.headers)
        assert (answer.status, headers["www-authenticate"], answer.body["error"]) == (status, challenge, name)
        assert headers["cache-control"] == "no-store"
        assert shown is None or shown[7:] not in str(answer)


def test_a_client_whose_tokens_do_not_hold_waits(catalog: Catalog, gate: Gate, clock: Clock) -> None:
    good, fresh = header(catalog), header(catalog)
    asyncio.run(gate.admit(good, "192.0.2.1"))
    for _ in range(3):
        assert refused(gate, GARBAGE).cause == "malformed"
    error = refused(gate, fresh)
    answer = refusal(error)
    assert (error.cause, answer.status, dict(answer.headers)["retry-after"]) == ("throttled", 429, "10")
    assert asyncio.run(gate.admit(good, "192.0.2.1"))  # it is known to hold: neighbours are not shut out
    assert asyncio.run(gate.admit(fresh, "192.0.2.2"))  # another client
    clock.now += 61
    assert asyncio.run(gate.admit(header(catalog), "192.0.2.1"))
    assert gate.refusals == {"malformed": 3, "throttled": 1}


def test_no_token_is_no_failure(gate: Gate) -> None:
    for _ in range(10):
        assert refused(gate, None).cause == "missing"


def test_one_network_is_one_client(clock: Clock) -> None:
    limit = FailureLimit(2, 60, clock=clock)
    limit.failed("2001:db8::1")
    limit.failed("2001:db8::2")
    assert limit.wait("2001:db8::3") == 60
    assert limit.wait("2001:db8:0:1::3") == 0
    limit.failed("::ffff:192.0.2.1")
    limit.failed("192.0.2.1")
    assert limit.wait("192.0.2.1") > 0
    assert limit.wait("a host") == 0


def test_failures_are_forgotten_one_by_one(clock: Clock) -> None:
    limit = FailureLimit(2, 60, clock=clock)
    limit.failed("a")
    clock.now += 40
    limit.failed("a")
    assert limit.wait("a") == 20
    clock.now += 21
    assert limit.wait("a") == 0
    limit.failed("a")
    assert limit.wait("a") == 39


def test_who_needs_no_token_is_still_refused_with_a_wrong_one(catalog: Catalog) -> None:
    gate = Gate(access.Guard(catalog.database), anonymous="read")
    identity = asyncio.run(gate.admit(None, scope="read"))
    assert identity.name == "anonymous"
    with pytest.raises(Forbidden):
        gate.require(identity, "work")
    with pytest.raises(Unauthenticated):
        gate.identify(GARBAGE)
    assert gate.refusals == {"scope": 1, "malformed": 1}


def test_the_header_is_taken_once() -> None:
    assert authorization([(b"host", b"x"), (b"Authorization", b"Bearer a")]) == "Bearer a"
    assert authorization([]) is None
    assert authorization([(b"authorization", b"\xff")]) == "\xff"
    with pytest.raises(Unauthenticated, match="two"):
        authorization([(b"authorization", b"a"), (b"authorization", b"b")])


def test_the_client_is_the_address() -> None:
    assert client_of({"client": ("192.0.2.1", 5)}) == "192.0.2.1"
    assert client_of({"client": None}) == client_of({}) == ""
