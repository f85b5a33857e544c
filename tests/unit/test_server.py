"""What the server answers: the verbs of jobs, refusals, limits, its own health; and what it does by itself."""

from __future__ import annotations

import contextlib
import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from bookkeeper import process as processes
from bookkeeper import wire
from bookkeeper.client.ledger import HttpLedger
from bookkeeper.client.transport import Transport
from bookkeeper.errors import Forbidden, NotAllowed, NotFound, ServerUnreachable, UsageError
from bookkeeper.ledger import SqlLedger, requests
from bookkeeper.protocol import EventRecord, StartProcess
from bookkeeper.server import Settings
from bookkeeper.server.group import GroupCommit, Job
from bookkeeper.server.logs import JsonLines
from bookkeeper.server.running import Parts, Place, require_loopback
from bookkeeper.server.workers import Workers
from ledgers import World, sound
from services.servers import STILL, serving

CALL = "/v1/ledger/"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World.create(tmp_path / "catalog.db", 2)
    yield made
    sound(made)
    made.close()


@contextlib.contextmanager
def client(world: World, parts: Parts | None = None) -> Iterator[httpx.Client]:
    with serving(world.database, parts) as url, httpx.Client(base_url=url, timeout=30) as made:
        yield made


def say(to: httpx.Client, verb: str, token: str | None = None, **call: Any) -> httpx.Response:
    return to.post(CALL + verb, json=call, headers={} if token is None else {"Authorization": f"Bearer {token}"})


def settings(**changed: Any) -> Parts:
    known: dict[str, Any] = {**vars(STILL), **changed}
    return Parts(settings=Settings(**known))


def test_the_next_file_is_answered_in_the_words_of_sam(world: World) -> None:
    with client(world) as to:
        key = say(to, "start_process", project="p", nonce="n").json()["key"]
        other = say(to, "start_process", project="p", nonce="m").json()["key"]
        files = say(to, "next_files", "n", process=key["id"], seq=1, limit=9)
        assert (files.status_code, files.headers["bookkeeper-status"], len(files.json()["files"])) == (200, "files", 2)
        none_now = say(to, "next_files", "m", process=other["id"], seq=1, limit=9)
        assert (none_now.status_code, none_now.headers["bookkeeper-status"]) == (202, "none now")
        assert int(none_now.headers["retry-after"]) > 0
        more = say(to, "next_files", "n", process=key["id"], seq=2, limit=9)
        assert (more.status_code, more.headers["bookkeeper-status"], more.content) == (204, "exhausted", b"")


@pytest.mark.parametrize(
    ("verb", "token", "call", "status", "error"),
    [
        ("heartbeat", None, {"process": 1}, 401, "Unauthenticated"),
        ("heartbeat", "another's", {"process": 1}, 404, "NotFound"),
        ("heartbeat", "n", {"process": 99}, 404, "NotFound"),
        ("heartbeat", "n", {"process": 10**30}, 400, "UsageError"),
        ("heartbeat", "n", {"process": "1"}, 400, "UsageError"),
        ("heartbeat", "n", {}, 400, "UsageError"),
        ("next_files", "n", {"process": 1, "seq": 0, "limit": 1}, 400, "UsageError"),
        ("start_process", None, {"project": "none", "nonce": "n"}, 404, "NotFound"),
        ("start_process", None, {"project": "p'; DROP TABLE files; --", "nonce": "n"}, 404, "NotFound"),
        ("will_write_to", "n", {"process": 1, "destination": 1}, 400, "UsageError"),
        ("sell", "n", {"process": 1}, 404, "NotFound"),
        ("%2e%2e/ledger/fate", "n", {"process": 1}, 404, "NotFound"),
    ],
)
def test_what_is_wrong_is_refused_and_counted(
    world: World, verb: str, token: str | None, call: dict[str, Any], status: int, error: str
) -> None:
    with client(world) as to:
        say(to, "start_process", project="p", nonce="n")
        answer = say(to, verb, token, **call)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
        assert "Traceback" not in answer.text
        if verb in wire.CALLS:
            assert (
                f'bookkeeper_refused_total{{cause="{"missing" if status == 401 else ""}",error="{error}"}}'
                in to.get("/metrics").text
            )


def test_every_answer_says_what_it_speaks(world: World) -> None:
    with client(world) as to:
        for answer in (to.get("/healthz"), to.get("/nowhere"), say(to, "fate"), to.get(CALL + "fate")):
            assert answer.headers["bookkeeper-protocol"] == str(wire.PROTOCOL)
        assert to.get(CALL + "fate").status_code == 405


def test_a_message_too_large_is_refused_before_it_is_read(world: World) -> None:
    with client(world, settings(body=1000)) as to:
        long = {"process": 1, "reason": "x" * 2000}
        assert say(to, "roll_back", "n", **long).status_code == 413
        pieces = iter([json.dumps(long).encode()[:900], b" " * 900])
        in_pieces = to.post(CALL + "roll_back", content=pieces, headers={"Authorization": "Bearer n"})
        assert in_pieces.status_code == 413
        assert to.get("/healthz").status_code == 200


def test_who_calls_too_often_is_asked_to_wait_and_others_are_not(world: World) -> None:
    with client(world, settings(rate=0.001, burst=3)) as to:
        one = say(to, "start_process", project="p", nonce="n").json()["key"]["id"]
        two = say(to, "start_process", project="p", nonce="m").json()["key"]["id"]
        answers = [say(to, "heartbeat", "n", process=one).status_code for _ in range(5)]
        assert answers == [200, 200, 200, 429, 429]
        assert say(to, "heartbeat", "m", process=two).status_code == 200


def test_when_too_much_waits_callers_are_asked_to_come_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, transaction = threading.Event(), GroupCommit._transaction

    def noted(*words: Any) -> None:
        taken.set()
        transaction(*words)

    with client(world, settings(most_waiting=1)) as to:
        key = say(to, "start_process", project="p", nonce="n").json()["key"]["id"]
        answers: list[httpx.Response] = []
        callers = [
            threading.Thread(target=lambda: answers.append(say(to, "heartbeat", "n", process=key))) for _ in range(6)
        ]
        monkeypatch.setattr(GroupCommit, "_transaction", noted)
        with world.database.transaction():  # the writer waits for this one
            callers[0].start()
            assert taken.wait(60)  # the writer has one
            callers[1].start()
            until(lambda: to.get("/healthz").json()["waiting"] == 1)  # another waits
            for caller in callers[2:]:
                caller.start()
            until(lambda: len(answers) >= 4)
            assert {answer.status_code for answer in answers} == {503}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        for caller in callers:
            caller.join()
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503, 503]


def test_only_who_may_submit_starts_a_process(world: World) -> None:
    class Somebody:
        def require(self, scope: str, project: str | None = None) -> None:
            if (scope, project) != ("work", "p"):
                raise Forbidden("not yours")

    class Doorkeeper:
        def identify(self, authorization: str | None, client: str = "") -> Somebody:
            assert authorization == "Bearer submitter"
            return Somebody()

    world.catalog.start_project("other", "all")
    with client(world, Parts(guard=Doorkeeper(), settings=STILL)) as to:
        assert say(to, "start_process", "submitter", project="other", nonce="n").status_code == 403
        key = say(to, "start_process", "submitter", project="p", nonce="n").json()["key"]["id"]
        assert say(to, "heartbeat", "n", process=key).status_code == 200


def test_health_metrics_and_the_description_of_every_verb(world: World) -> None:
    with client(world) as to:
        say(to, "start_process", project="p", nonce="n")
        assert to.get("/healthz").json()["catalog"] == world.database.id
        metrics = to.get("/metrics").text
        assert 'bookkeeper_calls_total{status="200",verb="start_process"} 1.0' in metrics
        assert 'bookkeeper_group_jobs_count{durable="true"} 1.0' in metrics
        described = to.get("/v1/openapi.json").json()
        assert {CALL + verb for verb in wire.CALLS} <= set(described["paths"])
        text = json.dumps(described)
        for name in set(_refs(described)):
            assert name.rpartition("/")[2] in described["components"]["schemas"], name
        assert "Traceback" not in text


def _refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref" and isinstance(value, str))
        for value in part.values():
            yield from _refs(value)
    elif isinstance(part, list):
        for value in part:
            yield from _refs(value)


def test_no_token_is_ever_logged(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "bookkeeper")
    monkeypatch.setattr(logging.getLogger("bookkeeper"), "propagate", True)  # whatever a command has set
    with client(world) as to:
        say(to, "start_process", project="p", nonce="secret-nonce")
        say(to, "heartbeat", "secret-nonce", process=1)
        say(to, "heartbeat", "another-secret", process=1)
        say(to, "heartbeat", "another-secret", process="odd")
        to.get("/nowhere", headers={"Authorization": "Bearer another-secret"})
    lines = [JsonLines().format(record) for record in caplog.records]
    assert any("refused" in line for line in lines)
    assert any('"verb": "start_process", "process_id": 1' in line for line in lines)
    assert not [line for line in lines if "secret" in line]
    assert all(json.loads(line)["level"] for line in lines)


def test_what_is_recorded_twice_under_one_word_is_recorded_once(world: World) -> None:
    with client(world) as to:
        key = say(to, "start_process", project="p", nonce="n").json()["key"]["id"]
        call = {"process": key, "events": [{"kind": "my.event"}]}
        for once in ("a", "a", "b"):
            assert say(to, "record", "n", **call, once=once).status_code == 200
    assert world.value("SELECT count(*) FROM events WHERE kind = 'my.event'") == 2


def test_what_is_recorded_in_a_group_that_is_made_again_is_not_lost(world: World) -> None:
    job = world.start()
    group = GroupCommit(world.database)
    ledger = SqlLedger(group)
    workers = Workers(group, ledger, Any, Any, Any, 0)  # type: ignore[arg-type]
    call = wire.Record(job.key.id, (EventRecord("my.event"),), "a")

    def then_undone() -> None:
        workers._record(job.key, call)
        if not group._tx_durable:
            group.run(lambda tx: None, durable=True)  # the group is undone, and made again on disk

    try:
        group._enqueue(Job(then_undone, False, answer := Future[None]()))
        answer.result(30)
    finally:
        group.close()
    assert world.value("SELECT count(*) FROM events WHERE kind = 'my.event'") == 1


def test_a_job_publishes_nothing_of_another_request(world: World) -> None:
    job = world.start()
    job.take()
    (output,) = job.commit()
    world.database.run(
        lambda tx: requests.open_request(
            tx, "q", 1, requests.Rules(), requests.Application("a", "b", "c", "here", "me")
        )
    )
    other = world.start("q")
    with pytest.raises(NotFound):
        other.ledger.published(other.key, [output.id])
    assert world.value("SELECT state FROM outputs") == "committed"
    job.publish()


def test_a_server_that_starts_gives_every_live_process_a_lease(world: World) -> None:
    job = world.start()
    world.late(job)
    with client(world, settings(tick=0.01)) as to:
        assert say(to, "heartbeat", job.key.token, process=job.key.id).status_code == 200
    assert world.state(job) == "active"


def test_the_server_expires_who_falls_silent(world: World) -> None:
    with client(world, settings(tick=0.01)):
        job = world.start()
        job.take()
        world.late(job)
        until(lambda: world.state(job) == "rolled_back")
    assert len(world.files("available")) == 2


def test_the_server_publishes_where_workers_cannot_rename(world: World, tmp_path: Path) -> None:
    source = tmp_path / "result.txt"
    source.write_text("a result")
    with serving(world.database, settings(tick=0.01)) as url, contextlib.closing(Transport(url)) as transport:
        ledger = HttpLedger(transport)
        ledger.record(world.start().key, [EventRecord("hello")])
        with processes.start(ledger, StartProcess("p", "nonce")) as process:
            for file in process.next_files():
                file.opened()
                file.consumed()
            process.stage_out(source, "memory://published", "out-{process}.txt", validate=None)
        until(lambda: world.column("SELECT state FROM outputs") == ["published"])


def test_tls_is_spoken_where_a_certificate_is_given(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "host.pem")
    place = Place(port=0, tls_cert=tmp_path / "host.pem", tls_key=tmp_path / "host.pem")
    with serving(world.database, place=place) as url:
        assert url.startswith("https://")
        with contextlib.closing(Transport(url)) as stranger, pytest.raises(ServerUnreachable, match="not trusted"):
            stranger.get("/healthz")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with contextlib.closing(Transport(url)) as friend:
            assert friend.get("/healthz").status == 200
        assert httpx.get(url + "/healthz", verify=ssl.create_default_context(cafile=tmp_path / "ca.pem")).is_success


def test_an_open_server_is_for_this_host_only() -> None:
    require_loopback("127.0.0.1")
    require_loopback("::1")
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(NotAllowed, match="without tokens"):
            require_loopback(host)
    with pytest.raises(UsageError):
        require_loopback("no such host .invalid")


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")
