"""What `check` says: a `Finding`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Severity = Literal["violation", "note"]

Progress = Callable[[str, int, int], None]
"""Called with what is looked at, how many are done and how many there are."""

SAMPLE: Final = 5
"""How many things a finding names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (a violation) or worth knowing (a note).

    ``code`` is the kind, in kebab case; ``message`` names the things; ``remedy`` is what to do next; ``count`` is how
    many things it is about, ``sample`` the first of them.
    """

    severity: Severity
    code: str
    message: str
    remedy: str
    count: int = 1
    sample: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return {**asdict(self), "sample": list(self.sample)}


def about(
    severity: Severity,
    code: str,
    words: str,
    things: Iterable[str],
    remedy: str,
    *,
    spell: Callable[[str], str] = str,
) -> list[Finding]:
    """Return one finding about all of ``things``, none where there are none; ``spell`` writes out those it names."""
    named: list[str] = []
    count = 0
    for count, thing in enumerate(things, 1):
        if count <= SAMPLE:
            named.append(spell(thing))
    if not count:
        return []
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return [Finding(severity, code, f"{words}: {'; '.join(named)}{more}", remedy, count, tuple(named))]


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""
