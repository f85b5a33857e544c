"""`pack`: what travels with the jobs of a spec, to look at, or to hand to a batch system by hand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bookkeeper.errors import UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.words import Json

app = noun("What travels with jobs.")


@verb(app, "pack", example="bookkeeper pack mass.toml --into job/")
def pack(
    spec: Annotated[str, typer.Argument(metavar="SPEC.toml", help='A spec with transfer = "files" in [executor].')],
    into: Annotated[str, typer.Option("--into", metavar="DIR", help="The folder to make.")],
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="For this project, one that recovers the spec's.")
    ] = None,
    json: Json = False,
) -> None:
    """Put all that a job of a spec needs on a node into a folder, and tell the command that runs one there.

    The node needs a Python of the same minor version and kind of processor, and nothing installed. It reaches the
    catalog by its server; where there is none, the command takes a ticket.
    """
    from bookkeeper.catalog import is_remote
    from bookkeeper.spec import load

    read = load(spec)
    if read.executor.transfer != "files":
        raise UsageError(
            f"{spec} says that nodes share the folders of this host: nothing travels",
            remedy='write transfer = "files" into [executor]',
        )
    address = read.executor.catalog or catalogs.url()
    catalog = address if is_remote(address) else None
    folder = _made(into)
    loaded = read.load(read.process(project), folder, catalog)
    program, *words = loaded.command if catalog else loaded.with_ticket("TICKET", "JOURNAL")
    words = ["/bin/sh", Path(program).name, *words]  # also where its permissions were lost on the way
    paths = [folder / loaded.program.name, *loaded.files]
    if json:
        files = [{"name": path.name, "path": str(path), "size": path.stat().st_size} for path in paths]
        render.json_object({"files": files, "command": words})
        return
    for path in paths:
        render.say(f"{path}: {render.size(path.stat().st_size)}")
    render.say(f"on the node: {shlex.join(words)}")


def _made(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir()
    except FileExistsError:
        raise UsageError(f"{name} is there already", remedy="remove it, or name a new folder") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be made: {error.strerror}") from error
    return folder
