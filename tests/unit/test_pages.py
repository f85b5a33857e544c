"""The pages: what they show of a catalog in which everything happened, that they are in order, and that nothing gets out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from bookkeeper import logs, nodes, projects
from bookkeeper.api import Catalog
from bookkeeper.process import Process
from bookkeeper.server import Settings
from bookkeeper.server.assembly import parts_of
from bookkeeper.server.guarding import Open
from bookkeeper.server.pages import render, router
from browsing import Browser, Element, faults, read
from goodcatalog import lived, produce, started
from ledgers import new_postgres_catalog

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made, _ = lived(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    """The same in every database."""
    made, _ = lived(tmp_path, new_postgres_catalog() if request.param == "postgresql" else None)
    yield made
    made.close()


@pytest.fixture
def client(catalog: Catalog) -> Browser:
    return Browser(app_of(catalog))


def app_of(catalog: Catalog, **options: Any) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.include_router(router(catalog.database, **options))
    return app


def page(client: Browser, path: str, status: int = 200) -> Element:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    read_ = read(answer.text)
    assert not faults(read_)
    return read_


def section(page: Element, name: str) -> Element:
    return page.one("section", aria_labelledby=name)


def test_overview_tells_what_needs_attention_first(client: Browser) -> None:
    shown = page(client, "/")
    cards = shown.one("ul", class_="requests").all("li")
    assert [card.one("h2").text for card in cards] == ["mass", "parts"]
    assert "attention" in cards[0].attributes["class"] and "1 parked" in cards[0].text
    assert "1 request needs attention" in shown.one("main").text
    assert cards[0].one("a").attributes["href"] == "/projects/mass"


def test_paused_comes_before_running_and_complete_last(tmp_path: Path) -> None:
    catalog, first = started(tmp_path, 2)
    produce(first.start_process(), tmp_path)
    for name in ("running", "paused", "ended"):
        catalog.start_project(name, dataset="all")
    projects.pause(catalog.database, "paused", "the disk is full")
    projects.end(catalog.database, "ended")
    catalog.project("running").start_process(lease="1h").next_files(1)
    client = Browser(app_of(catalog))
    cards = page(client, "/").all("li", class_="attention") + page(client, "/").all("li")
    names = [card.one("h2").text for card in cards]
    assert names == ["paused", "ended", "paused", "ended", "running", "mass"]
    assert "the disk is full" in cards[0].text


def test_request_says_what_counts_and_why_the_rest_does_not(client: Browser) -> None:
    shown = page(client, "/projects/mass")
    assert shown.one("ul", class_="key").text.split() == [
        "5",
        "committed",
        "2",
        "held",
        "1",
        "parked",
        "4",
        "available",
    ]
    why = {row[2]: (row[0], row[1]) for row in section(shown, "why").one("table").rows()}
    assert why["known to be bad"] == ("1", "parked") and why["held by a live process"] == ("2", "held")
    assert [row[0] for row in section(shown, "parked").one("table").rows()] == ["f11"]
    assert [row[0] for row in section(shown, "processes").one("table").rows()] == ["6", "5", "4", "3", "2", "1"]
    assert "the payload crashed" in section(shown, "failures").text
    assert "run it on the same file" in section(shown, "failures").text
    assert len(section(shown, "figures").all("svg")) == 2
    assert "file.parked" in section(shown, "events").text
    assert shown.one("body").attributes["data-live"] == "2"


def test_every_project_of_a_request_shows_the_request(client: Browser, catalog: Catalog) -> None:
    names = [row["project"] for row in projects.list_all(catalog.database) if row["request"] == "mass"]
    assert len(names) == 2
    assert {page(client, f"/projects/{name}").one("h1").text for name in names} == {"mass"}


def test_process_shows_files_outputs_and_the_failure(client: Browser) -> None:
    good = page(client, "/processes/1")
    assert [row[:2] for row in section(good, "files").one("table").rows()] == [["f00", "consumed"], ["f01", "consumed"]]
    assert section(good, "outputs").one("table").rows()[0][:2] == ["mass-1.txt", "published"]
    assert not good.all("section", aria_labelledby="failure")
    bad = page(client, "/processes/2")
    assert bad.one("h1").text == "Process 2" and "rolled back" in bad.one("main").text
    assert "the payload crashed" in section(bad, "failure").text and "decided: strike" in section(bad, "failure").text


def test_log_tail_is_the_end_without_secrets_and_can_be_hidden(client: Browser, catalog: Catalog) -> None:
    out, _ = logs.paths(catalog.database, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(f"line {number}\n" for number in range(5000)) + "password=abcdefgh12345\n")
    text = section(page(client, "/processes/1"), "logs").text
    assert "line 4999" in text and "line 4000" not in text and "abcdefgh12345" not in text and "[hidden]" in text
    assert client.get("/processes/1").headers["cache-control"] == "no-store"
    other = Browser(app_of(catalog, logs=False))
    assert "line 4999" not in other.get("/processes/1").text


def test_file_shows_where_it_stands_and_every_delivery(client: Browser) -> None:
    shown = page(client, "/files?name=f02")
    stands = {row[0]: row[1] for row in section(shown, "stands").one("table").rows()}
    assert set(stands) == {name for name in stands if name.split()[0] in ("mass", "parts")} and len(stands) == 2
    assert {row[0] for row in section(shown, "deliveries").one("table").rows()} >= {"2"}
    assert "known to be bad" in section(page(client, "/files?name=f11"), "stands").text


def test_nodes_are_counted_and_exclusions_told(client: Browser, catalog: Catalog) -> None:
    nodes.exclude(catalog.database, "bad-node", reason="it eats files")
    rows = {row[0]: row for row in page(client, "/nodes").one("table").rows()}
    assert "it eats files" in rows["bad-node"][-1]
    assert "bad-node" in page(client, "/").one("main").text


@pytest.mark.parametrize(
    ("path", "said", "near"),
    [
        ("/projects/mas", "mas", "/projects/mass"),
        ("/projects/mas/processes", "mas", "/projects/mass"),
        ("/files?name=f0", "f0", "/files?name=f00"),
        ("/processes/99", "there is no process 99", None),
        ("/processes/x", "x", None),
        ("/nothing", "/nothing", "/"),
        ("/projects/mass/processes?state=odd", "odd", "/projects/mass/processes?state=all"),
        ("/search?q=f0", "f0", "/files?name=f00"),
    ],
)
def test_missing_is_named_with_what_is_near(client: Browser, path: str, said: str, near: str | None) -> None:
    shown = page(client, path, 404)
    assert said in shown.one("main").text
    if near:
        assert near in [link.attributes["href"] for link in shown.one("main").all("a")]


@pytest.mark.parametrize(
    ("wanted", "found"), [("2", "/processes/2"), ("mass", "/projects/mass"), ("f03", "/files?name=f03"), ("", "/")]
)
def test_search_goes_to_what_has_the_name(client: Browser, wanted: str, found: str) -> None:
    answer = client.get("/search", params={"q": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, found)


def test_every_link_leads_somewhere_and_every_page_is_in_order(any_catalog: Catalog) -> None:
    """Below another path, as behind a proxy: no link leaves it, none is broken."""
    app = Starlette(routes=[Mount("/pages", app=app_of(any_catalog))])
    seen: set[str] = set()
    client = Browser(app, follow=True)
    waiting = ["/pages/"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        shown = read(answer.text)
        assert not faults(shown), path
        assert "None" not in shown.one("main").text, path
        for element in shown.all():
            for name in ("href", "src", "action"):
                target = element.attributes.get(name, "#")
                if not target.startswith("#"):
                    whole = urljoin(path, target)
                    assert urlsplit(whole).netloc == "" and whole.startswith("/pages/"), target
                    waiting.append(whole)
    assert len(seen) > 30


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path, 2)
    catalog.declare_files([{"name": f"{HOSTILE}.root", "size": 1, "checksum": "adler32:00000001",
                            "metadata": {"run": HOSTILE}, "locations": [f"root://{HOSTILE}"]}])  # fmt: skip
    catalog.define_dataset("bad", names=["<*"])
    bad = catalog.start_project("bad", dataset="bad")
    process: Process = bad.start_process(node=HOSTILE, job_id=HOSTILE, executor=HOSTILE)
    process.next_files(1)[0].opened()
    process.record(f"odd.{HOSTILE}", {HOSTILE: HOSTILE, "list": [HOSTILE]})
    process.roll_back(HOSTILE)
    nodes.exclude(catalog.database, HOSTILE, reason=HOSTILE)
    bad.park([f"{HOSTILE}.root"], HOSTILE)
    projects.pause(catalog.database, "bad", HOSTILE)
    out, err = logs.paths(catalog.database, process.id)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(HOSTILE)
    err.write_bytes(b"\xff\x00 \x1b[31m" + HOSTILE.encode())
    name, flat = quote(f"{HOSTILE}.root", safe=""), quote(HOSTILE.replace("/", ""))
    paths = ["/", "/nodes", "/projects/bad", f"/processes/{process.id}", f"/files?name={name}", "/projects/bad/parked",
             "/projects/bad/processes", "/projects/bad/events"]  # fmt: skip
    paths += [f"/{flat}", f"/projects/{flat}", f"/search?q={name}x", f"/files?name={name}x"]
    client = Browser(app_of(catalog))
    for path in paths:
        text = client.get(path).text
        assert not faults(read(text)), path
        assert "<script>alert" not in text and "alert(1)" in text, path
        assert "{{7*7}}" in read(text).text, path


WEIRD = [b"\0", b"a\0b", b"\xff\xfe", "٣".encode(), b"'; DROP TABLE files;--", b"%s", b"../../etc/passwd", b"x" * 5000,
         b"9" * 18, b"9" * 30, b"-1", b"1e9"]  # fmt: skip


def test_whatever_is_asked_is_answered_in_order(any_catalog: Catalog) -> None:
    client = Browser(app_of(any_catalog))
    for path in ("/projects/{}", "/processes/{}", "/files?name={}", "/search?q={}", "/{}", "/?before={}",
                 "/projects/mass/processes?state={}", "/projects/mass/processes?before={}", "/projects/mass/parked?after={}",
                 "/projects/mass/events?before={}", "/processes/1?after={}", "/files?name=f00&before={}"):  # fmt: skip
        for text in WEIRD:
            answer = client.get(path.format(quote(text, safe="")))
            assert answer.status_code in (200, 404), (path, text)
            assert "traceback" not in answer.text.lower() and "psycopg" not in answer.text


def test_tokens_are_never_shown(client: Browser, catalog: Catalog) -> None:
    with catalog.database.transaction() as tx:
        tokens = [row[0] for row in tx.run("SELECT token FROM processes").fetchall()]
    texts = [client.get(f"/processes/{number}").text for number in range(1, 8)] + [client.get("/projects/mass").text]
    assert len(tokens) == 7 and not [token for token in tokens for text in texts if token in text]


def test_pages_are_read_only_and_strict(client: Browser) -> None:
    assert {client.request(verb, "/projects/mass").status_code for verb in ("POST", "PUT", "DELETE")} == {405}
    headers = client.get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_page_that_did_not_change_is_not_sent_again(client: Browser) -> None:
    first = client.get("/nodes")
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.get("/nodes", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/projects/mas").headers["cache-control"] == "no-store"


def test_static_files_may_be_kept_for_ever_at_their_address(client: Browser) -> None:
    for name, kind in render.STATIC.items():
        found = client.get(f"/static/{render.version_of_static()}/{name}")
        assert found.headers["content-type"] == kind and "immutable" in found.headers["cache-control"]
        assert "immutable" not in client.get(f"/static/old/{name}").headers["cache-control"]
    assert client.get("/static/x/..%2froutes.py").status_code == 404
    assert client.get("/static/x/nothing.css").status_code == 404


def test_lists_are_paged_by_keys(tmp_path: Path) -> None:
    catalog, project = started(tmp_path, 99)
    for _ in range(60):
        project.start_process().roll_back("nothing to do")
    project.park([f"f{number:02}" for number in range(70)], "bad")
    client = Browser(app_of(catalog))
    for what, key, count in (("processes", "p", 60), ("parked", "f", 70), ("events", "e", 71)):
        path, seen = f"/projects/mass/{what}", []
        while path:
            shown = page(client, path)
            rows = [one.attributes["data-key"] for one in shown.all() if "data-key" in one.attributes]
            assert 0 < len(rows) <= 50
            seen += rows
            following = shown.all("a", rel="next")
            path = urljoin(path, following[0].attributes["href"]) if following else ""
        assert len(seen) == len(set(seen)) == count, what
        numbers = [int(one.removeprefix(key)) for one in seen]
        assert numbers == sorted(numbers, reverse=what != "parked")


def test_more_than_can_be_made_is_refused_for_now(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    from bookkeeper.server.pages import routes

    monkeypatch.setattr(routes, "WAITING", 0)
    client = Browser(app_of(catalog))
    answer = client.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_empty_catalog_says_how_to_start(tmp_path: Path) -> None:
    from bookkeeper.api import create_catalog

    made = create_catalog(f"sqlite:///{tmp_path}/c.db")
    client = Browser(app_of(made))
    assert "bookkeeper project start" in page(client, "/").one("main").text
    assert page(client, "/nodes") and page(client, "/processes/1", 404)


def test_server_can_leave_the_logs_out(catalog: Catalog) -> None:
    out, _ = logs.paths(catalog.database, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("what it said")
    for shown in (True, False):
        parts = parts_of(catalog.database, open_to_all=True, settings=Settings(logs=shown))
        assert parts.pages is not None
        app = FastAPI(openapi_url=None)
        app.include_router(parts.pages(catalog.database, Open()))
        assert ("what it said" in Browser(app).get("/processes/1").text) is shown
