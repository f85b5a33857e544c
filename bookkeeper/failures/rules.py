"""Rules: which evidence means what. They are data: one set is shipped, the user's own lie above it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.failures.categories import FailureCategory
from bookkeeper.failures.index import Index
from bookkeeper.failures.patterns import Pattern, exception_pattern

if TYPE_CHECKING:
    import os


class Role(StrEnum):
    """What a rule says of a line."""

    CAUSE = "cause"  # it may be why
    CONSEQUENCE = "consequence"  # it follows from something else: any cause beats it
    DOUBTFUL = "doubtful"  # what else the line says counts half: a warning, a retry
    NOISE = "noise"  # the line says nothing
    RECOVERY = "recovery"  # what went wrong before this line was got over: it counts half


EXPLAINING: Final = (Role.CAUSE, Role.CONSEQUENCE)


@dataclass(frozen=True)
class Rule:
    """What evidence means. Every condition that is given must hold; of the values of one, any.

    ``ends`` says that the program ended at the line: what stands below it tells of the aftermath.
    ``text`` are patterns searched in every line; with ``exception`` they must match that exception's own message.
    ``unless`` are patterns that must not match what was found. ``example`` is a line, or evidence, that it explains.
    """

    id: str
    category: FailureCategory = FailureCategory.UNKNOWN
    remedy: str = ""
    confidence: float = 0.8
    role: Role = Role.CAUSE
    ends: bool = False
    text: tuple[Pattern, ...] = ()
    unless: tuple[Pattern, ...] = ()
    exception: tuple[str, ...] = ()
    exit_code: tuple[range, ...] = ()
    signal: tuple[str, ...] = ()
    hold_code: tuple[range, ...] = ()
    hold_subcode: tuple[range, ...] = ()
    state: tuple[Pattern, ...] = ()
    step: tuple[str, ...] = ()
    example: Any = None
    mine: bool = field(default=False, compare=False)

    @cached_property
    def raised(self) -> tuple[Pattern, ...]:
        """The patterns of lines that name one of its exceptions."""
        return tuple(map(exception_pattern, self.exception))

    @cached_property
    def searched(self) -> tuple[Pattern, ...]:
        """The patterns that decide in which lines this rule is tried."""
        return self.raised or self.text


class Rules:
    """A set of rules: the user's own above those shipped."""

    def __init__(self, own: Sequence[Mapping[str, Any]] = (), *, below: Sequence[Rule] = (), where: str = "") -> None:
        from bookkeeper.failures.reading import rules_from

        mine = rules_from(own, mine=bool(below), where=where)
        self._own = [dict(one) for one in own]
        replaced = {rule.id for rule in mine}
        self.rules: tuple[Rule, ...] = (*mine, *(rule for rule in below if rule.id not in replaced))

    def as_list(self) -> list[dict[str, Any]]:
        """Return the user's own rules as JSON holds them."""
        return [dict(one) for one in self._own]

    @classmethod
    def from_list(cls, own: Sequence[Mapping[str, Any]]) -> Rules:
        """Return the rules that `as_list` gave, above those shipped. Raises `SpecError`."""
        return cls(own, below=default_rules().rules)

    @cached_property
    def by_id(self) -> dict[str, Rule]:
        """The rules by their id."""
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def index(self) -> Index:
        """The rules that may explain a failure, by what they search."""
        return Index(rule for rule in self.rules if rule.role in EXPLAINING)

    @cached_property
    def endings(self) -> Index:
        """The rules whose lines tell that the program ended."""
        return Index(rule for rule in self.rules if rule.ends)

    @cached_property
    def remarks(self) -> dict[Role, Index]:
        """The rules that only say how much a line counts, by role."""
        return {
            role: Index(rule for rule in self.rules if rule.role is role) for role in Role if role not in EXPLAINING
        }

    @cached_property
    def _raising(self) -> dict[str, tuple[Rule, ...]]:
        found: dict[str, tuple[Rule, ...]] = {}
        for rule in self.rules:
            for name in rule.exception if rule.role in EXPLAINING else ():
                found[name] = (*found.get(name, ()), rule)
        return found

    def raising(self, names: Iterable[str]) -> list[Rule]:
        """Return the rules that know an exception by one of these names."""
        return [rule for name in names for rule in self._raising.get(name, ())]

    @cached_property
    def structured(self) -> tuple[Rule, ...]:
        """The rules that need no text at all: codes, signals, states, steps."""
        return tuple(rule for rule in self.rules if not rule.searched)


@cache
def default_rules() -> Rules:
    """Return the rules that are shipped."""
    from importlib.resources import files

    shipped: list[dict[str, Any]] = []
    folder = files("bookkeeper.failures").joinpath("shipped")
    for place in sorted(folder.iterdir(), key=lambda one: one.name):
        if place.name.endswith(".toml"):
            shipped += tomllib.loads(place.read_text(encoding="utf-8")).get("rule", [])
    return Rules(shipped)


def load_rules(path: str | os.PathLike[str]) -> Rules:
    """Read a user's rules, a TOML file, and lay them above those shipped.

    A rule with the id of a shipped one replaces it. Raises `SpecError`, a line for each fault: ``file:line: rule: what``.
    """
    from bookkeeper.failures.reading import read_file

    own, where = read_file(path)
    return Rules(own, below=default_rules().rules, where=where)
