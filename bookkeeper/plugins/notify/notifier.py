"""One target of notifications as a subscriber of events: which it is told, and which are gathered into one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bookkeeper.catalog import Database
from bookkeeper.plugins import log
from bookkeeper.plugins.hooks import Notifier as Offered
from bookkeeper.plugins.notify.messages import compose, occasion_of
from bookkeeper.plugins.notify.targets import Notify, Target, targets
from bookkeeper.plugins.subscribers import Call, concerns, cursor_name, own_failure
from bookkeeper.plugins.values import Event


class Notifier:
    """A target, told of one request's occasions."""

    def __init__(self, target: Target, request: str) -> None:
        self.target = target
        self.name = cursor_name(f"notify:{target.name}", request)
        self._request = request

    def wants(self, event: Event) -> bool:
        """See `Subscriber.wants`. Of the failures of a plug-in, only that which gave an event up."""
        if own_failure(self.name, event) or not concerns(event, self._request):
            return False
        if event.kind == log.FAILED and not event.body.get("given_up"):
            return False
        return occasion_of(event) in self.target.notify.on

    def gathers(self, event: Event) -> bool:
        """See `Subscriber.gathers`: files that are parked one after the other make one message."""
        return occasion_of(event) == "parked"

    def prepare(self, database: Database, events: Sequence[Event]) -> Call:
        """See `Subscriber.prepare`."""
        title, body = compose(database, events, self._request)

        def call() -> list[object]:
            self.target.send(self.target.notify.title or title, body)
            return []

        return call  # type: ignore[return-value]


def notifiers(tables: Sequence[Notify], offered: Mapping[str, Offered], request: str) -> list[Notifier]:
    """Return the targets of a spec as subscribers."""
    return [Notifier(target, request) for target in targets(tables, offered)]
