"""Plug-ins: code of others that learns of events, gives second opinions, and brings validators, executors, notifiers.

A plug-in is never called inside a transaction of the catalog. It is called after the commit, from the log of events,
at least once for each, with a cursor of its own; so one that was away catches up, and one that raises or hangs harms
nobody but itself. Who calls it, and when, is told in `bookkeeper.plugins.lanes`.
"""

from bookkeeper.plugins.dispatcher import Dispatcher, subscribe, subscribers
from bookkeeper.plugins.hooks import hookimpl
from bookkeeper.plugins.lanes import Patience
from bookkeeper.plugins.loading import Plugin, Plugins, add_module, load, validator
from bookkeeper.plugins.notify import Notify
from bookkeeper.plugins.standing import standing
from bookkeeper.plugins.subscribers import Subscriber
from bookkeeper.plugins.values import Amendment, Decision, Event, Failure, HoldBack, Park, Pause

__all__ = [
    "Amendment",
    "Decision",
    "Dispatcher",
    "Event",
    "Failure",
    "HoldBack",
    "Notify",
    "Park",
    "Patience",
    "Pause",
    "Plugin",
    "Plugins",
    "Subscriber",
    "add_module",
    "hookimpl",
    "load",
    "standing",
    "subscribe",
    "subscribers",
    "validator",
]
