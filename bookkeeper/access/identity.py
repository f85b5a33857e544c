"""Who calls, and what that allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bookkeeper.errors import Forbidden
from bookkeeper_schema.states import Scope

ORDER: Final = tuple(Scope)
"""The scopes, weakest first: each allows what those before it allow."""


def includes(given: str, asked: str) -> bool:
    """Tell whether a scope allows what another does. An unknown scope allows nothing, and nothing allows it."""
    return given in ORDER and asked in ORDER and ORDER.index(Scope(given)) >= ORDER.index(Scope(asked))


@dataclass(frozen=True, slots=True)
class Grant:
    """A scope, and the requests (by the names of their first projects) it is confined to; None: all of them."""

    scope: Scope
    projects: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whose token held: a name for the records, what is granted, and until when (epoch seconds).

    ``token`` is the public number of a token of ours; ``issuer`` the address of whoever vouched, if it was another.
    ``request_of`` tells the name of a project's request, so that a recovery project counts as what it recovers.
    """

    name: str
    grants: tuple[Grant, ...]
    token: str | None = None
    issuer: str | None = None
    expires_at: float = math.inf
    request_of: Callable[[str], str] | None = field(default=None, repr=False, compare=False)

    @property
    def scope(self) -> Scope | None:
        """The strongest scope, for whatever projects; None where nothing is granted."""
        return max((grant.scope for grant in self.grants), key=ORDER.index, default=None)

    def require(self, scope: str, project: str | None = None) -> None:
        """Return if this may be done; raise `Forbidden` otherwise.

        ``project``: the project it is done to, None for what concerns the catalog. Who is confined to some projects
        reads everything, and does more only in those.
        """
        enough = [grant for grant in self.grants if includes(grant.scope, scope)]
        if not enough:
            has = f"has scope {self.scope}" if self.grants else "has no scope"
            raise Forbidden(f"this needs scope {scope}; the token of {self.name} {has}", cause="scope")
        if scope == Scope.READ or any(grant.projects is None for grant in enough):
            return
        confined = "it is confined to some projects"
        if project is None:
            raise Forbidden(
                f"this concerns the whole catalog; the token of {self.name} may not: {confined}", cause="project"
            )
        request = project if self.request_of is None else self.request_of(project)
        if not any(request in (grant.projects or ()) for grant in enough):
            raise Forbidden(
                f"the token of {self.name} may not do this to project {project}: {confined}", cause="project"
            )
