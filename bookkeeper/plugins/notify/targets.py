"""Where notifications go. An address holds secrets: it is shown as ``scheme://…``, and never stored or logged.

Messages are sent by apprise (https://github.com/caronc/apprise/wiki lists its addresses), or by a plug-in.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import BookkeeperError, UsageError
from bookkeeper.plugins.calls import call_within
from bookkeeper.plugins.hooks import Notifier
from bookkeeper.plugins.loading import in_a_line

OCCASIONS: Final = ("complete", "parked", "braked", "excluded", "rested", "ended", "plugin")
"""What a target may be told of."""

SECONDS: Final = 30.0
"""How long a target may take with a test message."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?:://.*)?", re.DOTALL)
_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
_LOUD: Final = (
    "apprise",
    "requests",
    *(f"urllib3.{name}" for name in ("connection", "connectionpool", "poolmanager", "response", "util.retry")),
)
"""Loggers that tell addresses. A filter holds for its own logger only, not for those below."""


class NotSent(BookkeeperError):
    """A notification did not reach its target. The message never has the address."""


@dataclass(frozen=True, slots=True)
class Notify:
    """A ``[[notify]]`` of a spec: when to tell, and where: one of an address, a variable or a file that has it."""

    on: tuple[str, ...]
    url: str | None = field(default=None, repr=False)
    url_env: str | None = None
    url_file: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A place that messages are sent to. ``name`` tells it from the others of its spec, without its secrets."""

    name: str
    notify: Notify
    offered: Mapping[str, Notifier] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """The address as it may be shown: ``mailto://…``; where it cannot be read, where it would come from."""
        try:
            return _shown(self._address(), self.offered)
        except UsageError:
            return self.name

    def send(self, title: str, body: str) -> None:
        """Send a message. Raises `NotSent`, `UsageError` (no address, or none that anybody knows)."""
        address = self._address()
        offered = self._offered(address)
        if offered is not None:
            offered(title, body)
            return
        with _silence() as said:
            try:
                one = _door(address)
                sent = one is not None and one.notify(body=body, title=title)
            except Exception as error:  # noqa: BLE001 - apprise and what it calls raise what they like, address included
                raise NotSent(f"{_shown(address)} failed: {type(error).__name__}") from None
        if one is None:
            raise _unknown(address)
        if not sent:
            raise NotSent(f"{_shown(address)} {_why(said)}")

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with it, in words: it would not be reached, or its secret is open to others."""
        try:
            address = self._address()
        except UsageError as error:
            yield f"{error}; {error.remedy}"
            return
        if self._offered(address) is None:
            with _silence():
                known = _door(address) is not None
            if not known:
                yield str(_unknown(address))
        if self.notify.url_file and _is_open(Path(self.notify.url_file)):
            yield f"{self.notify.url_file} can be read by others, and holds a secret; chmod 600 {self.notify.url_file}"

    def _address(self) -> str:
        """Return the address. Raises `UsageError`, without any part of it."""
        one = self.notify
        if one.url_env is not None:
            return _variable(one.url_env)
        if one.url_file is not None:
            try:
                text = Path(one.url_file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is no text"
                raise UsageError(
                    f"{one.url_file} cannot be read: {why}", remedy="it holds an address, one line"
                ) from None
            lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            if len(lines) != 1:
                raise UsageError(f"{one.url_file} has {len(lines)} addresses", remedy="it holds an address, one line")
            return lines[0]
        return _VARIABLE.sub(lambda match: _variable(match[1]), one.url or "")

    def _offered(self, address: str) -> Notifier | None:
        scheme = _SCHEME.fullmatch(address)
        return self.offered.get(address) or (self.offered.get(scheme[1]) if scheme else None)


def targets(tables: Sequence[Notify], offered: Mapping[str, Notifier]) -> list[Target]:
    """Return the targets of a spec, each with a name of its own."""
    seen: Counter[str] = Counter()
    found = []
    for one in tables:
        source = one.url_env or (
            Path(one.url_file).name if one.url_file else _shown(one.url or "", offered).partition(":")[0]
        )
        seen[source] += 1
        found.append(Target(source if seen[source] == 1 else f"{source}#{seen[source]}", one, offered))
    return found


def trial(target: Target, project: str) -> str | None:
    """Send a test message; return what went wrong, None where the target took it. Bounded in time."""
    title = f"bookkeeper: a test for project {project}"
    body = "This is how you would be told. Nothing happened."
    try:
        call_within(SECONDS, lambda: target.send(title, body), target.name)
    except Exception as error:  # noqa: BLE001 - a plug-in's target raises what it likes; it is told, in a line
        return str(error) if isinstance(error, BookkeeperError) else in_a_line(error)
    return None


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(
            f"the variable {name} is not set, and holds the address of a notification", remedy=f"export {name}=…"
        )
    return value


def _shown(address: str, offered: Collection[str] = ()) -> str:
    """Return an address without its secrets. A word alone is the name of a plug-in's target, else perhaps a secret."""
    scheme = _SCHEME.fullmatch(address)
    return f"{scheme[1]}://…" if scheme and ("://" in address or address in offered) else "an address"


def _unknown(address: str) -> UsageError:
    return UsageError(
        f"{_shown(address)} is no address that apprise or a plug-in knows, or it is incomplete",
        remedy="https://github.com/caronc/apprise/wiki lists how they are written",
    )


def _door(address: str) -> Any:
    """Return apprise's object for an address, None where it has none. It keeps nothing on disk."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of the hundred modules that it loads, some use what Python will not have for ever
        import apprise

        asset = apprise.AppriseAsset(app_id="bookkeeper", app_desc="bookkeeper")
        return apprise.Apprise.instantiate(address, asset=asset)


def _why(said: Sequence[str]) -> str:
    """Return why a message was not taken. What apprise says has parts of the address: only a status is taken over."""
    for line in said:
        if status := _STATUS.search(line):
            return f"answered {status[1]}"
    if any("onnection error" in line for line in said):
        return "could not be reached, or did not answer in time"
    return "did not take the message"


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


class _Silence(logging.Filter):
    """Keeps what apprise and the libraries below it say while this thread sends: addresses are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.sending: dict[int, list[str]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass that comes from elsewhere."""
        kept = self.sending.get(threading.get_ident())
        if kept is None:
            return True
        kept.append(record.getMessage())
        return False


_silent: Final = _Silence()


@contextmanager
def _silence() -> Iterator[list[str]]:
    """Give the lines that are said, to nobody, while the block runs in this thread."""
    for name in _LOUD:
        logging.getLogger(name).addFilter(_silent)
    said: list[str] = []
    _silent.sending[threading.get_ident()] = said
    try:
        yield said
    finally:
        del _silent.sending[threading.get_ident()]
