"""Explain a failure: gather everything that speaks for something, and decide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final

from bookkeeper.failures.categories import FailureCategory
from bookkeeper.failures.evidence import STDERR_MARK, Evidence
from bookkeeper.failures.index import Tried
from bookkeeper.failures.lines import LONGEST_LINE, Lines, lines_of
from bookkeeper.failures.patterns import Pattern
from bookkeeper.failures.rules import Role, Rule, Rules, default_rules
from bookkeeper.failures.signals import readings, signal_name, signal_of

SHOWN: Final = 300  # characters of evidence
WEAK: Final = 0.3  # below, a cause is no better than a consequence
DOUBT: Final = 0.5  # what a doubtful line counts, or one whose trouble was got over
INHERITED: Final = 0.8  # what an exception counts for the rule of one of its base classes

_ENDED: Final = re.compile(
    r"\b(?:exit(?:ed)?(?: with)?(?: code| status)|returncode|return code)[ =:]{1,2}(-?\d{1,6})\b"
    r"|\b(?:killed by|died with <Signals\.SIG[A-Z]{1,6}:) ?(?:signal )?(\d{1,3})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Explanation:
    """Why a process failed, as far as it can be told.

    ``rule`` is the id of the rule that decided, "unknown" where none did; ``evidence`` the text that it matched, one
    line; ``source`` where that stood: exception, exit_code, signal, hold_code, state, step, stderr, message or none;
    ``confidence`` from 0 to 1; ``remedy`` one line.
    """

    category: FailureCategory
    rule: str
    evidence: str
    source: str
    confidence: float
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {**asdict(self), "category": self.category.value}


@dataclass(frozen=True)
class Match:
    """A rule that holds: where, with what confidence, and how early. ``line`` is None where no line was needed."""

    rule: Rule
    source: str
    evidence: str
    confidence: float
    line: int | None

    @property
    def rank(self) -> tuple[bool, float, bool, int]:
        """What decides between matches: causes, then the surer, then the user's, then the earlier."""
        cause = self.rule.role is Role.CAUSE and self.confidence >= WEAK
        return cause, round(self.confidence, 6), self.rule.mine, -(1 << 30 if self.line is None else self.line)


NOTHING: Final = Explanation(
    FailureCategory.UNKNOWN, "unknown", "", "none", 0.0, "read the logs of the process; a rule of your own can name it"
)


def explain(evidence: Evidence, rules: Rules | None = None) -> Explanation:
    """Explain a failure by the rules; those that are shipped where none are given."""
    best = max(matches(evidence, rules), key=lambda match: match.rank, default=None)
    if best is None:
        shown = evidence.message or next((f"{name}: {said}" for name, said in evidence.exceptions), "")
        return replace(NOTHING, evidence=_shown(shown))
    return Explanation(
        best.rule.category, best.rule.id, best.evidence, best.source, round(best.confidence, 3), best.rule.remedy
    )


def explain_failure(
    exc: BaseException | str | None = None,
    stderr: str | bytes = "",
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    hold_code: int | None = None,
    hold_subcode: int | None = None,
    state: str | None = None,
    step: str | None = None,
    rules: Rules | None = None,
) -> Explanation:
    """Explain a failure from whatever is known of it: an exception or message, standard error, codes, a state, a step.

    ``exit_code`` is negative for a signal, as `subprocess` says it, or as a shell does; ``hold_code`` and
    ``hold_subcode`` are HTCondor's; ``state`` is a batch system's word (``OUT_OF_MEMORY``); ``step`` is one of the five
    of a job. Nothing that is given makes it raise.
    """
    known = {"exit_code": exit_code, "signal": signal, "hold_code": hold_code, "hold_subcode": hold_subcode}
    return explain(Evidence.of(exc, stderr, **known, state=state, step=step), rules)


def classify_failure(
    exc: BaseException | str | None = None,
    stderr: str | bytes = "",
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    hold_code: int | None = None,
    hold_subcode: int | None = None,
    state: str | None = None,
    step: str | None = None,
    rules: Rules | None = None,
) -> FailureCategory:
    """Return the category of a failure: see `explain_failure`."""
    known = {"exit_code": exit_code, "signal": signal, "hold_code": hold_code, "hold_subcode": hold_subcode}
    return explain(Evidence.of(exc, stderr, **known, state=state, step=step), rules).category


def matches(evidence: Evidence, rules: Rules | None = None) -> Iterator[Match]:
    """Give everything that the rules find in the evidence."""
    known = _Known(evidence)
    used = default_rules() if rules is None else rules
    yield from _in_lines(known, used)
    yield from _in_types(known, used)
    for rule in used.structured:
        found = known.meets(rule)
        if found:
            source, shown = found[0]
            yield Match(rule, source, shown, rule.confidence, None)


class _Known:
    """The evidence, as rules ask for it."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        code, number = evidence.exit_code, evidence.signal
        if code is None and number is None:
            code, number = _ended(evidence)
        self.code = code
        if number is None and code is not None:
            number = signal_of(code)
        self.signal = None if number is None else signal_name(number) or f"signal {number}"

    @cached_property
    def lines(self) -> Lines:
        return lines_of(self.evidence)

    def meets(self, rule: Rule) -> list[tuple[str, str]] | None:
        """Return (source, what it is) of all conditions that need no text; None where one does not hold."""
        found = []
        if rule.exit_code:
            codes = [one for one in readings(self.code or 0) if one and any(one in span for span in rule.exit_code)]
            if not codes:
                return None
            found.append(("exit_code", f"exit code {self.code}"))
        if rule.signal:
            if self.signal not in rule.signal:
                return None
            by_code = self.evidence.signal is None and self.evidence.exit_code is not None
            found.append(
                ("exit_code", f"exit code {self.code} ({self.signal})") if by_code else ("signal", self.signal)
            )
        held = self.evidence.hold_code
        if rule.hold_code:
            if held is None or not any(held in span for span in rule.hold_code):
                return None
            found.append(("hold_code", f"hold code {held}, subcode {self.evidence.hold_subcode}"))
        if rule.hold_subcode:
            subcode = self.evidence.hold_subcode
            if subcode is None or not any(subcode in span for span in rule.hold_subcode):
                return None
        if rule.state:
            state = (self.evidence.state or "").strip()
            if not any(pattern.regex.search(state) for pattern in rule.state):
                return None
            found.append(("state", f"state {state}"))
        if rule.step:
            if self.evidence.step not in rule.step:
                return None
            found.append(("step", f"step {self.evidence.step}"))
        return found


def _ended(evidence: Evidence) -> tuple[int | None, int | None]:
    """Return the exit code, or the signal, that the message or an exception names, the root's first."""
    for said in (evidence.message, *(said for _, said in reversed(evidence.exceptions))):
        found = _ENDED.search(said.partition(STDERR_MARK)[0][:LONGEST_LINE])
        if found:
            code, number = found.groups()
            return (int(code) if code else None), (int(number) if number else None)
    return None, None


def _in_lines(known: _Known, rules: Rules) -> Iterator[Match]:
    """Give the matches of rules that read text, the lines in their order of time."""
    lines, remarks = known.lines, _Remarks(known.lines, rules)
    for literal, pairs in rules.index.present(lines):
        for number, row in lines.holding(literal):
            for pattern, rule in pairs:
                found = pattern.regex.search(row)
                if not found or known.meets(rule) is None:
                    continue
                if rule.exception and rule.text and not _any(rule.text, row[found.end() :]):
                    continue
                if _any(rule.unless, row) or remarks.is_noise(number):
                    continue
                confidence = rule.confidence * remarks.worth(number, rule)
                yield Match(rule, lines.sources[number], _shown(row, found.start()), confidence, number)


def _in_types(known: _Known, rules: Rules) -> Iterator[Match]:
    """Give the matches of the base classes of exceptions, which no text names."""
    evidence = known.evidence
    for (name, said), bases in zip(evidence.exceptions, evidence.bases, strict=False):
        for rule in rules.raising(bases):
            if known.meets(rule) is None or (rule.text and not _any(rule.text, said)) or _any(rule.unless, said):
                continue
            yield Match(rule, "exception", _shown(f"{name}: {said}"), rule.confidence * INHERITED, None)


class _Remarks:
    """What the rules say of the worth of lines."""

    def __init__(self, lines: Lines, rules: Rules) -> None:
        self._lines, self._rules = lines, rules
        self._noise: dict[int, bool] = {}
        self._doubtful: dict[int, bool] = {}

    def is_noise(self, number: int) -> bool:
        """Whether a line says nothing."""
        return self._holds(Role.NOISE, number, self._noise)

    def worth(self, number: int, rule: Rule) -> float:
        """Return what a match in a line counts."""
        if self._holds(Role.DOUBTFUL, number, self._doubtful):
            return DOUBT
        if rule.category in (FailureCategory.ANALYSIS_CRASH, FailureCategory.EXECUTOR):
            return 1.0  # nothing recovers from these, and nothing brings them about
        aftermath = 0 <= self._ended < number and self._lines.sources[number] == "stderr"
        return DOUBT if number < self._recovered or aftermath else 1.0

    @cached_property
    def _present(self) -> dict[Role, tuple[Tried, ...]]:
        return {role: tuple(index.present(self._lines)) for role, index in self._rules.remarks.items()}

    @cached_property
    def _recovered(self) -> int:
        """The number of the last line that tells of a recovery; -1 where there is none."""
        return self._last(self._present[Role.RECOVERY])

    @cached_property
    def _ended(self) -> int:
        """The number of the last line that tells of the program's end: a crash, or a traceback; -1 where none does."""
        return max(self._last(tuple(self._rules.endings.present(self._lines))), self._lines.last_raised)

    def _last(self, present: tuple[Tried, ...]) -> int:
        last = -1
        for literal, pairs in present:
            for number, row in self._lines.last_holding(literal):
                if number <= last or _remarked(row, pairs):
                    last = max(last, number)
                    break
        return last

    def _holds(self, role: Role, number: int, known: dict[int, bool]) -> bool:
        if number not in known:
            row = self._lines.texts[number][:LONGEST_LINE]
            lower = row.lower()
            known[number] = any(lit in lower and _remarked(row, pairs) for lit, pairs in self._present[role])
        return known[number]


def _remarked(row: str, pairs: tuple[tuple[Pattern, Rule], ...]) -> bool:
    return any(pattern.regex.search(row) and not _any(rule.unless, row) for pattern, rule in pairs)


def _any(patterns: tuple[Pattern, ...], text: str) -> bool:
    return any(pattern.regex.search(text) for pattern in patterns)


def _shown(text: str, position: int = 0) -> str:
    """Return one line with what stands at a position."""
    begin = max(0, position - SHOWN // 2) if len(text) > SHOWN else 0
    return " ".join(text[begin : begin + 2 * SHOWN].split())[:SHOWN]
