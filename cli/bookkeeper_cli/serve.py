"""`serve`: the catalog over HTTP, for jobs and people on other hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bookkeeper.errors import UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.words import Json

app = noun("The catalog over HTTP.")


@verb(app, "serve", example="bookkeeper serve --host 0.0.0.0 --tls-cert host.pem --tls-key host.key")
def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8440,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="The certificate, with its chain, as PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key, as PEM.")] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Ask nobody for a token: whoever is on this host may do everything.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that serve; more than one only over PostgreSQL.")
    ] = 1,
    rate: Annotated[
        float, typer.Option(min=0.1, metavar="N", help="Calls a second that one caller may make on average.")
    ] = 1000.0,
    body: Annotated[int, typer.Option(min=1, metavar="MB", help="The largest message that is taken.")] = 64,
    hide_logs: Annotated[
        bool, typer.Option("--hide-logs", help="Let the pages not show what the commands of processes wrote.")
    ] = False,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
    json: Json = False,
) -> None:
    """Serve the catalog over HTTP until it is asked to end (Ctrl-C, SIGTERM): what was taken by then is done and answered.

    Prints the address when it answers. The log goes to standard error, a JSON object a line.
    """
    from bookkeeper.server import Settings, assembly, running
    from bookkeeper.server.logs import log_to_stderr

    def told(url: str) -> None:
        if tls_cert is None and not running.is_loopback(host):
            render.note(
                f"warning: tokens travel to {host} in the clear: give --tls-cert and --tls-key, or let a proxy do it"
            )
        if json:
            render.json_object({"url": url, "workers": workers, "open": open_})
        else:
            render.line(f"serving {catalogs.url()} at {url}")
        sys.stdout.flush()

    if catalogs.url().startswith(("http://", "https://")):
        raise UsageError(
            f"{catalogs.url()} is a server already: a catalog is served from where its database is",
            remedy="name the database: `bookkeeper --catalog sqlite:///bookkeeper.db serve`",
        )
    log_to_stderr(log_level)
    place = running.Place(host, port, tls_cert, tls_key)
    settings = Settings(body=body << 20, rate=rate, burst=5 * rate, logs=not hide_logs)
    with catalogs.writing() as database:
        assembly.serve(database, place, told, open_to_all=open_, workers=workers, settings=settings)
