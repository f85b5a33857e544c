"""Operations: what of a function travels, and what stays."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

import bookkeeper
from bookkeeper.errors import UsageError
from bookkeeper.operations import REGISTRY, Operation, Remote, operation, refuse
from bookkeeper.server.operations import PAGES, SCOPES, arguments_of, load

if TYPE_CHECKING:
    from nowhere import Unknown


class Elsewhere(Remote):
    """Takes down what is sent to it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def call(self, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        self.sent.append((operation.name, dict(arguments)))
        return "answer"


@pytest.fixture
def shout() -> Iterator[Callable[..., Any]]:
    @operation("work", name="tests.shout", here={"by": lambda: "me"})
    def shout(
        database: object,
        words: Iterable[str],
        *,
        times: int = 1,
        by: str | None = None,
        on_progress: Callable[[int], object] | None = None,
        odd: Unknown | None = None,
    ) -> str:
        """Say words loudly."""
        return " ".join(words).upper() * times

    yield shout
    del REGISTRY["tests.shout"]


def test_with_a_catalog_of_this_host_it_is_the_plain_function(shout: Callable[..., Any]) -> None:
    assert shout(object(), ["a", "b"], times=2) == "A BA B"
    assert shout.__doc__ == "Say words loudly."


def test_only_what_was_said_travels(shout: Callable[..., Any]) -> None:
    there = Elsewhere()
    assert shout(there, iter("ab"), times=1, on_progress=print) == "answer"
    assert there.sent == [("tests.shout", {"words": ["a", "b"], "by": "me"})]


def test_what_cannot_travel_is_refused(shout: Callable[..., Any]) -> None:
    there = Elsewhere()
    with pytest.raises(UsageError, match="odd cannot be sent"):
        shout(there, [], odd=3)
    with pytest.raises(UsageError, match="a catalog is not moved through a server"):
        refuse(there, "a catalog is not moved", remedy="carry it")
    assert not there.sent


def test_arguments_are_checked_strictly(shout: Callable[..., Any]) -> None:
    import msgspec

    kind = arguments_of(REGISTRY["tests.shout"])
    assert msgspec.json.decode('{"words": ["a"]}', type=kind).times is msgspec.UNSET
    for wrong in ('{"words": "a"}', '{"words": ["a"], "times": "2"}', '{"words": [], "odd": 1}', "{}", "[]"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=kind)


def test_a_server_knows_all_operations() -> None:
    """What a client may send, a server has loaded."""
    known = set(load())
    for module in pkgutil.walk_packages(bookkeeper.__path__, "bookkeeper."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert set(REGISTRY) == known
    assert set(PAGES.values()) <= known


@pytest.mark.parametrize("name", sorted(load()))
def test_every_operation_can_travel(name: str) -> None:
    import inspect

    one = REGISTRY[name]
    assert one.scope is None or one.scope in SCOPES
    assert one.function.__doc__
    one.returns
    stays = inspect.signature(one.function).parameters.keys() - one.parameters.keys() - {one.upload}
    assert stays <= {"database", "on_progress", "on_step"}, "nothing but what is called stays behind"
    for named in (one.project, one.process, *one.raised, *one.here):
        assert named is None or named in one.parameters
