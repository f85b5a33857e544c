"""The door of a server: who comes in, and who waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from bookkeeper import Catalog, access
from bookkeeper.access.http import FailureLimit, Gate, challenge
from bookkeeper.errors import Forbidden, Unauthenticated, UsageError
from ledgers import new_catalog

GARBAGE = "Bearer a.b.c"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return new_catalog(tmp_path / "c.db")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(catalog: Catalog, clock: Clock) -> Gate:
    return Gate(access.Guard(catalog.database), FailureLimit(3, 60, clock=clock))


def header(catalog: Catalog, scope: str = "work") -> str:
    return f"Bearer {access.create(catalog.database, 'alice', scope=scope).token}"


def refused(gate: Gate, shown: str | None, client: str = "192.0.2.1") -> Unauthenticated:
    with pytest.raises(Unauthenticated) as error:
        gate.identify(shown, client)
    return error.value


def test_who_has_a_token_comes_in(catalog: Catalog, gate: Gate) -> None:
    shown = header(catalog)
    for _ in range(2):  # looked at, then remembered
        assert gate.identify(shown, "192.0.2.1").name == "alice"


def test_challenges_say_why_and_repeat_nothing_of_the_request(catalog: Catalog, gate: Gate) -> None:
    assert challenge(refused(gate, None)) == 'Bearer realm="bookkeeper"'
    told = challenge(refused(gate, GARBAGE))
    assert told == 'Bearer realm="bookkeeper", error="invalid_token", error_description="malformed"'
    with pytest.raises(Forbidden) as error:
        gate.identify(header(catalog)).require("admin")
    told = challenge(error.value)
    assert told == 'Bearer realm="bookkeeper", error="insufficient_scope", error_description="scope"'


def test_a_client_whose_tokens_do_not_hold_waits(catalog: Catalog, gate: Gate, clock: Clock) -> None:
    good, fresh = header(catalog), header(catalog)
    gate.identify(good, "192.0.2.1")
    for _ in range(3):
        assert refused(gate, GARBAGE).cause == "malformed"
    error = refused(gate, fresh)
    assert (error.cause, "60 s" in error.remedy) == ("throttled", True)
    assert gate.identify(good, "192.0.2.1")  # it is known to hold: neighbours are not shut out
    assert gate.identify(fresh, "192.0.2.2")  # another client
    clock.now += 61
    assert gate.identify(header(catalog), "192.0.2.1")


def test_no_token_is_no_failure(gate: Gate) -> None:
    for _ in range(10):
        assert refused(gate, None).cause == "missing"


def test_who_is_not_known_is_not_counted(gate: Gate) -> None:
    for _ in range(10):
        assert refused(gate, GARBAGE, "").cause == "malformed"


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


def test_the_gate_of_a_catalog_knows_the_issuers_that_its_folder_names(catalog: Catalog) -> None:
    assert access.gate(catalog.database).guard.issuers is None
    catalog.database.folder.mkdir(exist_ok=True)
    path = catalog.database.folder / "issuers.toml"
    path.write_text('[[issuer]]\nurl = "http://plain.example.org"')
    with pytest.raises(UsageError, match="issuers"):
        access.gate(catalog.database)
    path.write_text(
        '[[issuer]]\nurl = "https://i.example.org"\naudience = "us"\nprofile = "wlcg"\n'
        'grant = [{ group = "/x", allow = "read" }]'
    )
    assert access.gate(catalog.database).guard.issuers is not None
