"""schemathesis reads a server's OpenAPI document and sends what it allows, and what it does not: no route may fail."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from bookkeeper import access, create_catalog
from bookkeeper.access.http import FailureLimit, Gate
from bookkeeper.server import Settings
from services.reach import served

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode

pytestmark = pytest.mark.acceptance


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """What is uploaded as a stream: the first line."""
    return json.dumps(value, default=str).encode() + b"\n"


EXAMPLES = 6
"""Examples a route, of what its schema allows and again of what it does not."""

LONGEST = 120.0
"""Seconds after which the routes that remain get one example each."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, str]]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with create_catalog(f"sqlite:///{folder}/c.db") as catalog:
        catalog.declare_files([{"name": f"f{n}", "size": n, "locations": [f"/data/f{n}"]} for n in range(3)])
        catalog.define_dataset("all", where="name like 'f%'")
        catalog.start_project("x", dataset="all", application=("a", "b", "1"))
        token = access.create(catalog.database, "fuzzer", scope="admin").token
        gate = Gate(access.Guard(catalog.database), FailureLimit(10**9))
        calm = Settings(tick=3600, rate=1e9, burst=1e9)
        with (
            served(catalog.database, guard=gate, settings=calm) as url,
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            yield client, token
        assert catalog.check() == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_route_fails_whatever_is_sent(server: tuple[httpx.Client, str]) -> None:
    client, token = server
    schema = schemathesis.openapi.from_dict(client.get("/v1/openapi.json").json())
    until, routes, sent, problems = time.monotonic() + LONGEST, 0, 0, []

    def attack(case: Any) -> None:
        nonlocal sent
        answer = case.call(base_url=str(client.base_url), headers={"authorization": f"Bearer {token}"}, timeout=60)
        sent += 1
        failed = answer.status_code >= 500 and answer.status_code != 503
        if failed or "Traceback" in answer.text or "site-packages" in answer.text:
            problems.append((case.operation.label, answer.status_code, case.body, answer.text[:300]))

    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/v1/call/tokens.rotate":  # it would end the token that the test has
            continue
        routes += 1
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            calm = settings(
                max_examples=EXAMPLES if time.monotonic() < until else 1,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            with contextlib.suppress(Unsatisfiable):  # a route without fields takes nothing that it does not allow
                calm(given(case=operation.as_strategy(generation_mode=mode))(attack))()
    assert not problems, problems[:5]
    assert routes > 80
    assert sent > 2 * routes
