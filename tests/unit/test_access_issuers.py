"""Tokens of other issuers: verified with the keys that a real issuer publishes over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from bookkeeper.access import Guard, Identity
from bookkeeper.access.issuers import Issuers
from bookkeeper.errors import Forbidden, Unauthenticated, UsageError
from forging import by_hmac, unsigned, with_claims, with_header
from issuing import Issuer, an_issuer
from ledgers import new_catalog

AUDIENCE = "https://bookkeeper.example.org"


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with an_issuer() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def configuration(issuer: Issuer, *, profile: str = "wlcg", extra: str = "") -> str:
    return f"""
[[issuer]]
url = "{issuer.url}"
audience = "{AUDIENCE}"
profile = "{profile}"
{extra}
grant = [
    {{ group = "/cms", allow = "read" }},
    {{ group = "/cms/production", allow = "operate" }},
    {{ scope = "compute.create", allow = "work", projects = ["zmumu-mass"] }},
    {{ subject = "boss", group = "/cms", allow = "admin" }},
]
"""


def guard(tmp_path: Path, issuer: Issuer, clock: Clock, **settings: str) -> Guard:
    path = tmp_path / "issuers.toml"
    path.write_text(configuration(issuer, **settings))
    database = new_catalog(tmp_path / "c.db").database
    return Guard(database, issuers=Issuers.read(path, clock=clock), clock=clock, remember=0.001)


def claims(issuer: Issuer, clock: Clock, **changed: Any) -> dict[str, Any]:
    now = int(clock())
    usual = {
        "iss": issuer.url,
        "sub": "7f1c",
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + 1200,
        "jti": "1",
        "wlcg.ver": "1.1",
        "wlcg.groups": ["/cms", "/cms/production"],
    }
    return {name: value for name, value in (usual | changed).items() if value is not None}


def shown(guard: Guard, token: str) -> Identity:
    return guard.identify(f"Bearer {token}")


def cause(guard: Guard, token: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        shown(guard, token)
    assert token not in str(refused.value) + refused.value.remedy
    return refused.value.cause


def test_groups_become_scopes(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    identity = shown(guard(tmp_path, issuer, clock), issuer.sign(claims(issuer, clock)))
    assert (identity.name, identity.scope, identity.issuer) == ("7f1c@127.0.0.1", "operate", issuer.url)
    identity.require("operate", "any-project")
    with pytest.raises(Forbidden):
        identity.require("admin")


def test_capabilities_become_scopes_in_their_projects(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    token = issuer.sign(claims(issuer, clock, scope="storage.read:/ compute.create", **{"wlcg.groups": None}))
    identity = shown(guard(tmp_path, issuer, clock), token)
    identity.require("work", "zmumu-mass")
    for scope, project in (("work", "ttbar"), ("work", None), ("operate", "zmumu-mass")):
        with pytest.raises(Forbidden):
            identity.require(scope, project)


@pytest.mark.parametrize("groups", [["/cms/production-not"], ["/atlas"], "/cms", None, [["/cms"]]])
def test_who_has_no_grant_may_nothing(tmp_path: Path, issuer: Issuer, clock: Clock, groups: Any) -> None:
    identity = shown(guard(tmp_path, issuer, clock), issuer.sign(claims(issuer, clock, **{"wlcg.groups": groups})))
    with pytest.raises(Forbidden, match="no scope"):
        identity.require("read")


def test_all_that_a_grant_names_must_be_so(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    door = guard(tmp_path, issuer, clock)
    shown(door, issuer.sign(claims(issuer, clock, sub="boss"))).require("admin")
    token = issuer.sign(claims(issuer, clock, sub="boss", **{"wlcg.groups": ["/atlas"]}))
    assert shown(door, token).scope is None


def test_scitokens(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    door = guard(tmp_path, issuer, clock, profile="scitokens")
    capable = claims(issuer, clock, scope="compute.create", ver="scitoken:2.0", **{"wlcg.ver": None})
    shown(door, issuer.sign(capable)).require("work", "zmumu-mass")
    assert cause(door, issuer.sign(capable | {"ver": "scitoken:1.0"})) == "version"
    assert cause(door, issuer.sign(claims(issuer, clock))) == "version"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": -3600, "iat": -7200, "nbf": -7200}, "expired"),
    "not yet valid": ({"nbf": 3600}, "not-yet-valid"),
    "issued in the future": ({"iat": 3600, "exp": 7200}, "not-yet-valid"),
    "without an end": ({"exp": None}, "malformed"),
    "an end that is no number": ({"exp": "never"}, "malformed"),
    "an end that is huge": ({"exp": 10**400}, "malformed"),
    "lives too long": ({"exp": 90000}, "lifetime"),
    "without a beginning": ({"iat": None}, "lifetime"),
    "for another service": ({"aud": "https://storage.example.org"}, "audience"),
    "for any service": ({"aud": ["https://wlcg.cern.ch/jwt/v1/any", "ANY"]}, "audience"),
    "for nobody": ({"aud": None}, "audience"),
    "another version": ({"wlcg.ver": "2.0"}, "version"),
    "no version": ({"wlcg.ver": None}, "version"),
    "no subject": ({"sub": None}, "malformed"),
    "a subject that drives a terminal": ({"sub": "\x1b[2J"}, "malformed"),
    "another issuer": ({"iss": "https://evil.example.org"}, "issuer"),
    "an issuer that is a list": ({"iss": ["https://evil.example.org"]}, "issuer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_that_does_not_hold_is_refused(tmp_path: Path, issuer: Issuer, clock: Clock, case: str) -> None:
    changed, expected = REFUSED[case]
    relative = {
        name: int(clock()) + value if name in ("exp", "iat", "nbf") and isinstance(value, int) else value
        for name, value in changed.items()
    }
    assert cause(guard(tmp_path, issuer, clock), issuer.sign(claims(issuer, clock, **relative))) == expected


def test_forged_tokens(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    door, good = guard(tmp_path, issuer, clock), claims(issuer, clock)
    stranger = RSAKey.generate_key(2048, {"kid": "first"})
    assert cause(door, jwt.encode({"alg": "RS256", "kid": "first"}, good, stranger)) == "signature"
    for public in (issuer.keys["first"].as_pem(private=False), issuer.keys["first"].as_der(private=False)):
        assert cause(door, by_hmac({"kid": "first"}, good, public)) == "algorithm"
    assert cause(door, unsigned({"kid": "first"}, good)) == "algorithm"
    assert cause(door, with_claims(issuer.sign(good), sub="boss")) == "signature"
    assert cause(door, with_header(issuer.sign(good), alg="ES256")) == "signature"


def test_a_key_of_another_kind_than_the_algorithm_is_refused(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    issuer.add("curve", "EC")
    door = guard(tmp_path, issuer, clock)
    assert shown(door, issuer.sign(claims(issuer, clock), by="curve")).scope == "operate"
    crossed = jwt.encode({"alg": "RS256", "kid": "curve"}, claims(issuer, clock), issuer.keys["first"])
    assert cause(door, crossed) == "signature"


def test_keys_are_fetched_once_and_again_for_a_new_name(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    door = guard(tmp_path, issuer, clock)
    for number in range(3):
        shown(door, issuer.sign(claims(issuer, clock, jti=str(number))))
    assert issuer.asked == 1
    issuer.add("second")
    token = issuer.sign(claims(issuer, clock), by="second")
    assert cause(door, token) == "key"  # asked a moment ago: unknown names do not make it ask more
    assert issuer.asked == 1
    clock.now += 31
    shown(door, token)
    assert issuer.asked == 2
    for number in range(20):
        assert cause(door, issuer.sign(claims(issuer, clock), kid=f"made up {number}")) == "key"
    assert issuer.asked == 2


def test_known_keys_serve_while_the_issuer_is_down_for_a_day(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    door = guard(tmp_path, issuer, clock)
    issuer.down = True
    assert cause(door, issuer.sign(claims(issuer, clock))) == "issuer-unavailable"
    issuer.down = False
    clock.now += 31
    shown(door, issuer.sign(claims(issuer, clock)))
    issuer.down = True
    clock.now += 23 * 3600
    shown(door, issuer.sign(claims(issuer, clock)))
    clock.now += 2 * 3600
    assert cause(door, issuer.sign(claims(issuer, clock))) == "issuer-unavailable"


def test_a_withdrawn_key_ends_with_the_hour(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    door = guard(tmp_path, issuer, clock)
    issuer.add("second")
    shown(door, issuer.sign(claims(issuer, clock)))
    issuer.published = [issuer.keys["second"].as_dict(private=False)]
    clock.now += 3601
    assert cause(door, issuer.sign(claims(issuer, clock))) == "key"


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://another.example.org"},
        {"jwks_uri": "http://keys.example.org/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
        {"jwks_uri": None},
    ],
)
def test_a_discovery_document_that_misleads_is_not_followed(
    tmp_path: Path, issuer: Issuer, clock: Clock, about: dict[str, Any]
) -> None:
    issuer.about |= about
    assert cause(guard(tmp_path, issuer, clock), issuer.sign(claims(issuer, clock))) == "issuer-unavailable"


@pytest.mark.parametrize(
    "answer",
    [b"", b"not json", b"[]", b'{"keys": {}}', b'{"keys": [7]}', b'{"keys": []}', b"[" * 100_000, b" " * 300_000],
)
def test_published_keys_that_are_none_are_refused(tmp_path: Path, issuer: Issuer, clock: Clock, answer: bytes) -> None:
    issuer.answers["/jwks"] = answer
    assert cause(guard(tmp_path, issuer, clock), issuer.sign(claims(issuer, clock))) == "issuer-unavailable"


def test_published_keys_that_must_not_verify_are_left_out(tmp_path: Path, issuer: Issuer, clock: Clock) -> None:
    good = issuer.keys["first"].as_dict(private=False)
    symmetric = {"kty": "oct", "kid": "shared", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA"}
    issuer.published = [symmetric, {**good, "kid": "encrypts", "use": "enc"}, {"kty": "RSA", "kid": "broken"}, good]
    door = guard(tmp_path, issuer, clock)
    shown(door, issuer.sign(claims(issuer, clock)))
    shared = b"secret secret secret secret secret"
    assert cause(door, by_hmac({"kid": "shared"}, claims(issuer, clock), shared)) == "algorithm"
    assert cause(door, issuer.sign(claims(issuer, clock), kid="encrypts")) == "key"


BAD = {
    "no toml": ("[[issuer", "TOML|Expected|expected"),
    "plain http": ('url = "http://iam.example.org"', "no https address"),
    "an unknown word": ('url = "https://i.example.org"\ncolour = "red"', "colour"),
    "no audience": (
        'url = "https://i.example.org"\nprofile = "wlcg"\ngrant = [{ group = "/x", allow = "read" }]',
        "audience",
    ),
    "no grants": ('url = "https://i.example.org"\naudience = "a"\nprofile = "wlcg"\ngrant = []', "length"),
    "for everybody": (
        'url = "https://i.example.org"\naudience = "a"\nprofile = "wlcg"\ngrant = [{ allow = "read" }]',
        "for everybody",
    ),
    "an unknown scope": (
        'url = "https://i.example.org"\naudience = "a"\nprofile = "wlcg"\ngrant = [{ group = "/x", allow = "root" }]',
        "root",
    ),
    "a read that is confined": (
        'url = "https://i.example.org"\naudience = "a"\nprofile = "wlcg"\n'
        'grant = [{ group = "/x", allow = "read", projects = ["p"] }]',
        "confines",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, case: str) -> None:
    text, words = BAD[case]
    if case == "plain http":
        text += '\naudience = "a"\nprofile = "wlcg"\ngrant = [{ group = "/x", allow = "read" }]'
    path = tmp_path / "issuers.toml"
    path.write_text(text if text.startswith("[") else f"[[issuer]]\n{text}\n")
    with pytest.raises(UsageError, match=words) as refused:
        Issuers.read(path)
    assert str(path) in str(refused.value)


def test_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Issuers.read(tmp_path / "none.toml")


def test_an_address_must_be_safe_or_of_this_host() -> None:
    from bookkeeper.access.published import secure

    for good in ("https://iam.example.org/x", "http://127.0.0.1:80", "http://localhost/", "http://[::1]:8/"):
        assert secure(good) == good
    for bad in ("http://iam.example.org", "https://", "ftp://x", "https://a:b@x", "http://127.0.0.1.evil.org", "x"):
        with pytest.raises(ValueError, match="no https address"):
            secure(bad)


def test_names_in_json_are_not_mixed_up(issuer: Issuer) -> None:
    """The test's issuer publishes no private half."""
    assert "d" not in json.loads(issuer.answer("/jwks") or b"")["keys"][0]
