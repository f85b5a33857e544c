"""`demo`: the whole story on real ROOT files, in a minute."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper.errors import BookkeeperError, Conflict, NotFound
from bookkeeper_cli import render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json, whole

if TYPE_CHECKING:
    from bookkeeper.submit import Progress

app = noun("The whole story on real ROOT files.")

SECONDS: Final = (3.0, 0.2)
"""How often to show how it goes: in a pipe, on a terminal."""


@verb(app, "demo", example="bookkeeper demo --data data/")
def demo(
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="A folder of real ROOT files, which are only read; else toys are made."),
    ] = None,
    folder: Annotated[
        str, typer.Option(metavar="DIR", help="Where to work: a folder that does not exist yet.")
    ] = "bookkeeper-demo",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder as it is at the end, to look around.")] = False,
    seed: Annotated[str, typer.Option(metavar="N", help="Another seed makes other toys.")] = "1",
    json: Json = False,
) -> int:
    """Show it all on real ROOT files: jobs that fail in every way, recovery, and the proof that each event is there once.

    Exits 0 if it was proved from the published outputs, else 1.
    """
    from bookkeeper.demo import run

    number = whole("--seed", seed, least=0)
    if data is not None and not Path(data).is_dir():
        raise NotFound(f"--data: there is no folder {data}", remedy="name a folder of ROOT files, or leave it out")
    place = Path(folder).absolute()
    _make(place)
    stage = Stage(silent=json)
    try:
        result = run(place, data=None if data is None else Path(data).absolute(), seed=number, keep=keep, show=stage)
    finally:
        stage.close()
    if json:
        render.json_object(result.as_dict())
    return int(result.exit_code)


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileExistsError as error:
        if not folder.is_dir() or any(folder.iterdir()):
            raise Conflict(
                f"{folder} is there already", remedy="move it away, or name another: --folder DIR"
            ) from error
    except OSError as error:
        raise BookkeeperError(
            f"{folder} cannot be made: {error.strerror}", remedy="name another: --folder DIR"
        ) from error


class Stage:
    """Where the story is shown."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._watch = render.Watch()
        self._due = 0.0

    def headline(self, text: str) -> None:
        """Begin another part of the story."""
        if self._speaks():
            render.headline(text)

    def say(self, text: str) -> None:
        """Tell something, in a line."""
        if self._speaks():
            render.say(text)

    def progress(self, progress: Progress) -> None:
        """Show how the jobs go."""
        if self._silent or progress.status is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + SECONDS[render.on_terminal()]
        pace = {"files_per_s": progress.files_per_s, "events_per_s": progress.entries_per_s, "eta_s": progress.eta}
        self._watch.show(
            {
                "project": progress.project,
                **progress.status.as_dict(),
                **pace,
                "last": progress.reasons,
                "processes": (),
            }
        )

    def table(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show rows under a title."""
        if rows and self._speaks():
            render.say(f"{title}:")
            columns = [Column(key, right=isinstance(rows[0][key], int)) for key in rows[0]]
            render.table(rows, columns, indent="  ")

    def verdict(self, ok: bool, text: str) -> None:
        """Tell whether something that was to be shown is so."""
        if self._speaks():
            render.verdict(ok, text)

    def close(self) -> None:
        """Take away what is shown in place."""
        self._watch.close()

    def _speaks(self) -> bool:
        self._watch.close()
        return not self._silent
