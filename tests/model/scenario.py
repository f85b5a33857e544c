"""What a scenario is: configurations, and what each must show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .explore import Report
from .rules import Rules


@dataclass(frozen=True)
class Run:
    """One configuration and the violation that it must show, or none. One that ``stops`` does so when it shows."""

    label: Literal["without", "with"]  # the rule in question
    rules: Rules
    expects: str | None = None
    stops: bool = False

    def judge(self, report: Report) -> bool:
        """Whether the search found what it must."""
        if self.expects is not None:
            return self.expects in report.found
        return report.exhausted and not report.found and report.completed > 0


@dataclass(frozen=True)
class Scenario:
    """Runs that belong together. The small ones are exhausted in the test suite."""

    name: str
    what: str
    runs: tuple[Run, ...]
    small: bool = True


def holds(name: str, what: str, rules: Rules, *, small: bool = False) -> Scenario:
    """A world in which nothing may go wrong."""
    return Scenario(name, what, (Run("with", rules),), small)
