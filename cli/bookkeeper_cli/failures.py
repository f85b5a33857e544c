"""`failures`: what failed and why; one process; explain anew; explain a log by hand."""

from __future__ import annotations

import signal as signals
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from bookkeeper.errors import StorageError, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import Noun, noun, verb
from bookkeeper_cli.words import Json, Project, one_of, process_number, whole

if TYPE_CHECKING:
    from bookkeeper.failures import Rules

MOST: Final = 32 * 2**20
"""Bytes of a log that are read, the last ones."""


class _Failures(Noun):
    """The verbs; a first word that is none of them is a project, whose failures are shown."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` before anything that is neither a verb nor a call for help."""
        known = {*self.list_commands(ctx), *ctx.help_option_names}
        shown = ["show", *args] if args and args[0] not in known else args
        return list(super().parse_args(ctx, shown))


app = noun("See what failed and why: `bookkeeper failures PROJECT`.", _Failures)

RulesFile = Annotated[
    str | None, typer.Option("--rules", metavar="FILE", help="Rules of your own (TOML), used beside the shipped ones.")
]


@verb(app, "show", example="bookkeeper failures zmumu-mass")
def show(
    project: Project,
    category: Annotated[
        str | None, typer.Option(metavar="C", help="Only this category, for example transient_io.")
    ] = None,
    node: Annotated[str | None, typer.Option(metavar="N", help="Only failures on this node.")] = None,
    rule: Annotated[str | None, typer.Option(metavar="R", help="Only failures that this rule explains.")] = None,
    limit: Annotated[str, typer.Option(metavar="N", help="The entries of every list.")] = "10",
    json: Json = False,
) -> None:
    """Show the failures of a request: by category, rule, message and node; what was decided; whom to suspect.

    `bookkeeper failures PROJECT` is short for it.
    """
    from bookkeeper import reporting

    if category is not None:
        from bookkeeper.failures import FailureCategory

        one_of("--category", category, [one.value for one in FailureCategory])
    number = whole("--limit", limit)
    with catalogs.reading() as database:
        view = reporting.failures_of(database, project, category=category, node=node, rule=rule, limit=number)
    if json:
        render.json_object(view)
    else:
        render.failures_screen(view)


@verb(app, "process", example="bookkeeper failures process 17")
def process(
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="The number of a process.")], json: Json = False
) -> None:
    """Show why one process failed: the rule, the evidence, the decision, the last words, what to type next."""
    from bookkeeper import reporting

    number = process_number("PROCESS", process)
    with catalogs.reading() as database:
        view = reporting.failure_of(database, number)
    if json:
        render.json_object(view)
    else:
        render.failed_process(view)


@verb(app, "reclassify", example="bookkeeper failures reclassify zmumu-mass --dry-run")
def reclassify(
    projects: Annotated[
        list[str] | None, typer.Argument(metavar="[PROJECT]…", help="The requests of these projects; else all.")
    ] = None,
    rules: RulesFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
    json: Json = False,
) -> None:
    """Explain every stored failure anew, from its stored evidence, by the rules of this version and of its request.

    What changed is appended: the newest explanation counts. Decisions that were taken stand.
    """
    from bookkeeper import reporting

    own = _rules(rules)
    with catalogs.reading() if dry_run else catalogs.writing() as database:
        view = reporting.reclassify(database, projects or (), rules=own, dry_run=dry_run)
    if json:
        render.json_object(view)
        return
    render.reclassified_screen(view)
    if dry_run and view["changed"]:
        render.next_step(" ".join(["bookkeeper failures reclassify", *(projects or ()), *_given(rules)]))


@verb(app, "explain", example="bookkeeper failures explain --exit-code 139 job.err")
def explain(
    log: Annotated[str | None, typer.Argument(metavar="[FILE]", help="A log; - or none: standard input.")] = None,
    message: Annotated[str, typer.Option(metavar="WORDS", help="What was said in one line.")] = "",
    exit_code: Annotated[str | None, typer.Option(metavar="N", help="The exit code of the command.")] = None,
    signal: Annotated[str | None, typer.Option(metavar="N", help="The signal that ended it: 11 or SIGSEGV.")] = None,
    hold_code: Annotated[str | None, typer.Option(metavar="N", help="HTCondor's HoldReasonCode.")] = None,
    hold_subcode: Annotated[str | None, typer.Option(metavar="N", help="HTCondor's HoldReasonSubCode.")] = None,
    state: Annotated[str | None, typer.Option(metavar="WORD", help="The batch system's state, as TIMEOUT.")] = None,
    step: Annotated[str | None, typer.Option(metavar="STEP", help="The step that failed, as output-storage.")] = None,
    rules: RulesFile = None,
    json: Json = False,
) -> None:
    """Explain a log by hand: category, rule, evidence, remedy. Needs no catalog."""
    from bookkeeper.failures import Evidence
    from bookkeeper.failures import explain as explained

    own = _rules(rules)
    evidence = Evidence(
        message=message,
        exit_code=whole("--exit-code", exit_code, least=0),
        signal=_signal(signal),
        hold_code=whole("--hold-code", hold_code, least=0),
        hold_subcode=whole("--hold-subcode", hold_subcode, least=0),
        state=state,
        step=step,
        stderr=_text(log),
    )
    if evidence == Evidence():
        raise UsageError(
            "there is nothing to explain", remedy="name a log, pipe one in, or say --exit-code, --signal, …"
        )
    found = explained(evidence, own)
    keys = ("category", "rule", "confidence", "evidence", "source", "remedy")
    view = {key: getattr(found, key) for key in keys} | {"category": found.category.value}
    if json:
        render.json_object(view)
    else:
        render.explanation_screen(view)


def _rules(path: str | None) -> Rules | None:
    if path is None:
        return None
    from bookkeeper.failures import load_rules

    return load_rules(path)


def _given(rules: str | None) -> list[str]:
    return [] if rules is None else ["--rules", rules]


def _signal(text: str | None) -> int | None:
    """Return a signal by its number or name."""
    name = (text or "").upper()
    if name.isalpha():
        named = getattr(signals, name if name.startswith("SIG") else f"SIG{name}", None)
        if not isinstance(named, signals.Signals):
            raise UsageError(f"--signal: {text!r} is no signal", remedy="for example 11 or SIGSEGV")
        return int(named)
    return whole("--signal", text)


def _text(log: str | None) -> str:
    """Return the end of a log; nothing where none is named and a person sits at the input."""
    if log in (None, "-"):
        if log is None and sys.stdin.isatty():
            return ""
        return _end(sys.stdin.buffer).decode("utf-8", errors="replace")
    path = Path(str(log))
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST))
            return file.read(MOST).decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"{path}: cannot be read: {why}", remedy="name a log file, or - for standard input"
        ) from error


def _end(stream: BinaryIO) -> bytes:
    """Return the last `MOST` bytes of what comes, however much that is: what comes is never kept whole."""
    kept = b""
    while part := stream.read(MOST):
        kept = (kept + part)[-MOST:]
    return kept
