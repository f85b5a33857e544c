"""Who is told events: what it wants to hear, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

from bookkeeper import projects
from bookkeeper.catalog import Database
from bookkeeper.errors import NotAllowed, UsageError
from bookkeeper.operations import operation
from bookkeeper.plugins import log
from bookkeeper.plugins.loading import CATALOGUES, Plugin, Plugins
from bookkeeper.plugins.values import Amendment, Event, Failure, HoldBack, Park, Pause

AMENDED: Final = "plugin.decided"

Effect = Callable[[Database], None]
"""What a subscriber's answer asks for: done, in transactions of its own, before its cursor moves."""

Call = Callable[[], Sequence[Effect]]
"""The call of a subscriber's code, ready to be made: outside of any transaction, in a thread that may be abandoned."""

AVAILABLE: Final = """
SELECT 1 FROM ledger l JOIN files f ON f.id = l.file_id
 WHERE l.request_id = (SELECT request_id FROM projects WHERE name = :project) AND f.name = :file AND l.state = 'available'
"""


class Subscriber(Protocol):
    """Whoever is told events. ``name`` is that of its cursor."""

    name: str

    def wants(self, event: Event) -> bool:
        """Tell whether it is told this event."""
        ...

    def gathers(self, event: Event) -> bool:
        """Tell whether this event may be told together with others of its kind, some seconds later."""
        ...

    def prepare(self, database: Database, events: Sequence[Event]) -> Call:
        """Look up what it has to be told: one event, or those that were gathered."""
        ...


class Listener:
    """The hooks of a plug-in that are called after events.

    One that is installed is told of the whole catalog; one that a spec names, of the spec's request, and of what
    belongs to none.
    """

    def __init__(self, plugins: Plugins, plugin: Plugin, request: str | None) -> None:
        self._plugins, self.plugin = plugins, plugin
        self._request = None if plugin.installed else request
        self.name = cursor_name(plugin.name, self._request)

    def wants(self, event: Event) -> bool:
        """See `Subscriber.wants`."""
        return not own_failure(self.name, event) and concerns(event, self._request) and bool(self._hooks(event))

    def gathers(self, event: Event) -> bool:
        """See `Subscriber.gathers`."""
        return False

    def prepare(self, database: Database, events: Sequence[Event]) -> Call:
        """See `Subscriber.prepare`."""
        (event,) = events
        hooks = self._hooks(event)
        failure = log.failure(database, event) if set(hooks) - {"bookkeeper_event"} else None

        def call() -> list[Effect]:
            effects: list[Effect] = []
            if "bookkeeper_event" in hooks:
                self._ask("bookkeeper_event", event=event)
            if "bookkeeper_classify" in hooks and failure is not None:
                effects += self._reclassify(failure, self._ask("bookkeeper_classify", failure=failure))
            if "bookkeeper_decide" in hooks:
                answer = self._ask("bookkeeper_decide", failure=failure, decision=log.decision(event))
                effects += self._amend(event, failure, answer)
            return effects

        return call

    def _hooks(self, event: Event) -> list[str]:
        """Return the hooks of the plug-in that an event calls. A second opinion is not asked about a second opinion."""
        called = ["bookkeeper_event"]
        if event.kind == log.CLASSIFIED and not str(event.body.get("by")).startswith("plugin:"):
            called.append("bookkeeper_classify")
        if event.kind == log.DECIDED:
            called.append("bookkeeper_decide")
        return [hook for hook in called if hook in self.plugin.hooks]

    def _ask(self, hook: str, **arguments: Any) -> Any:
        return self._plugins.call(self.plugin, hook, **arguments)

    def _reclassify(self, failure: Failure, answer: Any) -> list[Effect]:
        if answer is None:
            return []
        explanation, by = _explanation(answer), f"plugin:{self.plugin.name}"

        return [lambda database: reclassified(database, failure.process_id, asdict(explanation), by=by)]

    def _amend(self, event: Event, failure: Failure | None, answer: Any) -> list[Effect]:
        if answer is None:
            return []
        if not isinstance(answer, Amendment):
            raise UsageError(f"bookkeeper_decide must return HoldBack, Park, Pause or None, not {answer!r:.100}")
        return [lambda database: amend(database, event, failure, answer, by=f"plugin:{self.plugin.name}")]


def listeners(plugins: Plugins, request: str | None) -> list[Listener]:
    """Return the plug-ins that are called after events."""
    return [Listener(plugins, plugin, request) for plugin in plugins if set(plugin.hooks) - set(CATALOGUES)]


def cursor_name(name: str, request: str | None) -> str:
    """Return the name of a cursor: of a plug-in of the installation, or of a spec's for its request."""
    return name if request is None else f"{name}@{request}"


def concerns(event: Event, request: str | None) -> bool:
    """Tell whether an event belongs to a request, or to none; to None, everything belongs."""
    return request is None or event.request in (None, request)


def own_failure(name: str, event: Event) -> bool:
    """Tell whether an event is a failure of this plug-in, or one to take in another's: nobody is told these.

    Otherwise two plug-ins that fail would tell each other of it for ever.
    """
    return event.kind == log.FAILED and (event.body.get("plugin") == name or event.body.get("kind") == log.FAILED)


@operation("operate", process="process")
def reclassified(database: Database, process: int, explanation: Mapping[str, Any], *, by: str) -> None:
    """Record how a plug-in explains the failure of a process."""
    from bookkeeper import retries

    explained = _explanation(explanation)
    database.run(lambda tx: retries.reclassified(tx, process, explained, by=by))


@operation("work", project="project")
def amended(database: Database, body: Mapping[str, Any], *, project: str, process: int | None) -> None:
    """Record what a plug-in decided."""
    database.run(lambda tx: log.append(tx, AMENDED, body, project=project, process=process))


def amend(database: Database, event: Event, failure: Failure | None, amendment: Amendment, *, by: str) -> None:
    """Carry out what a plug-in decided, through the verbs of `bookkeeper.projects`, and record it.

    Done again (the dispatcher died before its cursor moved), it does no harm. Where it comes too late, the project
    having ended or the files being held or committed by now, that is recorded.
    """
    project = event.project or ""
    reason = f"{by}: {amendment.reason}".rstrip(": ")
    decision, files, problem = log.decision(event), [], None
    if isinstance(amendment, HoldBack | Park):
        chosen = amendment.files or decision.suspects or (failure.files if failure else ())
        files = [name for name in chosen if database.one(AVAILABLE, {"project": project, "file": name})]
    try:
        if isinstance(amendment, Pause):
            projects.pause(database, project, reason)
        elif not files:
            problem = "none of the files is available any more"
        elif isinstance(amendment, Park):
            projects.park(database, project, files, reason)
        else:
            projects.hold_back(database, project, files, amendment.seconds, reason)
    except NotAllowed as error:
        problem = str(error)
    what = {HoldBack: "hold back", Park: "park", Pause: "pause"}[type(amendment)]
    body = {
        "by": by,
        "event": event.id,
        "decision": what,
        "reason": amendment.reason,
        "files": files,
        "problem": problem,
    }
    amended(database, body, project=project, process=event.process_id)


def _explanation(answer: Any) -> Any:
    """Return a plug-in's answer as an `Explanation`. Raises `UsageError` where it is none."""
    from bookkeeper.failures import Explanation, FailureCategory

    def said(name: str, otherwise: Any) -> Any:
        value = answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)
        return otherwise if value is None else value

    try:
        category = FailureCategory(said("category", ""))
    except ValueError as error:
        allowed = ", ".join(FailureCategory)
        raise UsageError(f"bookkeeper_classify: {answer!r:.100} has no known category; allowed: {allowed}") from error
    return Explanation(
        category=category,
        rule=str(said("rule", "plugin")),
        evidence=str(said("evidence", "")),
        source=str(said("source", "none")),
        confidence=_confidence(said("confidence", 1.0)),
        remedy=str(said("remedy", "")),
    )


def _confidence(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(f"bookkeeper_classify: the confidence must be a number from 0 to 1, not {value!r:.100}")
    return float(value)
