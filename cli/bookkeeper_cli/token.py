"""`token`: create, list, revoke, rotate."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper import durations
from bookkeeper.errors import UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json

if TYPE_CHECKING:
    from bookkeeper.access import NewToken

app = noun("Give people and jobs access to the catalog server, and take it back.")


def _names(projects: list[str] | None) -> str:
    return "all" if projects is None else " ".join(projects)


_LISTED: Final = (
    Column("id"),
    Column("name"),
    Column("scope"),
    Column("projects", show=_names),
    Column("state"),
    Column("expires_at", "until", show=render.when),
    Column("created_by", "made by"),
)


@verb(app, "create", example="bookkeeper token create alice --scope operate --out alice.token")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom or what it is for; records show this name.")],
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="read, work, operate or admin: each allows those before it.")
    ],
    project: Annotated[
        list[str] | None,
        typer.Option("--project", metavar="PROJECT", help="Do more than read only in this project; may be repeated."),
    ] = None,
    lifetime: Annotated[
        str, typer.Option("--lifetime", metavar="TIME", help="How long it holds: 30m, 12h, 30d at most.")
    ] = "12h",
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write it to a file that only you can read.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print it even where a terminal shows it.")] = False,
    json: Json = False,
) -> None:
    """Make a token. It is given to you once, and kept nowhere.

    It goes to the file of --out, or into a pipe. Whoever has it may do what it allows until it ends or is revoked.
    """
    from bookkeeper import access

    if out is None and not show and sys.stdout.isatty():
        raise UsageError(
            "a terminal would show the token to whoever looks",
            remedy="--out FILE writes it to a file that only you can read; --show prints it all the same",
        )
    seconds = durations.seconds(lifetime)
    with contextlib.ExitStack() as stack:
        put = None if out is None else stack.enter_context(access.handing_over(Path(out)))
        database = stack.enter_context(catalogs.writing())
        made = access.create(database, name, scope=scope, projects=project or (), lifetime=seconds)
        if put is not None:
            put(made.token)
    _told(made, out, json=json)


def _told(made: NewToken, out: str | None, *, json: bool) -> None:
    facts: dict[str, Any] = asdict(made)
    if out is not None:
        del facts["token"]
        facts["file"] = out
    if json:
        render.json_object(facts)
    elif out is None:
        render.line(made.token)
    else:
        where = "" if made.projects is None else f" in {' '.join(made.projects)}"
        render.say(f"token {made.id}: {made.name} may {made.scope}{where} until {render.when(made.expires_at)}")
        render.next_step(f"BOOKKEEPER_TOKEN_FILE={out} bookkeeper --catalog https://… project list")
        render.next_step(f"bookkeeper token revoke {made.id}   (ends it before)")


@verb(app, "list", example="bookkeeper token list")
def list_tokens(
    everything: Annotated[bool, typer.Option("--all", help="Also those that expired or were revoked.")] = False,
    json: Json = False,
) -> None:
    """List the tokens that hold: whose, what they allow, until when. No secret is shown."""
    from bookkeeper import access

    with catalogs.reading() as database:
        rows = access.list_all(database)
    shown = rows if everything else [row for row in rows if row["state"] == "valid"]
    render.table(shown, _LISTED, as_json=json, empty="no token holds")


@verb(app, "revoke", example="bookkeeper token revoke alice")
def revoke(
    which: Annotated[str, typer.Argument(metavar="NAME|ID", help="A token's number, or a name: all of its tokens.")],
    json: Json = False,
) -> None:
    """End a token before its time. Servers refuse it within seconds."""
    from bookkeeper import access

    with catalogs.writing() as database:
        numbers = access.revoke(database, which)
    if json:
        render.json_object({"revoked": numbers})
    elif numbers:
        render.say(f"revoked {' '.join(numbers)}")
    else:
        render.say(f"no token of {which} held any more")


@verb(app, "rotate", example="bookkeeper token rotate")
def rotate(
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Others may have the keys: end every token and every key now.")
    ] = False,
    json: Json = False,
) -> None:
    """Sign with a new key from now on. Tokens that the old one signed hold until they end."""
    from bookkeeper import access

    with catalogs.writing() as database:
        done = access.rotate(database, compromised=compromised)
    if json:
        render.json_object(asdict(done))
        return
    render.say(f"key {done.kid} signs from now on")
    if compromised:
        render.say(f"{render.count(done.revoked, 'token')} revoked; no older key holds")
        render.next_step("bookkeeper token create NAME --scope SCOPE --out FILE   (for everyone anew)")
    elif done.verifying:
        kept = "is kept until its" if len(done.verifying) == 1 else "are kept until their"
        render.say(f"{render.count(len(done.verifying), 'older key')} {kept} tokens have ended")
