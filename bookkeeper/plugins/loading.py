"""Find plug-ins: what is installed under the entry-point group ``bookkeeper.plugins``, and the modules a spec names."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from bookkeeper.errors import UsageError
from bookkeeper.failures.evidence import text_of

if TYPE_CHECKING:
    import pluggy

    from bookkeeper.plugins.hooks import Notifier, Validator

GROUP: Final = "bookkeeper.plugins"

CATALOGUES: Final = ("bookkeeper_validators", "bookkeeper_executors", "bookkeeper_notifiers")
"""The hooks that offer things by name; all others are called after events."""

_UNNAMED: Final = re.compile(r" in plugin <.*>$")  # the module as Python shows it, of which the message tells the path


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in that is loaded: what it is called, where it comes from, the names of its hooks.

    ``installed``: found by its entry point, so that it belongs to this installation and not to a spec.
    """

    name: str
    source: str
    hooks: tuple[str, ...]
    installed: bool
    object: Any


class Plugins:
    """The plug-ins of a run, in the order in which they were loaded. ``broken`` are installed ones that do not load."""

    def __init__(self) -> None:
        import pluggy

        from bookkeeper.plugins import hooks

        self._manager: pluggy.PluginManager = pluggy.PluginManager(hooks.PROJECT)
        self._manager.add_hookspecs(hooks)
        self._plugins: list[Plugin] = []
        self.broken: dict[str, str] = {}

    def __iter__(self) -> Any:
        return iter(self._plugins)

    def __len__(self) -> int:
        return len(self._plugins)

    def add(self, name: str, object: Any, source: str, *, installed: bool = False) -> Plugin:
        """Take in a plug-in. Raises `UsageError` where its name is taken or a hook of it is none of ours."""
        import pluggy

        if self._manager.has_plugin(name):
            raise UsageError(f"there is a plug-in {name} already", remedy="give one of them another name")
        try:
            self._manager.register(object, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            said = _UNNAMED.sub("", " ".join(str(error).split()))
            raise UsageError(f"its hooks are not as they should be: {said}", remedy=f"there are {_hooks()}") from error
        found = sorted(caller.name for caller in self._manager.get_hookcallers(object) or ())
        plugin = Plugin(name, source, tuple(found), installed, object)
        self._plugins.append(plugin)
        return plugin

    def call(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """Call one hook of one plug-in; return what it says, None where it has nothing to say."""
        others = [one.object for one in self._plugins if one is not plugin]
        said = self._manager.subset_hook_caller(hook, others)(**arguments)
        return said[0] if said else None

    def validators(self) -> dict[str, Validator]:
        """Return the validators by name. Raises `UsageError`."""
        return self._offered("bookkeeper_validators")

    def executors(self) -> dict[str, Any]:
        """Return the factories of executors by kind. Raises `UsageError`."""
        return self._offered("bookkeeper_executors")

    def notifiers(self) -> dict[str, Notifier]:
        """Return the targets of notifications by name. Raises `UsageError`."""
        return self._offered("bookkeeper_notifiers")

    def _offered(self, hook: str) -> dict[str, Any]:
        """Return what all plug-ins offer by a hook; the one loaded last wins, as the spec's are loaded after the installed."""
        offered: dict[str, Any] = {}
        for plugin in self._plugins:
            if hook in plugin.hooks:
                try:
                    found = self.call(plugin, hook) or {}
                except Exception as error:
                    raise UsageError(f"plug-in {plugin.name}: {hook}: {in_a_line(error)}") from error
                if not isinstance(found, Mapping) or not all(callable(one) for one in found.values()):
                    raise UsageError(
                        f"plug-in {plugin.name}: {hook} must return names with callables, not {found!r:.100}"
                    )
                offered |= {str(name): one for name, one in found.items()}
        return offered


def load(modules: Sequence[str] = ()) -> Plugins:
    """Load what is installed, and modules: paths of .py files, or names to import. Raises `UsageError`.

    What is installed and broken is left out (`Plugins.broken`): nobody who runs a spec asked for it by name.
    """
    plugins = Plugins()
    for name, source, entry in _installed():
        try:
            plugins.add(name, entry.load(), source, installed=True)
        except UsageError as error:
            plugins.broken[name] = str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an import runs code of others, which may raise anything
            plugins.broken[name] = in_a_line(error)
    for module in modules:
        add_module(plugins, module)
    return plugins


def add_module(plugins: Plugins, module: str) -> Plugin:
    """Load a module that a spec names. Raises `UsageError` with where it failed, and the exception in one line."""
    is_path = module.endswith(".py")
    try:
        loaded = _from_file(Path(module)) if is_path else importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{module} cannot be imported: {_where(error, module)}{in_a_line(error)}") from error
    plugin = plugins.add(Path(module).stem if is_path else module, loaded, module)
    if not plugin.hooks:
        raise UsageError(
            f"{module} has no hook", remedy="mark one with @bookkeeper.plugins.hookimpl; see the reference of plug-ins"
        )
    return plugin


def in_a_line(error: BaseException) -> str:
    """Return an exception as one line of at most 300 characters, which any file takes. It may be unable to say itself."""
    said = text_of(error).encode("utf-8", "backslashreplace").decode()
    return f"{type(error).__name__}: {' '.join(said.split())}"[:300].rstrip(": ")


def validator(name: str, modules: Sequence[str]) -> Validator:
    """Return a validator by its name. Raises `UsageError`."""
    known = load(modules).validators()
    if name not in known:
        offered = ", ".join(sorted(known)) or "none"
        raise UsageError(
            f"{name!r} is no validator here", remedy=f"use deep, quick, a command, or one of plug-ins: {offered}"
        )
    return known[name]


def _hooks() -> str:
    """Return the names of all hooks."""
    from bookkeeper.plugins import hooks

    return ", ".join(name for name in vars(hooks) if name.startswith("bookkeeper_"))


def _installed() -> Iterable[tuple[str, str, Any]]:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.dist.name if point.dist else "?"
        yield point.name, f"{package} ({point.value})", point


def _from_file(path: Path) -> ModuleType:
    name = f"bookkeeper_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import does: dataclasses and pickle look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _where(error: BaseException, module: str) -> str:
    """Return ``line 7: `` where the exception came from the file itself."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == module]
    return f"line {lines[-1]}: " if lines else ""
