"""What notifications say: which project, what happened, in numbers, why, and the command to type next."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bookkeeper import projects
from bookkeeper.catalog import Database
from bookkeeper.errors import NotFound
from bookkeeper.plugins.values import Event

REASONS: Final = 5
"""The most reasons that a message lists."""

Words = tuple[str, list[str], list[str]]
"""What happened, in a line; more lines; the commands to type next."""

_OCCASIONS: Final[Mapping[str, str]] = {
    "project.completed": "complete",
    "files.parked": "parked",
    "file.parked": "parked",
    "project.rested": "rested",
    "project.ended": "ended",
    "node.excluded": "excluded",
    "plugin.failed": "plugin",
}


def occasion_of(event: Event) -> str | None:
    """Return what an event is to those who are notified, None where it is nothing."""
    if event.kind == "project.paused":
        return "braked" if event.body.get("brake") else None
    return _OCCASIONS.get(event.kind)


def compose(database: Database, events: Sequence[Event], request: str) -> tuple[str, str]:
    """Return title and body of the message about an event, or about several that were gathered."""
    first = events[0]
    project = first.project or request
    what, lines, commands = _WORDS[occasion_of(first) or ""](project, events)
    counts = _counts(database, project)
    body = [f"{what}.", "", *([counts] if counts else []), *lines]
    if commands:
        body += ["", "Next:", *(f"  {command}" for command in commands)]
    return f"bookkeeper: {what}", "\n".join(body)


def _complete(project: str, events: Sequence[Event]) -> Words:
    return f"project {project} is complete", [], [f"bookkeeper outputs {project} --paths"]


def _parked(project: str, events: Sequence[Event]) -> Words:
    reasons: Counter[str] = Counter()
    for event in events:
        reasons[str(event.body.get("reason") or "no reason was given")] += int(event.body.get("count") or 1)
    files = sum(reasons.values())
    lines = [f"{_files(count)}: {reason}" for reason, count in reasons.most_common(REASONS)]
    if len(reasons) > REASONS:
        lines.append(f"and {len(reasons) - REASONS} more reasons")
    commands = [
        f"bookkeeper failures {project}",
        f"bookkeeper project unpark {project} --all   (when the cause is mended)",
    ]
    return f"{_files(files)} of project {project} {'is' if files == 1 else 'are'} parked", lines, commands


def _braked(project: str, events: Sequence[Event]) -> Words:
    commands = [f"bookkeeper failures {project}", f"bookkeeper project resume {project}   (when the cause is mended)"]
    return f"project {project} was paused", [_reason(events[0])], commands


def _rested(project: str, events: Sequence[Event]) -> Words:
    body = events[0].body
    until = _clock(body.get("until"))
    return (
        f"project {project} rests until {until}",
        [_reason(events[0]), "It goes on by itself then."],
        [f"bookkeeper status {project}"],
    )


def _ended(project: str, events: Sequence[Event]) -> Words:
    return f"project {project} has ended", [], [f"bookkeeper recover {project} --dry-run   (says what is missing)"]


def _excluded(project: str, events: Sequence[Event]) -> Words:
    body = events[0].body
    what = f"node {body.get('node')} is excluded until {_clock(body.get('until'))}"
    return what, [_reason(events[0])], [f"bookkeeper node admit {body.get('node')}   (when it is mended)"]


def _plugin(project: str, events: Sequence[Event]) -> Words:
    body = events[0].body
    lines = [f"Event {body.get('event')} ({body.get('kind')}) was given up after {body.get('attempt')} attempts."]
    return f"plug-in {body.get('plugin')} failed", [str(body.get("problem")), *lines], ["bookkeeper plugin list"]


_WORDS: Final[Mapping[str, Callable[[str, Sequence[Event]], Words]]] = {
    "complete": _complete,
    "parked": _parked,
    "braked": _braked,
    "rested": _rested,
    "ended": _ended,
    "excluded": _excluded,
    "plugin": _plugin,
}


def _counts(database: Database, project: str) -> str:
    """Return the numbers of the request as they are now."""
    try:
        now = projects.status(database, project)
    except NotFound:
        return ""
    parts = [f"{now.committed:,} of {_files(now.files)} committed"]
    parts += [f"{number:,} {name}" for name in ("held", "available", "parked") if (number := getattr(now, name))]
    return f"Now: {', '.join(parts)}."


def _reason(event: Event) -> str:
    return f"Reason: {event.body.get('reason') or 'none was given'}"


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _clock(at: Any) -> str:
    """Return a time of today as ``14:05``, of another day with its date, in this host's own time."""
    if not isinstance(at, int | float):
        return "an unknown time"
    there, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M" if there[:3] == now[:3] else "%Y-%m-%d %H:%M", there)
