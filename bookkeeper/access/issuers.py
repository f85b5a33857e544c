"""Issuers other than the catalog itself, trusted by a file ``issuers.toml``: WLCG and SciTokens.

WLCG Common JWT Profiles (https://zenodo.org/records/3460258) and the claims of SciTokens (https://scitokens.org).
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from bookkeeper import durations
from bookkeeper.access.guard import proved, times
from bookkeeper.access.identity import Grant, Identity
from bookkeeper.access.published import PublishedKeys, secure
from bookkeeper.catalog import storable
from bookkeeper.errors import BookkeeperError, Unauthenticated, UsageError
from bookkeeper_schema.states import Scope

ALGORITHMS: Final = ["RS256", "ES256", "ES384", "PS256", "Ed25519"]
"""What foreign tokens may be signed by: signatures with published keys only. WLCG requires RS256 and ES256."""

VERSIONS: Final = {"wlcg": ("wlcg.ver", ("1.",)), "scitokens": ("ver", ("scitoken:2.", "scitokens:2."))}
"""The claim that tells the version of a profile, and how it may begin."""

Texts = Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], msgspec.Meta(min_length=1)]


class GrantRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who, of an issuer's people and jobs, may do what here. All that is named must be so in the token."""

    allow: Scope
    group: str | None = None
    scope: str | None = None
    subject: str | None = None
    projects: Texts | None = None

    def holds(self, claims: dict[str, Any]) -> bool:
        """Tell whether the rule is for a token with these claims."""
        groups = claims.get("wlcg.groups")
        scopes = claims.get("scope")
        return (
            (self.group is None or (isinstance(groups, list) and self.group in groups))
            and (self.scope is None or (isinstance(scopes, str) and self.scope in scopes.split()))
            and (self.subject is None or claims.get("sub") == self.subject)
        )


class IssuerRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One issuer, as the file names it."""

    url: str
    audience: str | Texts
    profile: Literal["wlcg", "scitokens"]
    grant: Annotated[list[GrantRule], msgspec.Meta(min_length=1)]
    longest: str = "1d"
    ca_file: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    issuer: list[IssuerRule]


class Issuers:
    """The issuers that are trusted by configuration, by their addresses."""

    def __init__(self, rules: list[IssuerRule], *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known = {rule.url: (rule, PublishedKeys(rule.url, ca_file=rule.ca_file, clock=clock)) for rule in rules}

    @classmethod
    def read(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Issuers:
        """Read the file. Raises `UsageError`, which names what is wrong with it."""
        try:
            rules = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).issuer
            for rule in rules:
                _check(rule)
            if len({rule.url for rule in rules}) < len(rules):
                raise ValueError("an issuer is named twice")
        except BookkeeperError as error:
            raise _refused(path, error.message) from error
        except OSError as error:
            raise _refused(path, error.strerror or "it cannot be read") from error
        except ValueError as error:
            raise _refused(path, str(error)) from error
        return cls(rules, clock=clock)

    def identify(
        self, token: str, header: dict[str, Any], issuer: str, *, request_of: Callable[[str], str] | None = None
    ) -> Identity:
        """Return who shows a token of one of these issuers. Raises `Unauthenticated`."""
        if issuer not in self._known:
            raise Unauthenticated("the token is of an issuer that is not trusted here", cause="issuer")
        rule, keys = self._known[issuer]
        if header.get("alg") not in ALGORITHMS:
            raise Unauthenticated("the token is not signed by an algorithm that is trusted", cause="algorithm")
        kid = header.get("kid")
        claims = proved(token, keys.key(kid if isinstance(kid, str) else None), ALGORITHMS)
        expires = self._checked(rule, claims)
        grants = tuple(
            Grant(one.allow, None if one.projects is None else frozenset(one.projects))
            for one in rule.grant
            if one.holds(claims)
        )
        return Identity(_name(rule, claims), grants, None, rule.url, expires, request_of)

    def _checked(self, rule: IssuerRule, claims: dict[str, Any]) -> float:
        """Return until when the token of an issuer is taken, if it is now. Raises `Unauthenticated`."""
        if claims.get("iss") != rule.url:
            raise Unauthenticated("the token is of another issuer", cause="issuer")
        claim, beginnings = VERSIONS[rule.profile]
        version = claims.get(claim)
        if not isinstance(version, str) or not version.startswith(beginnings):
            raise Unauthenticated(f"the token's claim {claim} names no version that is known here", cause="version")
        named = claims.get("aud")
        audiences = named if isinstance(named, list) else [named]
        mine = [rule.audience] if isinstance(rule.audience, str) else rule.audience
        if not any(isinstance(one, str) and one in mine for one in audiences):
            raise Unauthenticated("the token is for another service", cause="audience")
        expires = times(claims, self._clock())
        if "iat" not in claims or claims["exp"] - claims["iat"] > durations.seconds(rule.longest):
            raise Unauthenticated(f"a token of this issuer lives {rule.longest} at most", cause="lifetime")
        return expires


def _name(rule: IssuerRule, claims: dict[str, Any]) -> str:
    """Return how the records name the caller: the subject, and who vouches for it."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or not subject.isprintable():
        raise Unauthenticated("the token names nobody", cause="malformed")
    return storable(f"{subject[:150]}@{urlsplit(rule.url).hostname}")


def _check(rule: IssuerRule) -> None:
    secure(rule.url)
    durations.seconds(rule.longest)
    for one in rule.grant:
        if one.group is one.scope is one.subject is None:
            raise ValueError(f"a grant of {rule.url} is for everybody: name a group, a scope or a subject")
        if one.projects is not None and one.allow in (Scope.READ, Scope.ADMIN):
            raise ValueError(
                f"a grant of {rule.url} confines {one.allow} to projects, which only work and operate can be"
            )


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(f"{path}: {why}", remedy="see the reference page of access for what the file may hold")
