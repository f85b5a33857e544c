"""The commands and where they live: a noun's module is loaded when the noun is used, or when help lists them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as built

from bookkeeper.errors import UsageError
from bookkeeper_cli import catalogs, render

F = TypeVar("F", bound=Callable[..., Any])

NOUNS: Final = ("file", "dataset", "project", "process", "dag", "failures", "node", "token", "plugin", "transfer")
"""Commands that have verbs of their own; each is a module of that name."""

HOMES: Final = {
    "init": "catalog",
    "demo": "demo",
    "file": "file",
    "dataset": "dataset",
    "project": "project",
    "submit": "submit",
    "watch": "jobs",
    "jobs": "jobs",
    "kill": "jobs",
    "resubmit": "jobs",
    "hold": "jobs",
    "release": "jobs",
    "transfer": "transfer",
    "work": "work",
    "pack": "pack",
    "ticket": "journal",
    "ingest": "journal",
    "dag": "dag",
    "process": "process",
    "status": "status",
    "failures": "failures",
    "report": "report",
    "recover": "recover",
    "node": "node",
    "token": "token",
    "outputs": "status",
    "logs": "status",
    "lineage": "status",
    "plugin": "plugin",
    "serve": "serve",
    "check": "catalog",
    "sql": "catalog",
    "backup": "catalog",
    "copy": "copy",
    "export": "export",
    "validate": "catalog",
}
"""The module of every command, in the order in which help shows them."""

# The errors of the parser, by whatever name this version of typer imports them.
_ParserError: type[Exception] = typer.BadParameter.__mro__[2]


class _Ours:
    """How our commands differ from typer's: lighter at the start, plain help in a pipe, summaries that end."""

    rich_markup_mode: Any

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options and arguments; their words need no conversion.

        Newer versions of typer import pydantic for that: it takes as long as all of `status`.
        """
        return _taken_as_they_are(super().get_params(ctx))  # type: ignore[misc]

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first sentence of the help, whole."""
        return str(super().get_short_help_str(1000))  # type: ignore[misc]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help: with frames and colours on a terminal."""
        self.rich_markup_mode = "rich" if render.on_terminal() else None
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Verb(_Ours, TyperCommand):
    """A command that does something."""


class Noun(_Ours, TyperGroup):
    """A command that has verbs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the next word names."""
        word, names = args[0], self.list_commands(ctx)
        if word in names or word.startswith("-"):
            return super().resolve_command(ctx, args)
        alike = get_close_matches(word, names, n=2)
        remedy = f"did you mean {' or '.join(alike)}? " if alike else ""
        raise UsageError(
            f"{ctx.command_path} has no command {word[:200]!r}",
            remedy=f"{remedy}`{ctx.command_path} --help` lists them",
        )


class Root(Noun):
    """`bookkeeper` itself: knows the names of its commands, and loads them one by one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(HOMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command."""
        if cmd_name not in HOMES:
            return None
        found: Any = built(import_module(f"bookkeeper_cli.{HOMES[cmd_name]}").app)
        if cmd_name not in NOUNS and hasattr(found, "commands"):
            found = found.commands[cmd_name]
        found.name = cmd_name
        return found


def _taken_as_they_are(params: list[Any]) -> list[Any]:
    """Let texts, lists of texts and flags skip the conversion of newer versions of typer."""
    for param in params:
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is not None and descriptor.annotation in (str, list[str], bool):
            param.process_value = partial(_as_it_is, param)
    return params


def _as_it_is(param: Any, ctx: Any, value: Any) -> Any:
    odd = param.type_descriptor.annotation is bool and not isinstance(value, bool | None)
    if odd or (param.required and param.value_is_missing(value)):
        return type(param).process_value(param, ctx, value)  # which raises the parser's own error
    return value if param.callback is None else param.callback(ctx, param, value)


def noun(help: str, cls: type[Noun] = Noun) -> typer.Typer:
    """Return a group of commands."""
    return typer.Typer(help=help, cls=cls, **_SETTINGS)


def verb(group: typer.Typer, name: str, *, example: str) -> Callable[[F], F]:
    """Declare a command; ``example`` is a command line that its help shows."""
    return group.command(name, cls=Verb, epilog=f"Example: {example}", context_settings=_CONTEXT)


_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}
_SETTINGS: Final[dict[str, Any]] = {
    "context_settings": _CONTEXT,
    "subcommand_metavar": "COMMAND …",
    "add_completion": False,
    "pretty_exceptions_enable": False,
}

app = typer.Typer(cls=Root, epilog="Example: bookkeeper --catalog sqlite:///run3.db status zmumu-mass", **_SETTINGS)


def _show_version(asked: bool) -> None:
    if asked:
        from bookkeeper import __version__

        render.line(f"bookkeeper {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def bookkeeper(
    ctx: typer.Context,
    catalog: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The catalog: a file, a database, or the https address of a server; else $BOOKKEEPER_CATALOG, else sqlite:///bookkeeper.db in this folder.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Has every file been processed, exactly once?

    Declare files, define a dataset, start a project; run jobs; see what is missing, and recover it.
    """
    catalogs.use(catalog)
    if ctx.invoked_subcommand is None:
        render.line(ctx.get_help())


def run(words: Sequence[str]) -> int:
    """Run a command line; return the exit code. Raises `BookkeeperError`, `KeyboardInterrupt`."""
    try:
        code = built(app).main(args=list(words), prog_name="bookkeeper", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except _ParserError as error:
        raise _usage_error(error, words) from error
    except SystemExit as error:  # typer's answer to a pipe that broke, which is ours to give
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    return code if isinstance(code, int) else 0


def _usage_error(error: Any, words: Sequence[str]) -> UsageError:
    """Return an error of the parser in our words."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "bookkeeper"
    if context is not None and message == "Missing command":
        return UsageError(f"{path} needs a verb", remedy=f"one of {', '.join(context.command.list_commands(context))}")
    remedy = f"`{path} --help` shows what can be typed"
    if path == "bookkeeper work" and hasattr(error, "option_name"):
        remedy = "two dashes come before the command: `bookkeeper work PROJECT [OPTION]… -- COMMAND …`"
    elif getattr(error, "option_name", None) == "--catalog":
        remedy = "--catalog comes right after bookkeeper: `bookkeeper --catalog URL …`"
    return UsageError(message[:1].lower() + message[1:], remedy=remedy)
