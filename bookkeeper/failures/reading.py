"""Read rules, and say in words what is wrong with them: all of it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import SpecError
from bookkeeper.failures.categories import FailureCategory
from bookkeeper.failures.patterns import Pattern, may_take_for_ever
from bookkeeper.failures.rules import Role, Rule

if TYPE_CHECKING:
    import os

_REMEDY: Final = "the reference page of failures describes the rules"
_SYNTAX: Final = re.compile(r"(.*?)\s*\(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SPAN: Final = re.compile(r"\s*(-?\d+)\s*\.\.\s*(-?\d+)\s*")
_CONDITIONS: Final = ("text", "exception", "exit_code", "signal", "hold_code", "hold_subcode", "state", "step")
_STEPS: Final = ("stage-executable", "stage-inputs", "analysis", "verification", "output-storage")


def read_file(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], str]:
    """Return the rules of a TOML file as plain data, and the file's name. Raises `SpecError`."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{file}: cannot be read: {error.strerror}", remedy="name a TOML file of rules") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: is no text in UTF-8", remedy="name a TOML file of rules") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _SYNTAX.fullmatch(str(error))
        what, line = match.groups() if match else (str(error), None)
        raise SpecError(f"{file}{f':{line}' if line else ''}: no valid TOML: {what}", remedy=_REMEDY) from error
    except RecursionError as error:
        raise SpecError(f"{file}: no valid TOML: nested too deeply", remedy=_REMEDY) from error
    for key in content:
        if key != "rule":
            raise SpecError(f"{file}: unknown key {key!r}: rules are written [[rule]]", remedy=_REMEDY)
    own = content.get("rule", [])
    if not isinstance(own, list) or not all(isinstance(one, dict) for one in own):
        raise SpecError(f"{file}: rules are written [[rule]], each with its keys below", remedy=_REMEDY)
    problems = _problems(own)
    if problems:
        starts = [number for number, row in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*rule\s*\]\]", row)]
        lines = dict(enumerate(starts)) if len(starts) == len(own) else {}
        told = [f"{file}{f':{lines[n]}' if n in lines else ''}: {what}" for n, what in problems]
        raise SpecError("\n".join(told), remedy=_REMEDY)
    return own, str(file)


def rules_from(own: Sequence[Mapping[str, Any]], *, mine: bool, where: str = "") -> list[Rule]:
    """Return the rules in plain data; ``mine`` marks them as the user's, which are checked: `SpecError` names each fault."""
    problems = _problems(own) if mine else []
    if problems:
        raise SpecError("\n".join(f"{where}{': ' if where else ''}{what}" for _, what in problems), remedy=_REMEDY)
    return [_rule(one, mine) for one in own]


OWN: Final = 0.95
"""How sure a rule of the user's is that does not say."""


def _rule(one: Mapping[str, Any], mine: bool) -> Rule:
    values = {key: _READERS[key](value) for key, value in one.items()}
    if mine:  # whoever writes a rule knows better, unless it says otherwise
        values.setdefault("confidence", OWN)
    return Rule(**values, mine=mine)


def _problems(own: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """Return (number of the rule, what is wrong with it) for everything that is wrong."""
    problems: list[tuple[int, str]] = []
    seen: set[object] = set()
    for number, one in enumerate(own):
        name = one.get("id") if isinstance(one, Mapping) else None
        label = f"rule {name if isinstance(name, str) else number + 1}"
        if not isinstance(one, Mapping):
            problems.append((number, f"{label}: is no table"))
            continue
        problems += [(number, f"{label}: {what}") for what in _faults(one)]
        if isinstance(name, str) and name in seen:
            problems.append((number, f"{label}: there are two of this id"))
        seen.add(name if isinstance(name, str) else number)
    return problems


def _faults(one: Mapping[str, Any]) -> list[str]:
    faults = []
    for key, value in one.items():
        if key not in _READERS:
            near = difflib.get_close_matches(str(key), _READERS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            faults.append(f"{key}: unknown key; {hint}allowed: {', '.join(_READERS)}")
            continue
        try:
            read = _READERS[key](value)
            if key in ("text", "unless"):
                _check(read)
        except (ValueError, RecursionError, OverflowError) as error:
            faults.append(f"{key}: {error}")
    remark = one.get("role") in (Role.NOISE, Role.DOUBTFUL, Role.RECOVERY)
    wanted = ("id", "text") if remark else ("id", "category")
    faults += [f"{key}: is missing" for key in wanted if key not in one]
    if not remark and not any(key in one for key in _CONDITIONS):
        faults.append(f"has no condition: give one of {', '.join(_CONDITIONS)}")
    return faults


# -- how each key is read; ValueError says what is wrong -----------------------------------------------------------


def _line(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise ValueError(f"must be one line of text, not {value!r:.80}")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"must be a name of letters, digits and ._+-, not {value!r:.80}")
    return value


def _category(value: object) -> FailureCategory:
    return FailureCategory(_one_of([one.value for one in FailureCategory], value))


def _role(value: object) -> Role:
    return Role(_one_of([one.value for one in Role], value))


def _one_of(allowed: Sequence[str], value: object) -> str:
    if not isinstance(value, str) or value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"there is no {value!r:.80}; {hint}allowed: {', '.join(allowed)}")
    return value


def _confidence(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {value!r:.80}")
    return float(value)


def _listed(value: object) -> list[object]:
    found = list(value) if isinstance(value, list | tuple) else [value]
    if not found:
        raise ValueError("must not be empty")
    return found


def _patterns(value: object) -> tuple[Pattern, ...]:
    found = []
    for one in _listed(value):
        if not isinstance(one, str) or not one:
            raise ValueError(f"must be a regular expression, or a list of them, not {one!r:.80}")
        found.append(Pattern(one))
    return tuple(found)


def _check(patterns: tuple[Pattern, ...]) -> None:
    """Raise `ValueError` where a pattern is no regular expression, or says nothing."""
    for pattern in patterns:
        try:
            empty = pattern.regex.match("")
        except re.error as error:
            raise ValueError(f"is no regular expression: {pattern.source!r:.80}: {error}") from error
        if empty:
            raise ValueError(f"matches every line: {pattern.source!r:.80}")
        if may_take_for_ever(pattern.regex):
            raise ValueError(f"repeats a repetition, which may take for ever: {pattern.source!r:.80}")


def _states(value: object) -> tuple[Pattern, ...]:
    return tuple(Pattern(rf"^{re.escape(name)}\b") for name in _words(value))


def _words(value: object) -> tuple[str, ...]:
    return tuple(_line(one) for one in _listed(value))


def _steps(value: object) -> tuple[str, ...]:
    return tuple(_one_of(_STEPS, one) for one in _listed(value))


def _signals(value: object) -> tuple[str, ...]:
    from bookkeeper.failures.signals import signal_name

    found = []
    for one in _listed(value):
        name = signal_name(one) if isinstance(one, int | str) and not isinstance(one, bool) else None
        if name is None:
            raise ValueError(f"there is no signal {one!r:.80}; write its number or its name, as SIGSEGV")
        found.append(name)
    return tuple(found)


def _codes(value: object) -> tuple[range, ...]:
    found = []
    for one in _listed(value):
        span = _SPAN.fullmatch(one) if isinstance(one, str) else None
        if span and int(span[1]) <= int(span[2]):
            found.append(range(int(span[1]), int(span[2]) + 1))
        elif isinstance(one, int) and not isinstance(one, bool):
            found.append(range(one, one + 1))
        else:
            raise ValueError(f'must be whole numbers or spans such as "60300..60399", not {one!r:.80}')
    return tuple(found)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r:.80}")
    return value


def _anything(value: object) -> object:
    return value


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "id": _name,
    "category": _category,
    "confidence": _confidence,
    "remedy": _line,
    "role": _role,
    "ends": _flag,
    "text": _patterns,
    "unless": _patterns,
    "exception": _words,
    "exit_code": _codes,
    "signal": _signals,
    "hold_code": _codes,
    "hold_subcode": _codes,
    "state": _states,
    "step": _steps,
    "example": _anything,
}
