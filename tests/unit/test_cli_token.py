"""`bookkeeper token`: create, list, revoke, rotate."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from bookkeeper import Catalog, access, create_catalog
from bookkeeper_cli.main import main
from commandline import ok, run


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.chdir(tmp_path)
    return create_catalog("sqlite:///bookkeeper.db")


def name_of(catalog: Catalog, token: str) -> str:
    return access.Guard(catalog.database).identify(f"Bearer {token.strip()}").name


def test_a_token_goes_into_a_file_of_the_owners(catalog: Catalog, tmp_path: Path) -> None:
    made = ok("token", "create", "alice", "--scope", "operate", "--lifetime", "30m", "--out", "alice.token")
    path = tmp_path / "alice.token"
    assert path.stat().st_mode & 0o777 == 0o600
    token = path.read_text()
    assert name_of(catalog, token) == "alice"
    assert token.strip() not in made.out + made.err
    assert "alice may operate" in made.out + made.err


def test_a_file_with_an_older_token_is_replaced_and_another_kept(catalog: Catalog, tmp_path: Path) -> None:
    for _ in range(2):
        ok("token", "create", "alice", "--scope", "read", "--out", "t")
    (tmp_path / "thesis.tex").write_text("four years of work")
    refused = run("token", "create", "alice", "--scope", "read", "--out", "thesis.tex")
    assert (refused.code, (tmp_path / "thesis.tex").read_text()) == (4, "four years of work")
    assert len(access.list_all(catalog.database)) == 2
    assert run("token", "create", "alice", "--scope", "read", "--out", "no/such/folder").code == 2
    assert run("token", "create", "alice", "--scope", "read", "--out", ".").code == 2
    assert len(access.list_all(catalog.database)) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_pipe_gets_the_token_and_nothing_else(catalog: Catalog) -> None:
    made = ok("token", "create", "alice", "--scope", "work")
    assert name_of(catalog, made.out) == "alice"
    assert made.out.count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_no_token_unless_asked(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    for extra, code in (([], 2), (["--show"], 0)):
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        assert main(["token", "create", "alice", "--scope", "work", *extra]) == code
        monkeypatch.undo()
        assert ("eyJ" in screen.getvalue()) is bool(extra)
        monkeypatch.chdir(catalog.database.path.parent)


def test_json_holds_the_token_only_where_no_file_does(catalog: Catalog) -> None:
    piped = ok("token", "create", "alice", "--scope", "work", "--json").json
    assert name_of(catalog, piped["token"]) == "alice"
    filed = ok("token", "create", "alice", "--scope", "work", "--out", "t", "--json").json
    assert filed["file"] == "t"
    assert "token" not in filed


def test_list_shows_what_holds_and_no_secret(catalog: Catalog) -> None:
    token = ok("token", "create", "alice", "--scope", "work").out.strip()
    ok("token", "create", "bob", "--scope", "read")
    ok("token", "revoke", "bob")
    listed = ok("token", "list")
    assert "alice" in listed.out
    assert "bob" not in listed.out
    everything = ok("token", "list", "--all", "--json")
    assert [(row["name"], row["state"]) for row in everything.json] == [("alice", "valid"), ("bob", "revoked")]
    assert token.rpartition(".")[2] not in listed.out + everything.out


def test_revoke_and_rotate_say_what_they_did(catalog: Catalog) -> None:
    made = ok("token", "create", "alice", "--scope", "work", "--json").json
    assert len(ok("token", "rotate", "--json").json["verifying"]) == 1
    assert ok("token", "revoke", made["id"], "--json").json == {"revoked": [made["id"]]}
    assert "no token of alice" in ok("token", "revoke", "alice").out
    assert run("token", "revoke", "nobody").code == 3
    ok("token", "create", "bob", "--scope", "work")
    assert ok("token", "rotate", "--compromised", "--json").json["revoked"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["create", "alice"],
        ["create", "alice", "--scope", "root"],
        ["create", "a b", "--scope", "work"],
        ["create", "alice", "--scope", "work", "--lifetime", "forever"],
        ["create", "alice", "--scope", "work", "--lifetime", "1000d"],
    ],
)
def test_what_makes_no_sense_is_refused(catalog: Catalog, words: list[str]) -> None:
    assert run("token", *words).code == 2
    assert access.list_all(catalog.database) == []
