"""What is known of a failure, as plain data: it can be stored as JSON and explained again later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final

STDERR_MARK: Final = "\nstderr:\n"
"""What stands in the message of an exception before the standard error of the command that failed."""

_DEEPEST: Final = 20  # exceptions of a chain that are looked at
_LONGEST: Final = 1 << 20  # characters of a message that are looked at
_TOO_GENERAL: Final = {"object", "BaseException", "Exception"}


@dataclass(frozen=True)
class Evidence:
    """What is known of a failure.

    ``message`` is what the worker says in one line. ``exceptions`` are pairs of a qualified type name and its message,
    the outermost first, its causes after it; ``bases`` the names of the base classes of each of them. ``exit_code`` is
    negative for a signal, or above 128 by the habit of shells. ``hold_code`` and ``hold_subcode`` are HTCondor's,
    ``state`` any batch system's word for how the job ended, ``step`` the step of a job that failed.
    """

    KEPT: ClassVar[int] = 4096

    message: str = ""
    exceptions: tuple[tuple[str, str], ...] = ()
    stderr: str = ""
    exit_code: int | None = None
    signal: int | None = None
    hold_code: int | None = None
    hold_subcode: int | None = None
    state: str | None = None
    step: str | None = None
    bases: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, exc: BaseException | str | None, stderr: object = "", **known: Any) -> Evidence:
        """Return the evidence in a live exception, its causes, and what was caught of standard error.

        What ``known`` says (``exit_code``, ``signal``, …) goes before what the exception says of itself, as
        `subprocess.CalledProcessError` does. Nothing that is given makes this raise.
        """
        text = text_of(stderr)
        if exc is None or not isinstance(exc, BaseException):
            message = text_of(known.pop("message", None) or exc)
            return cls.from_mapping({**known, "message": message, "stderr": text})
        chain = _chain(exc)
        pairs = [(_type_name(type(one)), _said(one)) for one in chain]
        bases = [tuple(base.__name__ for base in type(one).__mro__[1:-2] if base.__name__ not in _TOO_GENERAL)
                 for one in chain]  # fmt: skip
        said = [text] + [text_of(getattr(one, "stderr", None)) for one in chain]
        found: dict[str, Any] = {"exit_code": next(filter(None, map(_exit_code, chain)), None)}
        found |= {key: value for key, value in known.items() if value is not None}
        found |= {"stderr": "\n".join(part for part in dict.fromkeys(said) if part)}
        return cls.from_mapping({**found, "exceptions": pairs, "bases": bases})

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Evidence:
        """Return the evidence that `as_dict` gave, or a part of it. Unknown keys are ignored, odd values too."""
        known: dict[str, Any] = {}
        for one in fields(cls):
            value = mapping.get(one.name)
            if value is None:
                continue
            if one.name in ("message", "stderr"):
                known[one.name] = text_of(value)
            elif one.name in ("state", "step"):
                known[one.name] = text_of(value) or None
            elif one.name == "exceptions":
                known[one.name] = tuple((text_of(name), text_of(said)) for name, said in value)
            elif one.name == "bases":
                known[one.name] = tuple(tuple(text_of(name) for name in names) for names in value)
            else:
                known[one.name] = _number(value)
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        body = {one.name: getattr(self, one.name) for one in fields(self)}
        body["exceptions"] = [list(pair) for pair in self.exceptions]
        body["bases"] = [list(names) for names in self.bases]
        return body

    def shortened(self) -> Evidence:
        """Return it with every text kept to its informative part, ``KEPT`` characters at most: the cause, and the tail."""
        if len(self.stderr) <= self.KEPT and len(self.message) <= self.KEPT and _fits(self.exceptions, self.KEPT):
            return self
        from bookkeeper.failures.shortening import informative

        pairs = tuple((name, informative(said, self.KEPT)) for name, said in self.exceptions[:_DEEPEST])
        return replace(
            self,
            stderr=informative(self.stderr, self.KEPT),
            message=informative(self.message, self.KEPT),
            exceptions=pairs,
            bases=self.bases[:_DEEPEST],
        )


def text_of(value: object) -> str:
    """Return anything as text: bytes are decoded, None is empty, and what cannot say itself is its type's name."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - the value belongs to somebody else: it may raise anything
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _fits(pairs: tuple[tuple[str, str], ...], length: int) -> bool:
    return len(pairs) <= _DEEPEST and all(len(said) <= length for _, said in pairs)


def _number(value: object) -> int | None:
    """Return a whole number, or None where it is none."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError):
        return None


def _type_name(kind: type) -> str:
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def _chain(exc: BaseException) -> list[BaseException]:
    """Return an exception and what led to it, the outermost first; the members of a group stand where it stands."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [exc]
    while waiting and len(found) < _DEEPEST:
        one = waiting.pop(0)
        if any(one is seen for seen in found):
            continue
        found.append(one)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        if one.__cause__ is not None:
            waiting.append(one.__cause__)
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append(one.__context__)
    return found


def _said(exc: BaseException) -> str:
    """Return the message of an exception, with its notes, and with its errno where the message hides it."""
    parts = [text_of(exc)[:_LONGEST]]
    number = getattr(exc, "errno", None)
    if isinstance(exc, OSError) and isinstance(number, int) and f"Errno {number}" not in parts[0]:
        parts.append(f"[Errno {number}] {text_of(exc.strerror)}".rstrip())
    notes = getattr(exc, "__notes__", None)
    if isinstance(notes, list | tuple):
        parts += [text_of(note) for note in notes]
    return "\n".join(part for part in parts if part)


def _exit_code(exc: BaseException) -> int | None:
    """Return the exit code that an exception tells of: `subprocess.CalledProcessError`, `SystemExit`."""
    code = exc.code if isinstance(exc, SystemExit) else getattr(exc, "returncode", None)
    return code if isinstance(code, int) and not isinstance(code, bool) else None
