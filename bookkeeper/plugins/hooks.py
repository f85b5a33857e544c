"""The hooks: what a plug-in may implement. Mark a function of the same name, and any of its arguments, with `hookimpl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pluggy

from bookkeeper.plugins.values import Amendment, Decision, Event, Failure

PROJECT: Final = "bookkeeper"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook that has its name."""

Validator = Callable[[str, Mapping[str, Any]], object]
"""Judges a file (path, expectation); raises `bookkeeper.ValidationError` where it is not what it should be."""

Notifier = Callable[[str, str], object]
"""Brings a message (title, body) to somebody; raises where it could not."""


@hookspec
def bookkeeper_event(event: Event) -> None:
    """Learn that an event was recorded. Called after the commit, in the order of the log, at least once per event."""


@hookspec
def bookkeeper_classify(failure: Failure) -> Any:
    """Give a second opinion about a failure: a `bookkeeper.failures.Explanation`, or None to leave it as it is.

    Anything that has ``category``, ``rule`` and ``remedy`` (attributes or keys) will do. It is recorded as another
    ``failure.classified`` event, by ``plugin:NAME``; the newest one counts in every report.
    """


@hookspec
def bookkeeper_decide(failure: Failure | None, decision: Decision) -> Amendment | None:
    """Amend a decision after a failure: `HoldBack`, `Park` or `Pause`, or None to leave it as it is."""


@hookspec
def bookkeeper_validators() -> Mapping[str, Validator]:  # type: ignore[empty-body]
    """Offer validators, by the names that ``validate = "NAME"`` in a spec's ``[output]`` asks for."""


@hookspec
def bookkeeper_executors() -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Offer executors, by the words that ``kind`` in a spec's ``[executor]`` asks for, each a `bookkeeper.executors.Factory`."""


@hookspec
def bookkeeper_notifiers() -> Mapping[str, Notifier]:  # type: ignore[empty-body]
    """Offer targets of notifications, by the names that ``url = "NAME"`` (or ``"NAME://…"``) in ``[[notify]]`` asks for."""
