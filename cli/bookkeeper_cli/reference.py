"""The reference pages that are made from the program: the commands, and the exit codes.

``python -m bookkeeper_cli.reference docs/reference`` writes both; a test holds that they are current.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from typer.main import get_command

from bookkeeper import errors
from bookkeeper_cli import main, render
from bookkeeper_cli.app import app

_CLI: Final = """\
# Commands

<!-- Made by `python -m bookkeeper_cli.reference docs/reference`. -->

`bookkeeper [--catalog URL] COMMAND …`

The catalog is the one that `--catalog` names, else `$BOOKKEEPER_CATALOG`, else `sqlite:///bookkeeper.db` in the working
folder. `bookkeeper --version` prints the version. Every command has `--help`. With `--json` a command prints one JSON
document (an array of objects, or an object) whose keys are stable; times in it are seconds since the epoch, UTC. On a
terminal there are tables, bars and colours (`NO_COLOR=1` turns colours off); in a pipe, and where a line does not fit,
plain lines. The [exit codes](exit-codes.md) say how a command ended.

| the catalog's address | is |
|---|---|
| `sqlite:///run3.db`, `sqlite:////data/run3.db`, or a plain path | a file on this host |
| `postgresql://USER@HOST/NAME` | a database |
| `https://HOST:PORT`, `http://HOST:PORT` | a [server](../how-to/remote.md) |

A server asks who calls. The token is never typed on a command line and never part of an address: it is taken from
`$BOOKKEEPER_TOKEN`, else from the file that `$BOOKKEEPER_TOKEN_FILE` names, else from `~/.config/bookkeeper/token`.
"""

_CODES: Final = """\
# Exit codes

<!-- Made by `python -m bookkeeper_cli.reference docs/reference`. -->

A command that fails prints what happened, and what to do next, to standard error: `error: …` and `→ …`; with `--json`
an object `{"error": …, "remedy": …, "exit_code": …}`. In Python the same error is an exception of that name.

| code | exception | meaning |
|---|---|---|
| 0 | | done |
"""

_ENDS: Final = (
    (main.INTERNAL, "a fault of bookkeeper itself; the message says where the details are"),
    (main.INTERRUPTED, "interrupted (Ctrl-C)"),
    (main.BROKEN_PIPE, "whoever read the output went away"),
)


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, by the words that name it."""
    root: Any = get_command(app)
    context = typer.Context(root, info_name="bookkeeper")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if hasattr(command, "commands"):
            for verb, inner in command.commands.items():
                yield f"bookkeeper {name} {verb}", inner
        else:
            yield f"bookkeeper {name}", command


def command_page() -> str:
    """Return the page of the commands."""
    return _CLI + "".join(f"\n{_section(path, command)}" for path, command in commands())


def _section(path: str, command: Any) -> str:
    usage, rows = [path], []
    for param in sorted(command.params, key=lambda param: param.param_type_name != "argument"):
        if param.param_type_name == "argument":
            name = param.metavar or str(param.name).upper()
            usage.append(name)
        else:
            name = _option(param)
            if param.required:
                usage.append(name)
        rows.append((name, param.help or "", _default(param)))
    words = inspect.cleandoc(command.help or "")
    table = "".join(f"| `{_cell(name)}` | {_cell(text)}{default} |\n" for name, text, default in rows)
    usage[1:1] = ["[OPTION]…"] if any(row[0].startswith("-") for row in rows) else []
    example = (command.epilog or "").removeprefix("Example: ")
    return (
        f"## `{path}`\n\n```text\n{' '.join(usage)}\n```\n\n{words}\n\n"
        f"| | |\n|---|---|\n{table}\n```text\n$ {example}\n```\n"
    )


def _option(param: Any) -> str:
    names = "/".join([*param.opts, *param.secondary_opts])
    return names if param.is_flag else f"{names} {param.metavar or param.name.upper()}"


def _default(param: Any) -> str:
    value = param.default
    return f" (default: `{_cell(str(value))}`)" if isinstance(value, str) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def exit_code_page() -> str:
    """Return the page of the exit codes."""
    rows = [(kind.exit_code, f"`{kind.__name__}`", _meaning(kind)) for kind in _tree(errors.BookkeeperError)]
    rows += [(code, "", meaning) for code, meaning in _ENDS]
    return _CODES + "".join(f"| {code} | {name} | {text} |\n" for code, name, text in rows)


def _tree(kind: type[errors.BookkeeperError]) -> Iterator[type[errors.BookkeeperError]]:
    """Yield the errors of the library as they are declared."""
    yield kind
    for value in vars(errors).values():
        if inspect.isclass(value) and issubclass(value, errors.BookkeeperError) and value is not kind:
            yield value


def _meaning(kind: type[errors.BookkeeperError]) -> str:
    """Return the docstring's first sentence; a remedy that always holds is said with it."""
    first = re.split(r"\.\s", inspect.cleandoc(kind.__doc__ or "") + " ")[0].strip().rstrip(".")
    remedy = f" → {kind.default_remedy}" if kind.default_remedy else ""
    return _cell(" ".join(first.split()) + remedy)


def pages() -> dict[str, str]:
    """Return the pages by their file names."""
    return {"cli.md": command_page(), "exit-codes.md": exit_code_page()}


def write(folder: Path) -> None:
    """Write the pages."""
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        render.line(f"wrote {folder / name}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
