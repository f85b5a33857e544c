"""A server and those who mean it harm: whatever is sent to any of its routes is refused, counted, and tells nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from attacking import Route, least, put, routes, texts
from bookkeeper import Catalog, access, create_catalog, projects
from bookkeeper.access.http import FailureLimit, Gate
from bookkeeper.ledger.guards import tag
from bookkeeper.server import Settings
from bookkeeper.server.pages.routes import PATHS
from forging import by_hmac, contents, unsigned, with_claims, with_header
from services.reach import served

pytestmark = pytest.mark.acceptance

BODY = 1 << 16
LEVELS = ("read", "work", "operate", "admin")
CANARY = "the-canary-sings-5c1f"
"""Stands in a file that no client may read."""


@dataclass
class Scene:
    """A served catalog, with tokens of every scope."""

    catalog: Catalog
    folder: Path
    client: httpx.Client
    tokens: dict[str, str]
    routes: list[Route]

    def send(self, route: Route, token: str | None = None, value: Any = None, place: str = "x", **how: Any) -> Any:
        """Call a route; with the least that it takes, unless said otherwise."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        if route.media_type is not None:
            headers["content-type"] = route.media_type
        body = route.body(least(route.schema, route.schemas) if value is None else value)
        return self.client.request(route.method, route.url(place), headers=headers, content=body, **how)

    def refused(self, **labels: str) -> float:
        """How many refusals ``/metrics`` counts, of those with these labels."""
        total = 0.0
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith("bookkeeper_refused_total{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.rpartition(" ")[2])
        return total

    @contextlib.contextmanager
    def counting(self, times: int, **labels: str) -> Iterator[None]:
        """Hold that a block adds so many refusals."""
        before = self.refused(**labels)
        yield
        assert self.refused(**labels) - before == times

    def jobs(self) -> list[Route]:
        return [route for route in self.routes if route.path.startswith("/v1/ledger/")]

    def guarded(self) -> list[Route]:
        """The routes that need a token of ours: all but those of jobs, which need their process's."""
        return [route for route in self.routes if route.guarded and (route not in self.jobs() or "start" in route.path)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "canary.txt").write_text(CANARY)
    FOLDER[:] = [str(folder)]
    catalog = create_catalog(f"sqlite:///{folder}/c.db")
    catalog.declare_files([{"name": f"f{n}", "size": n, "locations": [f"/data/f{n}"]} for n in range(20)])
    catalog.define_dataset("all", where="name like 'f%'")
    for name in ("zmumu", "ttbar"):
        catalog.start_project(name, dataset="all", application=("a", "b", "1"))
    tokens = {scope: access.create(catalog.database, scope, scope=scope).token for scope in LEVELS}
    tokens["zmumu"] = access.create(catalog.database, "batch", scope="operate", projects=["zmumu"]).token
    gate = Gate(access.Guard(catalog.database, remember=0.001), FailureLimit(10**9))
    settings = Settings(body=BODY, tick=3600, rate=1e9, burst=1e9)
    with (
        served(catalog.database, guard=gate, settings=settings) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        found = routes(client.get("/v1/openapi.json").json())
        yield Scene(catalog, folder, client, tokens, found)


@pytest.fixture(autouse=True)
def no_leaks(scene: Scene, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test may make the server fail, or write a token into its log."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):  # the client's own
        caplog.set_level(logging.WARNING, name)
    yield
    written = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not [record for record in written if record.exc_info or record.levelno >= logging.ERROR]
    said = "".join(f"{record.getMessage()}{record.__dict__}" for record in written)
    assert not [scope for scope, token in scene.tokens.items() if token in said or token.rpartition(".")[2] in said]


def refusal(answer: httpx.Response, *statuses: int) -> dict[str, str]:
    """A refusal as it must be: JSON with an error, what happened and what to do; nothing of the program's insides."""
    assert answer.status_code in statuses, (answer.request.url, answer.status_code, answer.text[:500])
    plain(answer)
    said = answer.json()
    assert set(said) == {"error", "message", "remedy"}, said
    if answer.status_code in (401, 403):
        assert answer.headers["www-authenticate"].startswith('Bearer realm="bookkeeper"')
    return said  # type: ignore[no-any-return]


FOLDER: list[str] = []
"""Where the catalog lies: nobody is told, but who said it himself."""

INSIDES = re.compile(
    r"Traceback|File \"|site-packages|sqlite3\.|sqlalchemy|OperationalError|psycopg|bookkeeper/\w+\.py|\.py\b"
)


def plain(answer: httpx.Response) -> None:
    """Nothing of the program's insides is told, and no file of the server."""
    assert not INSIDES.search(answer.text), answer.text[:500]
    assert CANARY not in answer.text
    assert "root:x:0" not in answer.text
    asked = unquote(str(answer.request.url))
    with contextlib.suppress(httpx.StreamConsumed):  # what was sent in parts says nothing of ours
        asked += repr(answer.request.read())
    for folder in FOLDER:
        assert answer.status_code < 400 or folder in asked or folder not in answer.text, answer.text[:500]


def test_the_routes_are_known(scene: Scene) -> None:
    """A new route is attacked by itself; this holds that the document names what there is."""
    assert len(scene.guarded()) > 50
    assert len(scene.jobs()) == 14
    open_to_all = {str(route) for route in scene.routes if not route.guarded}
    assert open_to_all == {
        "GET /healthz",
        "GET /metrics",
        "GET /v1/catalog",
        "POST /v1/call/stepwise.recall",  # these two prove themselves by the key of a process
        "POST /v1/call/stepwise.stale",
    }


def test_without_a_token_every_route_refuses(scene: Scene) -> None:
    chosen = scene.guarded() + scene.jobs()[1:]
    with scene.counting(len(chosen), error="Unauthenticated"):
        for route in chosen:
            assert refusal(scene.send(route), 401)["error"] == "Unauthenticated"


def test_a_weaker_scope_is_refused(scene: Scene) -> None:
    stronger = [route for route in scene.guarded() if route.scope != "read"]
    with scene.counting(len(stronger), error="Forbidden", cause="scope"):
        for route in stronger:
            weaker = LEVELS[LEVELS.index(route.scope) - 1]
            assert refusal(scene.send(route, scene.tokens[weaker]), 403)["error"] == "Forbidden"


def test_a_confined_token_does_nothing_elsewhere(scene: Scene) -> None:
    """With every field that could name a project naming another one."""
    chosen = [route for route in scene.guarded() if route.scope in ("work", "operate")]
    with scene.counting(len(chosen), error="Forbidden", cause="project"):
        for route in chosen:
            value = least(route.schema, route.schemas)
            for path in list(texts(value)):
                if path[-1] in ("project", "name", "request"):
                    value = put(value, path, "ttbar")
            assert "confined" in refusal(scene.send(route, scene.tokens["zmumu"], value), 403)["message"]


def test_a_confined_token_does_its_work_where_it_may(scene: Scene) -> None:
    headers = {"authorization": f"Bearer {scene.tokens['zmumu']}"}
    for project, status in (("zmumu", 200), ("ttbar", 403)):
        for verb in ("pause", "resume"):
            call = {"name": project} | ({"reason": "to look"} if verb == "pause" else {})
            answer = scene.client.post(f"/v1/call/projects.{verb}", json=call, headers=headers)
            assert answer.status_code == status, answer.text


def forgeries(catalog: Catalog, token: str) -> dict[str, str]:
    """Tokens that must not hold, by the cause that they are counted under."""
    key_file = access.KeyFile(catalog.database.folder)
    signer = key_file.signing()
    assert signer is not None
    header, claims = contents(token)
    revoked = access.create(catalog.database, "revoked", scope="admin")
    access.revoke(catalog.database, revoked.id)

    def signed(**changed: Any) -> str:
        return jwt.encode(header, claims | changed, signer.key, ["Ed25519"])

    return {
        "algorithm": unsigned(header, claims),
        "algorithm ": by_hmac(header, claims, signer.key.as_pem(private=False)),
        "signature": jwt.encode(header, claims, OKPKey.generate_key("Ed25519"), ["Ed25519"]),
        "signature ": with_claims(token, exp=2**40),
        "key": with_header(token, kid="../../keys.json"),
        "expired": signed(exp=claims["iat"] - 3600, iat=claims["iat"] - 7200, nbf=claims["iat"] - 7200),
        "not-yet-valid": signed(nbf=claims["iat"] + 3600),
        "audience": signed(aud="another catalog"),
        "issuer": signed(iss="https://evil.example.org"),
        "revoked": revoked.token,
        "revoked ": signed(epoch=0),
        "malformed": "a.b.c",
        "malformed ": "' OR 1=1 --",
        "oversized": f"{'a' * 17_000}.b.c",
    }


def test_forged_expired_and_revoked_tokens_are_refused_everywhere(scene: Scene) -> None:
    """On each route, more than once: what was refused stays refused."""
    for cause, token in forgeries(scene.catalog, scene.tokens["admin"]).items():
        with scene.counting(len(scene.guarded()), cause=cause.strip()):
            for route in scene.guarded():
                said = refusal(scene.send(route, token), 401)
                assert token not in json.dumps(said)


def test_who_fails_often_is_not_looked_at(scene: Scene) -> None:
    gate = Gate(access.Guard(scene.catalog.database), FailureLimit(3, 3600))
    with served(scene.catalog.database, guard=gate) as url, httpx.Client(base_url=url, timeout=60) as client:
        good = {"authorization": f"Bearer {scene.tokens['read']}"}
        assert client.get("/v1/projects", headers=good).status_code == 200
        answers = [client.get("/v1/projects", headers={"authorization": "Bearer a.b.c"}) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert client.get("/v1/projects", headers=good).status_code == 200
        assert 'bookkeeper_refused_total{cause="throttled",error="Unauthenticated"} 2.0' in client.get("/metrics").text


# -- Processes ---------------------------------------------------------------------------------------------------------


def started(scene: Scene, nonce: str, project: str = "zmumu") -> int:
    """Start a process over HTTP; its number."""
    call = {"project": project, "nonce": nonce}
    answer = scene.client.post(
        "/v1/ledger/start_process", json=call, headers={"authorization": f"Bearer {scene.tokens['zmumu']}"}
    )
    assert answer.status_code == 200, answer.text
    return int(scene.catalog.sql("SELECT max(id) AS id FROM processes")[0]["id"])


def state(scene: Scene) -> list[dict[str, Any]]:
    """What the ledger holds."""
    return [
        *scene.catalog.sql("SELECT id, state, delivered, reason FROM processes ORDER BY id"),
        *scene.catalog.sql("SELECT request_id, file_id, state, process_id FROM ledger ORDER BY 1, 2"),
        *scene.catalog.sql("SELECT process_id, file_id, state FROM deliveries ORDER BY 1, 2"),
    ]


def verbs(scene: Scene) -> list[Route]:
    return [route for route in scene.jobs() if "start_process" not in route.path]


def test_a_process_speaks_for_itself_only(scene: Scene) -> None:
    """Another's token, one of a person, one that was made up, its own public tag: none of them speaks for a process."""
    mine, theirs = started(scene, "nonce-of-mine" * 2), started(scene, "nonce-of-theirs" * 2)
    scene.client.post(
        "/v1/ledger/next_files",
        json={"process": mine, "seq": 1, "limit": 3, "done": []},
        headers={"authorization": f"Bearer {'nonce-of-mine' * 2}"},
    )
    before = state(scene)
    shown = ["nonce-of-theirs" * 2, scene.tokens["admin"], "made up", "' OR 1=1 --", "x" * 10_000]
    with scene.counting(len(shown) * len(verbs(scene)), error="NotFound"):
        for token in shown:
            for route in verbs(scene):
                value = least(route.schema, route.schemas) | {"process": mine}
                said = refusal(scene.send(route, token, value), 404)
                assert token not in json.dumps(said)
    assert state(scene) == before
    assert theirs != mine


def test_a_process_cannot_be_started_for_another_project(scene: Scene) -> None:
    before = state(scene)
    for project in ("ttbar", "zmumu/../ttbar", "zmumu' --", ""):
        answer = scene.client.post(
            "/v1/ledger/start_process",
            json={"project": project, "nonce": "n" * 32},
            headers={"authorization": f"Bearer {scene.tokens['zmumu']}"},
        )
        refusal(answer, 403)
    assert state(scene) == before


def test_replayed_calls_change_nothing(scene: Scene) -> None:
    """Whoever recorded a job's calls and sends them again gets the same answers, and then that it is too late."""
    nonce = "recorded-nonce-of-a-job"
    number = started(scene, nonce)
    mine = {"authorization": f"Bearer {nonce}"}
    recorded = [
        ("start_process", {"project": "zmumu", "nonce": nonce}, {"authorization": f"Bearer {scene.tokens['zmumu']}"}),
        ("next_files", {"process": number, "seq": 1, "limit": 2, "done": []}, mine),
        ("heartbeat", {"process": number}, mine),
        ("roll_back", {"process": number, "reason": "it crashed"}, mine),
    ]

    def say(verb: str, call: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        return scene.client.post(f"/v1/ledger/{verb}", json=call, headers=headers)

    for said in recorded[:-1]:
        first, again = say(*said), say(*said)
        assert first.status_code == again.status_code == 200, first.text
        if said[0] != "heartbeat":
            assert first.json() == again.json()
    assert say(*recorded[-1]).status_code == 200
    before = state(scene)
    for verb, call, headers in recorded:
        answer = say(verb, call, headers)
        assert (verb, answer.status_code) in {
            ("start_process", 410),
            ("next_files", 410),
            ("heartbeat", 410),
            ("roll_back", 200),
        }, (verb, answer.text)
    assert state(scene) == before


def test_a_once_key_gives_its_answer_to_its_caller_only(scene: Scene) -> None:
    def asked(token: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        return scene.client.post(
            "/v1/call/tokens.create?once=k", json={"name": "a", "scope": "read", "by": "x"}, headers=headers
        )

    first, again = asked(scene.tokens["admin"]), asked(scene.tokens["admin"])
    assert first.json() == again.json()
    assert first.json()["token"]
    refusal(asked(scene.tokens["operate"]), 403)


# -- Sizes -------------------------------------------------------------------------------------------------------------


def test_what_is_too_large_is_refused_before_it_is_read(scene: Scene) -> None:
    posts = [route for route in scene.routes if route.method == "POST" and route.media_type == "application/json"]
    with scene.counting(2 * len(posts), error="TooLarge"):
        for route in posts:
            for content in (b"x" * (BODY + 1), (b"x" * 4096 for _ in range(20))):  # with a length, and without
                headers = {"authorization": f"Bearer {scene.tokens['admin']}", "content-type": "application/json"}
                refusal(scene.client.post(route.url(), content=content, headers=headers), 413)


@pytest.mark.parametrize("name", ["authorization", "x-forwarded-for", "content-type", "cookie"])
def test_a_huge_header_breaks_nothing(scene: Scene, name: str) -> None:
    for size in (20_000, 60_000):
        answer = scene.client.get("/v1/projects", headers={name: "a" * size})
        assert answer.status_code in (400, 401, 413, 431)
        plain(answer)
    assert scene.client.get("/healthz").status_code == 200


NOT_JSON = [
    b"",
    b"{",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"[" * 30_000,
    b'{"a":' * 10_000,
    b"NaN",
    b'{"process": 1e400}',
    b'{"process": ' + b"9" * 5000 + b"}",
    b'{"process": 1, "process": 2}',
    b'{"\\ud800": 1}',
]


@pytest.mark.slow
def test_what_is_no_message_is_refused(scene: Scene) -> None:
    for route in scene.routes:
        if route.media_type is None:
            continue
        for content in NOT_JSON:
            headers = {"authorization": f"Bearer {scene.tokens['admin']}", "content-type": route.media_type}
            answer = scene.client.request(route.method, route.url(), content=content, headers=headers)
            plain(answer)
            assert answer.status_code < 500, (str(route), content[:40], answer.text[:300])


# -- Injection ---------------------------------------------------------------------------------------------------------


def payloads(folder: Path) -> list[str]:
    """Texts that would do harm where a program takes them for more than texts."""
    canary = folder / "canary.txt"
    return [
        "' OR '1'='1",
        "x'; DROP TABLE files; --",
        '"; DELETE FROM ledger; --',
        "x' UNION SELECT token, token, token FROM processes --",
        "%' ESCAPE '\\",
        str(canary),
        f"file://{canary}",
        f"../../../../../../../..{canary}",
        f"..%2f..%2f..%2f..{canary}",
        f"x/../../..{canary}\0.root",
        "/etc/passwd",
        "c.db.d/keys.json",
        f"sqlite:///{folder}/c.db",
        f"simplecache::file://{canary}",
        "http://127.0.0.1:9/internal",
        "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
        "{output} {inputs} {process.__class__.__mro__}",
        "$(touch pwned)`touch pwned`|touch pwned",
        "__import__('os').system('touch pwned')",
        "\0\x1b[2J\r\nset-cookie: a=b",
        "‮\ufeff\U0001f4a5" + "a" * 5000,
        "<script>alert(1)</script>",
    ]


def shape(catalog: Catalog) -> list[dict[str, Any]]:
    """The schema, and what must not be less after an attack."""
    return [
        *catalog.sql("SELECT name, sql FROM sqlite_schema ORDER BY name"),
        *catalog.sql("SELECT (SELECT count(*) FROM ledger) AS ledger, (SELECT count(*) FROM snapshot_files) AS files"),
    ]


@pytest.mark.slow
def test_no_field_of_any_route_is_taken_for_more_than_a_text(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each payload in each text of each message, and in each place of each path, with the strongest token there is."""
    monkeypatch.chdir(tmp_path)
    harmless = [route for route in scene.routes if route.path != "/v1/call/sql.query"]
    ledger = shape(scene.catalog)[:-1]
    tried = 0
    for route in harmless:
        whole = least(route.schema, route.schemas, whole=True)
        small = least(route.schema, route.schemas)
        places = [(value, path) for value in (small, whole) for path in texts(value)]
        for payload in payloads(scene.folder):
            for value, path in places:
                answer = scene.send(route, scene.tokens["admin"], put(value, path, payload))
                tried += 1
                assert answer.status_code < 500 or answer.status_code == 503, (
                    str(route),
                    path,
                    payload,
                    answer.text[:500],
                )
                plain(answer)
            if route.places:
                answer = scene.send(route, scene.tokens["admin"], place=payload)
                tried += 1
                assert answer.status_code < 500, (str(route), payload, answer.text[:500])
                plain(answer)
                assert "set-cookie" not in answer.headers
    assert tried > 2000
    assert shape(scene.catalog)[: len(ledger)] == ledger
    assert scene.catalog.check() == []
    assert not list(tmp_path.iterdir())
    assert not list(scene.folder.rglob("pwned")) and not Path("pwned").exists()


def test_a_job_reaches_no_file_of_the_server(scene: Scene) -> None:
    """Each payload in each text that a job says of itself and its outputs, with its own token; then a reopen of it all."""
    canary = scene.folder / "canary.txt"
    count = 0
    for route in verbs(scene):
        whole = least(route.schema, route.schemas, whole=True)
        for path in texts(whole):
            nonce = f"a job that means harm {route} {path}"
            projects.resume(scene.catalog.database, "zmumu")  # it pauses when so many fail
            number = started(scene, nonce)
            for payload in payloads(scene.folder)[5:15]:
                answer = scene.send(route, nonce, put(whole, path, payload) | {"process": number})
                count += 1
                assert answer.status_code < 500, (str(route), path, payload, answer.text[:500])
                plain(answer)
    assert count > 100
    output = {
        "key": "o",
        "destination": str(scene.folder),
        "temp_url": str(canary),
        "final_url": str(scene.folder / "x"),
    }
    output |= {"size": len(CANARY), "checksum": "adler32:00000001", "entries": None, "unproved": None}
    for case in ("temporary", "final"):
        projects.resume(scene.catalog.database, "zmumu")
        nonce = f"a job whose {case} name is not its own"
        number = started(scene, nonce)
        upload = f"{scene.folder}/.bookkeeper/{number}-{tag(nonce)}-0/x"
        there = (
            {} if case == "temporary" else {"temp_url": upload, "destination": "/elsewhere", "final_url": str(canary)}
        )
        call = {"process": number, "manifest": {"files": [], "outputs": [output | there], "no_output": False}}
        answer = scene.client.post("/v1/ledger/commit", json=call, headers={"authorization": f"Bearer {nonce}"})
        assert refusal(answer, 409)["error"] == "RolledBack"
    assert canary.read_text() == CANARY
    assert scene.catalog.sql("SELECT count(*) AS n FROM outputs") == [{"n": 0}]
    assert scene.catalog.check() == []


NUMBERS = ["-1", "0", "9" * 5000, str(2**63), "1e400", "NaN", "0x10", "१२"]


@pytest.mark.parametrize("path", [*PATHS, "/static/{version}/{name}"])
def test_no_page_takes_an_address_for_more_than_a_text(scene: Scene, path: str) -> None:
    """In each place of the path, and in everything that the pages read from a query; none answers with what is active."""
    for payload in [*payloads(scene.folder), *NUMBERS]:
        place = re.sub(r"\{\w+\}", quote(payload, ""), path)
        query = dict.fromkeys(("q", "name", "state", "after", "before", "newest", "sort", "project", "kind"), payload)
        for asked in ({}, query):
            answer = scene.client.get(place or "/", params=asked)
            assert answer.status_code < 500, (path, payload, answer.text[-500:])
            plain(answer)
            assert "<script>alert" not in answer.text
            assert "set-cookie" not in answer.headers
            assert "49" + "$" not in answer.text


SQL = [
    "DROP TABLE files",
    "UPDATE ledger SET state = 'available'",
    "SELECT 1; DELETE FROM events",
    "ATTACH DATABASE '{folder}/other.db' AS other",
    "PRAGMA writable_schema = 1",
    "SELECT load_extension('x')",
    "SELECT writefile('pwned', 'x')",
    "SELECT readfile('{folder}/canary.txt')",
    "VACUUM INTO '{folder}/stolen.db'",
]


@pytest.mark.parametrize("statement", SQL)
def test_a_query_only_reads_the_catalog(scene: Scene, statement: str) -> None:
    before = state(scene)
    headers = {"authorization": f"Bearer {scene.tokens['read']}"}
    route = next(route for route in scene.routes if route.path == "/v1/call/sql.query")
    (name, *_) = resolved_names(route)
    answer = scene.client.post(route.path, json={name: statement.format(folder=scene.folder)}, headers=headers)
    refusal(answer, 400)
    assert state(scene) == before
    assert sorted(path.name for path in scene.folder.glob("*.db")) == ["c.db"]


def test_a_query_tells_no_secret(scene: Scene) -> None:
    started(scene, "a nonce that nobody is told of")
    route = next(route for route in scene.routes if route.path == "/v1/call/sql.query")
    (name, *_) = resolved_names(route)
    for table in ("processes", "tokens", "events"):
        answer = scene.client.post(
            route.path,
            json={name: f"SELECT * FROM {table}"},
            headers={"authorization": f"Bearer {scene.tokens['read']}"},
        )
        assert answer.status_code == 200, answer.text
        for token in scene.tokens.values():
            assert token.rpartition(".")[2] not in answer.text
    stored = scene.catalog.database.rows("SELECT token FROM processes")
    assert {row["token"] for row in stored} == {None}


def resolved_names(route: Route) -> list[str]:
    from attacking import resolved

    return list(resolved(route.schema, route.schemas)["properties"])
