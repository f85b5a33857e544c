"""Tokens of the catalog: what holds, what is refused and why, and that the secret is nowhere but in the token."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from joserfc import jws, jwt
from joserfc.jwk import OKPKey

from bookkeeper import Catalog, access, create_catalog, open_catalog
from bookkeeper.access import Guard
from bookkeeper.backup import backup
from bookkeeper.errors import CatalogError, Forbidden, NotFound, Unauthenticated, UsageError
from bookkeeper.ledger.restore import put_to_use
from forging import by_hmac, contents, part, unsigned, with_claims, with_header
from ledgers import new_catalog
from services import postgres


class Clock:
    """Goes with the time of day until a test stops it at ``stopped``; ``ahead`` of it."""

    def __init__(self) -> None:
        self.stopped: float | None = None
        self.ahead = 0.0

    def __call__(self) -> float:
        return (time.time() if self.stopped is None else self.stopped) + self.ahead


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = new_catalog(tmp_path / "c.db")
    catalog.declare_files([{"name": f"f{n}", "size": n, "locations": [f"/data/f{n}"]} for n in range(2)])
    catalog.define_dataset("all", where="name like 'f%'")
    for name in ("zmumu", "ttbar"):
        catalog.start_project(name, dataset="all", application=("a", "b", "1"))
    return catalog


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(catalog: Catalog, clock: Clock) -> Guard:
    return Guard(catalog.database, clock=clock)


def cause(guard: Guard, header: str | None) -> str:
    guard.forget()
    with pytest.raises(Unauthenticated) as refused:
        guard.identify(header)
    assert header is None or len(header) < 20 or header[10:] not in f"{refused.value!r} {refused.value.remedy}"
    return refused.value.cause


def a_token(catalog: Catalog, **asked: str) -> str:
    return access.create(catalog.database, "alice", **{"scope": "work", **asked}).token


def private_key(catalog: Catalog) -> tuple[OKPKey, str]:
    key = access.KeyFile(catalog.database.folder).signing()
    assert key is not None
    return key.key, key.kid


def test_a_token_tells_who_it_is_and_what_it_may(catalog: Catalog, guard: Guard) -> None:
    made = access.create(catalog.database, "alice", scope="operate")
    identity = guard.identify(f"Bearer {made.token}")
    assert (identity.name, identity.scope, identity.token) == ("alice", "operate", made.id)
    for scope in ("read", "work", "operate"):
        identity.require(scope, "zmumu")
    for scope in ("admin", "root", ""):
        with pytest.raises(Forbidden) as refused:
            identity.require(scope)
        assert refused.value.cause == "scope"


def test_a_confined_token_works_in_its_request_only(catalog: Catalog, guard: Guard) -> None:
    recovery = catalog.project("zmumu").recover()
    assert recovery is not None
    made = access.create(catalog.database, "batch", scope="work", projects=[recovery.name, "zmumu"])
    assert made.projects == ["zmumu"]
    identity = guard.identify(f"Bearer {made.token}")
    identity.require("work", "zmumu")
    identity.require("work", recovery.name)
    identity.require("read")
    identity.require("read", "ttbar")
    for project in ("ttbar", "zmumu2", "", "zmumu' OR 1=1 --", None):
        with pytest.raises(Forbidden) as refused:
            identity.require("work", project)
        assert refused.value.cause == "project"


def test_scheme_and_spaces_are_read_as_the_standard_says(catalog: Catalog, guard: Guard) -> None:
    token = a_token(catalog)
    for header in (f"Bearer {token}", f"bearer   {token} ", f"BEARER {token}"):
        assert guard.identify(header).name == "alice"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "missing"),
        ("", "missing"),
        ("   ", "missing"),
        ("Bearer", "malformed"),
        ("Bearer ", "malformed"),
        ("Basic YWxpY2U6c2VjcmV0", "malformed"),
        ("Bearer a.b", "malformed"),
        ("Bearer a.b.c", "malformed"),
        ("Bearer a.b.c.d.e", "malformed"),
        ("Bearer ..", "malformed"),
        ("Bearer \x00.\x00.\x00", "malformed"),
        ("Bearer é.é.é", "malformed"),
        ("Bearer " + "a" * 20_000, "oversized"),
        (f"Bearer {part([])}.{part({})}.x", "malformed"),
        (f"Bearer {part({'alg': 'Ed25519'})}.{part([])}.x", "malformed"),
        (f"Bearer {part({'alg': 'Ed25519'})}.{part({})}.x", "issuer"),
        (f"Bearer {part(b'[' * 9000)}.{part({})}.x", "malformed"),
        (f"Bearer {part({'alg': 'Ed25519'})}.{part(b'[' * 9000)}.x", "malformed"),
        (f"Bearer {part({'alg': 'Ed25519'})}.{part(bytes(range(128, 256)))}.x", "malformed"),
    ],
)
def test_garbage_is_refused(guard: Guard, header: str | None, expected: str) -> None:
    assert cause(guard, header) == expected


def test_forged_tokens_are_refused(catalog: Catalog, guard: Guard) -> None:
    token = a_token(catalog)
    header, claims = contents(token)
    key, kid = private_key(catalog)
    stranger = OKPKey.generate_key("Ed25519")
    assert cause(guard, f"Bearer {unsigned(header, claims)}") == "algorithm"
    for public in (key.as_pem(private=False), key.as_der(private=False), key.get_op_key("verify").public_bytes_raw()):
        assert cause(guard, f"Bearer {by_hmac(header, claims, public)}") == "algorithm"
    by_stranger = jwt.encode(header, claims, stranger, algorithms=["Ed25519"])
    assert cause(guard, f"Bearer {by_stranger}") == "signature"
    for name in ("", "../keys", "' OR 1=1 --", stranger.thumbprint(), None, 7, [kid]):
        assert cause(guard, f"Bearer {with_header(token, kid=name)}") == "key"
    own_key = jwt.encode(
        {**header, "kid": stranger.thumbprint(), "jwk": stranger.as_dict(private=False)}, claims, stranger, ["Ed25519"]
    )
    assert cause(guard, f"Bearer {own_key}") == "key"
    for typ in ("JWT", "bookkeeper-ticket+jwt", None):
        assert cause(guard, f"Bearer {with_header(token, typ=typ)}") == "algorithm"
    for algorithm in ("EdDSA", "none", "HS256", None, ["Ed25519"], {}):
        assert cause(guard, f"Bearer {with_header(token, alg=algorithm)}") == "algorithm"


@pytest.mark.parametrize(
    "changed",
    [{"scope": "admin"}, {"sub": "bob"}, {"exp": 2**40}, {"jti": "0"}, {"aud": "x"}, {"projects": None}, {"epoch": 2}],
)
def test_tampered_claims_are_refused(catalog: Catalog, guard: Guard, changed: dict[str, object]) -> None:
    assert cause(guard, f"Bearer {with_claims(a_token(catalog), **changed)}") == "signature"


def test_each_letter_of_the_signature_counts(catalog: Catalog, guard: Guard) -> None:
    token = a_token(catalog)
    start = token.rindex(".") + 1
    for place in range(start, len(token) - 1, 7):
        other = "A" if token[place] != "A" else "B"
        assert cause(guard, f"Bearer {token[:place]}{other}{token[place + 1 :]}") == "signature"
    assert cause(guard, f"Bearer {token[:start]}") == "signature"


def test_a_token_of_another_catalog_is_refused(catalog: Catalog, guard: Guard, tmp_path: Path) -> None:
    other = create_catalog(f"sqlite:///{tmp_path}/other.db")
    assert cause(guard, f"Bearer {a_token(other)}") == "issuer"
    key, kid = private_key_of_new(catalog)
    _, claims = contents(a_token(catalog))
    for audience in (other.id, [catalog.id], None, ""):
        signed = jwt.encode(
            {"alg": "Ed25519", "kid": kid, "typ": "bookkeeper+jwt"}, claims | {"aud": audience}, key, ["Ed25519"]
        )
        assert cause(guard, f"Bearer {signed}") == "audience"


def private_key_of_new(catalog: Catalog) -> tuple[OKPKey, str]:
    a_token(catalog)
    return private_key(catalog)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"scope": "root"}, "malformed"),
        ({"scope": ["admin"]}, "malformed"),
        ({"projects": "zmumu"}, "malformed"),
        ({"projects": []}, "malformed"),
        ({"exp": "never"}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"jti": "unheard-of"}, "revoked"),
        ({"jti": "\ud800"}, "revoked"),
        ({"sub": "bob"}, "signature"),
        ({"scope": "admin"}, "signature"),
        ({"projects": ["zmumu"]}, "signature"),
        ({"epoch": 0}, "revoked"),
        ({"epoch": None}, "revoked"),
    ],
)
def test_what_was_signed_and_is_wrong_is_refused(
    catalog: Catalog, guard: Guard, changed: dict[str, object], expected: str
) -> None:
    header, claims = contents(a_token(catalog))
    body = json.dumps(claims | changed).encode()
    signed = jws.serialize_compact(header, body, private_key(catalog)[0], ["Ed25519"])
    assert cause(guard, f"Bearer {signed}") == expected


def test_a_token_holds_for_its_lifetime_and_the_leeway(catalog: Catalog, guard: Guard, clock: Clock) -> None:
    token = access.create(catalog.database, "alice", scope="read", lifetime=600).token
    header, clock.stopped = f"Bearer {token}", contents(token)[1]["iat"]
    for ahead in (-25, 0, 595, 625):
        clock.ahead = ahead
        assert guard.identify(header).name == "alice"
    clock.ahead = 635
    assert guard.remembered(header) is None
    assert cause(guard, header) == "expired"
    clock.ahead = -60
    assert cause(guard, header) == "not-yet-valid"


def test_a_remembered_token_ends_when_it_ends(catalog: Catalog, clock: Clock) -> None:
    guard = Guard(catalog.database, clock=clock, remember=1e6)
    header = f"Bearer {access.create(catalog.database, 'alice', scope='read', lifetime=600).token}"
    assert guard.identify(header) == guard.remembered(header)
    clock.ahead = 635
    assert guard.remembered(header) is None
    with pytest.raises(Unauthenticated, match="expired"):
        guard.identify(header)


def test_a_revoked_token_is_refused_from_then_on(catalog: Catalog, guard: Guard, clock: Clock) -> None:
    token = a_token(catalog)
    header, clock.stopped = f"Bearer {token}", contents(token)[1]["iat"]
    assert guard.identify(header)
    assert len(access.revoke(catalog.database, "alice")) == 1
    assert guard.identify(header)  # remembered, for a few seconds
    clock.ahead += 6
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="revoked"):
            guard.identify(header)
    assert access.revoke(catalog.database, "alice") == []
    with pytest.raises(NotFound):
        access.revoke(catalog.database, "nobody")


def test_revoking_ends_one_token_or_all_of_a_name(catalog: Catalog, guard: Guard) -> None:
    first, second, third = (access.create(catalog.database, "alice", scope="work") for _ in range(3))
    other = access.create(catalog.database, "bob", scope="work")
    assert access.revoke(catalog.database, second.id) == [second.id]
    assert guard.identify(f"Bearer {first.token}")
    assert cause(guard, f"Bearer {second.token}") == "revoked"
    assert sorted(access.revoke(catalog.database, "alice")) == sorted([first.id, third.id])
    assert guard.identify(f"Bearer {other.token}")
    states = {row["id"]: row["state"] for row in access.list_all(catalog.database)}
    assert [states[one.id] for one in (first, second, third, other)] == ["revoked", "revoked", "revoked", "valid"]


def test_rotation_keeps_what_the_old_key_signed(catalog: Catalog, guard: Guard, clock: Clock) -> None:
    old = access.create(catalog.database, "old", scope="work", lifetime=3600)
    before = private_key(catalog)[1]
    done = access.rotate(catalog.database)
    assert done.verifying == [before]
    assert done.kid != before
    new = access.create(catalog.database, "new", scope="work", lifetime=7200)
    assert contents(new.token)[0]["kid"] == done.kid
    for token in (old, new):
        assert guard.identify(f"Bearer {token.token}").name == token.name
    stored = json.loads(access.KeyFile(catalog.database.folder).path.read_text())["keys"]
    assert ["d" in key for key in stored] == [True, False]  # a retired key signs nothing any more
    assert access.rotate(catalog.database).verifying == [done.kid, before]
    clock.ahead = 3700
    guard.forget()
    assert cause(guard, f"Bearer {old.token}") == "key"
    assert guard.identify(f"Bearer {new.token}")


def test_a_key_without_tokens_goes_at_once(catalog: Catalog) -> None:
    made = access.create(catalog.database, "old", scope="work")
    access.revoke(catalog.database, made.id)
    assert access.rotate(catalog.database).verifying == []
    assert access.rotate(catalog.database).verifying == []


def test_a_compromised_key_ends_everything(catalog: Catalog, guard: Guard) -> None:
    old = access.create(catalog.database, "old", scope="work")
    key, kid = private_key(catalog)
    done = access.rotate(catalog.database, compromised=True)
    assert (done.verifying, done.revoked) == ([], 1)
    assert cause(guard, f"Bearer {old.token}") == "key"
    header, claims = contents(old.token)
    assert cause(guard, f"Bearer {jwt.encode(header | {'kid': done.kid}, claims, key, ['Ed25519'])}") == "signature"
    assert kid != done.kid


def test_a_restored_backup_refuses_the_tokens_of_before(catalog: Catalog, tmp_path: Path) -> None:
    """It cannot know which of them were revoked since."""
    token = a_token(catalog)
    backup(catalog.database, tmp_path / "copy.db")
    access.revoke(catalog.database, "alice")
    folder = tmp_path / "copy.db.d"
    folder.mkdir()
    access.KeyFile(catalog.database.folder).path.rename(folder / "keys.json")
    with open_catalog(f"sqlite:///{tmp_path}/copy.db") as restored:
        put_to_use(restored.database)
        guard = Guard(restored.database)
        assert cause(guard, f"Bearer {token}") == "revoked"
        assert guard.identify(f"Bearer {a_token(restored)}")


def test_keys_that_others_can_read_are_not_used(catalog: Catalog, guard: Guard) -> None:
    header = f"Bearer {a_token(catalog)}"
    path = access.KeyFile(catalog.database.folder).path
    assert path.stat().st_mode & 0o777 == 0o600
    for mode in (0o640, 0o604, 0o620, 0o666):
        path.chmod(mode)
        os.utime(path)
        guard.forget()
        with pytest.raises(CatalogError, match=f"0{mode:o}") as refused:
            Guard(catalog.database).identify(header)
        assert "chmod 600" in refused.value.remedy
        with pytest.raises(CatalogError):
            access.create(catalog.database, "bob", scope="work")
    path.chmod(0o600)
    assert Guard(catalog.database).identify(header)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": 7}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "\0"])
def test_a_file_that_holds_no_keys_is_refused_without_its_content(catalog: Catalog, text: str) -> None:
    header = f"Bearer {a_token(catalog)}"
    path = access.KeyFile(catalog.database.folder).path
    path.write_text(text)
    with pytest.raises(CatalogError, match=r"keys\.json") as refused:
        Guard(catalog.database).identify(header)
    assert "c2VjcmV0" not in f"{refused.value!r}{refused.value.remedy}"


def test_a_link_in_place_of_the_keys_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    header = f"Bearer {a_token(catalog)}"
    path = access.KeyFile(catalog.database.folder).path
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(CatalogError, match=r"keys\.json"):
        Guard(catalog.database).identify(header)


def test_without_keys_nothing_holds(catalog: Catalog, guard: Guard) -> None:
    header = f"Bearer {a_token(catalog)}"
    access.KeyFile(catalog.database.folder).path.unlink()
    assert cause(guard, header) == "key"


def test_what_a_killed_program_left_is_removed(catalog: Catalog) -> None:
    folder = catalog.database.folder
    folder.mkdir(exist_ok=True)
    (folder / ".keys.abc.part").write_text("half a key")
    a_token(catalog)
    assert sorted(path.name for path in folder.iterdir()) == ["keys.json", "keys.lock"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"scope": "root"}, UsageError),
        ({"scope": ""}, UsageError),
        ({"lifetime": 0}, UsageError),
        ({"lifetime": 31 * 86400}, UsageError),
        ({"lifetime": float("nan")}, UsageError),
        ({"projects": ["nobody-has-this"]}, NotFound),
        ({"projects": ["zmumu"], "scope": "admin"}, UsageError),
        ({"projects": ["zmumu"], "scope": "read"}, UsageError),
        ({"name": "../../x"}, UsageError),
        ({"name": ""}, UsageError),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    catalog: Catalog, asked: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        access.create(catalog.database, **{"name": "alice", "scope": "work", **asked})  # type: ignore[arg-type]
    assert access.list_all(catalog.database) == []


def test_the_secret_is_nowhere_but_in_the_token(
    catalog: Catalog, guard: Guard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    made = access.create(catalog.database, "alice", scope="work", projects=["zmumu"])
    identity = guard.identify(f"Bearer {made.token}")
    cause(guard, f"Bearer {made.token}x")
    access.revoke(catalog.database, "alice")
    cause(guard, f"Bearer {made.token}")
    key = access.KeyFile(catalog.database.folder).signing()
    assert key is not None
    private = key.record()["d"]
    access.rotate(catalog.database)
    backup(catalog.database, tmp_path / "copy.db")
    signature = made.token.rpartition(".")[2]
    said = f"{made!r} {identity!r} {guard!r} {key!r} {caplog.text} {access.list_all(catalog.database)}"
    said += str(catalog.sql("SELECT * FROM tokens") + catalog.sql("SELECT * FROM events"))
    written = b"".join(path.read_bytes() for path in tmp_path.glob("*.db*") if path.is_file())
    assert len(written) > 100_000
    for secret in (signature, private):
        assert secret not in said
        assert secret.encode() not in written


def test_events_tell_what_was_done_and_by_whom(catalog: Catalog) -> None:
    made = access.create(catalog.database, "alice", scope="work", by="root")
    access.revoke(catalog.database, made.id, by="boss")
    access.rotate(catalog.database, by="boss")
    told = catalog.sql("SELECT kind, body FROM events WHERE kind LIKE 'token.%' OR kind LIKE 'keys.%' ORDER BY id")
    assert [(row["kind"], json.loads(row["body"])["by"]) for row in told] == [
        ("token.created", "root"),
        ("token.revoked", "boss"),
        ("keys.rotated", "boss"),
    ]


def test_tokens_live_in_postgresql_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with open_catalog(postgres.shared().new()) as catalog:
        catalog.declare_files([{"name": "f", "size": 1}])
        catalog.define_dataset("all", files=["f"])
        catalog.start_project("zmumu", dataset="all", application=("a", "b", "1"))
        made = access.create(catalog.database, "alice", scope="work", projects=["zmumu"], lifetime=60)
        guard = Guard(catalog.database)
        guard.identify(f"Bearer {made.token}").require("work", "zmumu")
        assert len(access.rotate(catalog.database).verifying) == 1
        (row,) = access.list_all(catalog.database)
        assert (row["state"], row["projects"], row["expires_at"] - row["created_at"]) == ("valid", ["zmumu"], 60)
        assert guard.identify(f"Bearer {made.token}").name == "alice"
        assert access.revoke(catalog.database, "alice") == [made.id]
        assert cause(guard, f"Bearer {made.token}") == "revoked"
        access.create(catalog.database, "bob", scope="admin")
        assert access.rotate(catalog.database, compromised=True).revoked == 1
