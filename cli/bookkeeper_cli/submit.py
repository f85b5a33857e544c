"""`submit`: run a spec, and show how it goes."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper.errors import CatalogMissing, Incomplete, UsageError
from bookkeeper.operations import Remote
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.views import look, overview
from bookkeeper_cli.words import Json, whole

if TYPE_CHECKING:
    from bookkeeper.catalog import Database
    from bookkeeper.spec import Spec
    from bookkeeper.submit import Plan, Progress

app = noun("Run what a spec describes.")

SECONDS: Final = (3.0, 0.5)
"""How often to show how it goes: in a pipe, on a terminal."""


@verb(app, "submit", example="bookkeeper submit mass.toml --jobs 4")
def submit(
    spec: Annotated[str, typer.Argument(metavar="SPEC.toml", help="The description of project, job and output.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run; change nothing.")] = False,
    jobs: Annotated[str | None, typer.Option(metavar="N", help="Jobs at a time; else as the spec says.")] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Write where another catalog wrote.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Hand the jobs to the batch system and end; `watch` looks after them.")
    ] = False,
    json: Json = False,
) -> int:
    """Start or resume the project that a spec names, and run its jobs until no file is left.

    Exits 0 complete, 10 incomplete, 11 paused. Ctrl-C stops it in good order; the same command goes on.
    """
    number = whole("--jobs", jobs)
    if dry_run:
        return _show_plan(spec, number, json)
    return submit_spec(spec, number, as_json=json, adopt=adopt, detach=detach)


def _show_plan(path: str, jobs: int | None, as_json: bool) -> int:
    from bookkeeper.spec import load
    from bookkeeper.submit import plan

    spec = load(path)
    with contextlib.ExitStack() as stack:
        try:
            database: Database | None = stack.enter_context(catalogs.reading())
        except CatalogMissing:
            database = None
        planned = plan(spec, database, jobs=jobs)
    made = _submission(spec, planned)
    if as_json:
        render.json_object({**planned.as_dict(), "written": [str(one) for one in made]})
    else:
        _tell(planned)
        for one in made:
            render.say(f"written    {one}")
        render.say("Nothing was submitted." if made else "Nothing was changed.")
    return 0


def _submission(spec: Spec, planned: Plan) -> list[Path]:
    """Write what a batch system would be given into a folder beside the spec; of other executors nothing."""
    from bookkeeper.executors import is_batch

    if not is_batch(spec.executor.kind) or planned.action in ("finished", "refused"):
        return []
    from bookkeeper.catalog import open_existing
    from bookkeeper.submit import written

    try:
        with contextlib.closing(open_existing(catalogs.url())) as database:
            address = database.url
    except CatalogMissing:
        address = catalogs.url()
    return written(spec, address, spec.folder.absolute() / f"{spec.project.name}-dry-run")


_ACTIONS: Final = {
    "start": "would be started",
    "resume": "would go on",
    "finished": "is complete: nothing would run",
    "refused": "would be refused",
}


def _tell(planned: Plan) -> None:
    render.say(f"project {planned.project} {_ACTIONS[planned.action]}: {render.count(planned.files, 'file')}")
    if planned.files:
        about = f"about {render.count(planned.processes, 'process', 'processes')}, " if planned.processes else ""
        render.say(f"jobs       {about}{planned.jobs:,} at a time")
        render.say(f"command    {shlex.join(planned.command)}")
        render.say(f"folder     {planned.workdir}")
        for url in planned.outputs:
            render.say(f"output     {url}")
    for warning in planned.warnings:
        render.say(f"warning    {warning}")


def submit_spec(
    path: str, jobs: int | None, *, as_json: bool, request: str | None = None, adopt: bool = False, detach: bool = False
) -> int:
    """Run a spec to its end, or only hand its jobs over (``detach``); return the exit code: complete, incomplete, paused, or interrupted.

    ``request`` is the one that the spec's project must belong to, where that is known.
    """
    from bookkeeper.remembering import remember
    from bookkeeper.spec import load
    from bookkeeper.submit import prepare
    from bookkeeper.submit import submit as run

    spec = load(path)
    _warn(spec)
    with catalogs.writing() as database:
        _check_request(database, spec.project.name, request, path)
        with stopped_by_signals() as (stop, caught), _shown(database, quietly=as_json) as on_update:
            if isinstance(database, Remote):
                database.give_up_when(stop.is_set)
            prepare(spec, database, on_update)
            remember(database, spec, path, jobs)
            submitted = run(spec, database, jobs=jobs, adopt=adopt, on_update=on_update, stop=stop, detach=detach)
        view = look(database, submitted.project)
    if as_json:
        render.json_object({**view, "interrupted": submitted.interrupted, "untold": submitted.untold})
    else:
        render.status_lines(view | {"last": submitted.reasons})
        if submitted.interrupted and not detach:
            render.note(f"stopped in good order; `bookkeeper submit {shlex.quote(path)}` goes on where it was")
    if submitted.untold:
        render.note(f"{', '.join(submitted.untold)}: not told everything; `bookkeeper plugin run {path}` tries again")
    if detach and submitted.exit_code == Incomplete.exit_code:
        return 0
    return 128 + caught[0] if caught and not view["complete"] else submitted.exit_code


def _warn(spec: Spec) -> None:
    """Tell beforehand what would keep people from being notified, and what jobs in a queue would find out late."""
    from bookkeeper.executors import is_batch
    from bookkeeper.submit import program_missing, unreachable

    late = program_missing(spec) if is_batch(spec.executor.kind) else ()
    for problem in (*unreachable(spec), *late):
        render.note(f"warning: {problem}")


def _check_request(database: Database, project: str, request: str | None, path: str) -> None:
    from bookkeeper import projects

    if request is not None and (found := projects.status(database, project).request) != request:
        raise UsageError(
            f"{path} is the spec of project {project}, of request {found}, not of {request}",
            remedy="name the spec of this request: --spec SPEC.toml",
        )


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Let Ctrl-C and SIGTERM ask for a stop in good order; the second one interrupts."""
    stop, caught = threading.Event(), list[int]()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        caught.append(number)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop, caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _shown(database: Database, *, quietly: bool) -> Iterator[Any]:
    """Show the screen of the request while its jobs run: in place, or a line now and then."""
    if quietly:
        yield lambda progress: None
        return
    with render.watching() as show:
        due = 0.0

        def on_update(progress: Progress) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + SECONDS[render.on_terminal()]
                show(_view(database, progress))

        yield on_update


def _view(database: Database, progress: Progress) -> dict[str, Any]:
    if progress.status is None:
        return {"project": progress.project, "scanned": progress.scanned, "to_scan": progress.to_scan}
    pace = {
        "files_per_s": progress.files_per_s,
        "events_per_s": progress.entries_per_s,
        "eta_s": progress.eta,
        "last": progress.reasons,
        "waiting": progress.waiting,
        "reasons": (),
        "next": ["Ctrl-C stops in good order; the same command goes on"] if progress.phase == "running" else [],
    }
    return {**overview(database, progress.project, progress.status), **pace, "phase": progress.phase}
