"""Operations: the functions of the nouns that a program, a command or a server may call, wherever the catalog is.

`operation` marks a public function whose first argument is the catalog. With a catalog of this host it is called as it
is. With a catalog behind a server (a `Remote`), its arguments travel there as JSON, and its answer comes back as the
types that the function declares; an iterator comes as a stream. What is called on the way (``on_progress``) stays here.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from bookkeeper.errors import UsageError

if TYPE_CHECKING:
    from bookkeeper.protocol import Ledger

Scope = Literal["read", "work", "operate", "admin"]
"""What a caller must be allowed to, weakest first (`bookkeeper.access`)."""

F = TypeVar("F", bound=Callable[..., Any])

REGISTRY: Final[dict[str, Operation]] = {}
"""Every operation of the modules that are loaded, by its name: ``noun.verb``."""

API: Final = 1
"""The version of what travels: the ``v1`` of every path. It rises only when older ones cannot be understood."""

_NAME: Final = re.compile(r"[a-z_]+\.[a-z_]+")
_STAYS: Final = object()
_LISTS: Final = (Iterable, Iterator, Collection)


class Remote:
    """A catalog behind a server: what operations with it are sent to."""

    def call(self, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        """Let the server do it; return the answer."""
        raise NotImplementedError

    def ledger(self) -> Ledger:
        """Return the ledger, through the server."""
        raise NotImplementedError

    def give_up_when(self, told: Callable[[], bool]) -> None:
        """Let calls fail at once where they cannot be answered, rather than be repeated, once this is told."""


class Operation:
    """A function of a noun that may be called from afar.

    ``scope`` is what its caller must be allowed to, None where an argument proves who calls (the key of a process);
    ``raised`` tells which arguments ask for more. ``project`` and ``process`` name the argument that tells of which
    project, or of which process, it is. ``here`` are arguments that, left out, are filled in on the caller's side (who,
    and on which host). ``upload`` names the argument that travels as a stream, of any length, each
    item made ready by ``each(number, item)``. ``slow`` says that it may take minutes,
    ``again`` that made again, because nobody knows whether it was made, it does no harm.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        scope: Scope | None,
        *,
        name: str | None,
        raised: Mapping[str, Scope],
        project: str | None,
        process: str | None,
        here: Mapping[str, Callable[[], Any]],
        upload: str | None,
        each: Callable[[int, Any], Any] | None,
        slow: bool,
        again: bool,
    ) -> None:
        self.function, self.scope, self.raised, self.here = function, scope, raised, here
        self.project, self.process, self.upload, self.each = project, process, upload, each
        self.slow, self.again = slow, again or scope == "read"
        self.name = name or f"{function.__module__.split('.')[1]}.{function.__name__}"
        assert _NAME.fullmatch(self.name), self.name

    def __repr__(self) -> str:
        return f"<Operation {self.name}>"

    @property
    def changes(self) -> bool:
        """Whether it may change the catalog: then it is not simply sent again where its answer was lost."""
        return self.scope != "read"

    @functools.cached_property
    def parameters(self) -> dict[str, tuple[Any, Any]]:
        """What travels: type and default (`inspect.Parameter.empty` where it must be said), by the argument's name."""
        found = {}
        for one in list(inspect.signature(self.function).parameters.values())[1:]:
            if one.name == self.upload:
                continue
            hint = _hint_of(self.function, one.annotation)
            if hint is not _STAYS and not _is_called(hint):
                found[one.name] = (hint, one.default)
        return found

    @functools.cached_property
    def returns(self) -> Any:
        """The type of the answer; of an iterator, that of its items (see `streams`)."""
        hint = _hint_of(self.function, inspect.signature(self.function).return_annotation)
        assert hint is not _STAYS, f"{self.name} has no type that can travel"
        return typing.get_args(hint)[0] if self.streams else hint

    @functools.cached_property
    def streams(self) -> bool:
        """Whether the answer is an iterator, which is sent one line an item."""
        annotation = inspect.signature(self.function).return_annotation
        return str(annotation).startswith("Iterator[")

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the arguments that travel, those that are as the function has them anyway left out.

        Raises `UsageError` for one that cannot travel. What is called stays here.
        """
        signature = inspect.signature(self.function)
        bound = signature.bind(None, *args, **kwargs).arguments
        travel = {}
        for name, value in list(bound.items())[1:]:
            default = signature.parameters[name].default
            if default is not inspect.Parameter.empty and (value is default or value == default):
                continue
            if name == self.upload:
                travel[name] = value
            elif name in self.parameters:
                travel[name] = _as_list(value, self.parameters[name][0])
            elif callable(value):
                if self.upload is not None:
                    travel[name] = value  # told here, of what was sent
            else:
                raise UsageError(
                    f"{name} cannot be sent to the catalog's server",
                    remedy="leave it out, or do it on the server's host",
                )
        for name, filled in self.here.items():
            if travel.get(name) is None:
                travel[name] = filled()
        return travel


def operation(
    scope: Scope | None,
    *,
    name: str | None = None,
    raised: Mapping[str, Scope] | None = None,
    project: str | None = None,
    process: str | None = None,
    here: Mapping[str, Callable[[], Any]] | None = None,
    upload: str | None = None,
    each: Callable[[int, Any], Any] | None = None,
    slow: bool = False,
    again: bool = False,
) -> Callable[[F], F]:
    """Make a function whose first argument is the catalog an operation: see `Operation` for what is said of it."""

    def decorate(function: F) -> F:
        one = Operation(
            function,
            scope,
            name=name,
            raised=raised or {},
            project=project,
            process=process,
            here=here or {},
            upload=upload,
            each=each,
            slow=slow,
            again=again,
        )
        REGISTRY[one.name] = one

        @functools.wraps(function)
        def call(database: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(database, Remote):
                return database.call(one, one.bind(*args, **kwargs))
            return function(database, *args, **kwargs)

        return cast(F, call)

    return decorate


def refuse(database: object, what: str, remedy: str) -> None:
    """Raise `UsageError` where the catalog is behind a server: ``what`` is done on the server's host only."""
    if isinstance(database, Remote):
        raise UsageError(f"{what} through a server", remedy=remedy)


def _hint_of(function: Callable[..., Any], annotation: Any) -> Any:
    """Return a type as it travels; `_STAYS` where it cannot: its name is known to type checkers only, say."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, function.__globals__)  # noqa: S307 - the program's own annotations
        except NameError:
            return _STAYS
    return _travelling(annotation)


def _travelling(hint: Any) -> Any:
    """Return a type in which every kind of collection is one that JSON has."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is None or _is_called(hint) or origin is Literal:
        return hint
    inner = [one if one is Ellipsis else _travelling(one) for one in arguments]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(inner)]  # noqa: UP007 - made of types that are known at run time only
    if origin in _LISTS or origin is Sequence:
        return list[inner[0]]  # type: ignore[valid-type]
    if origin is Mapping:
        return dict[inner[0], inner[1]]  # type: ignore[valid-type]
    return origin[tuple(inner)]


def _is_called(hint: Any) -> bool:
    return typing.get_origin(hint) is Callable or any(_is_called(one) for one in typing.get_args(hint))


def _as_list(value: Any, hint: Any) -> Any:
    """Return what an iterator gives, where a list travels."""
    if isinstance(value, Iterator) or (
        not isinstance(value, str | bytes | Mapping | list | tuple) and _takes_list(hint)
    ):
        return list(value) if isinstance(value, Iterable) else value
    return value


def _takes_list(hint: Any) -> bool:
    return typing.get_origin(hint) is list or any(_takes_list(one) for one in typing.get_args(hint))
