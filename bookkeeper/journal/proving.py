"""Prove the outputs that a journal names where they lie: their names, their bytes, their content."""

from __future__ import annotations

from collections.abc import Sequence

from bookkeeper import stageout
from bookkeeper.errors import BookkeeperError, NotAllowed, StorageError, UsageError, ValidationError
from bookkeeper.journal.tickets import Ticket
from bookkeeper.protocol import Manifest, OutputRecord


class Wrong(BookkeeperError):
    """An output is not what the journal says, and never will be."""


def foreign(ticket: Ticket, runs: Sequence[str], output: OutputRecord) -> str:
    """Return why an output's addresses cannot be those of these runs; empty where they can."""
    try:
        names = stageout.parse_temporary(output.temp_url)
        final = stageout.final_url(names.destination, names.name)
    except UsageError as error:
        return str(error)
    if names.process_id != ticket.process or not any(names.nonce.startswith(f"{ticket.tag}{run}") for run in runs):
        return f"{output.temp_url} is no upload of process {ticket.process} in this run"
    if output.destination != names.destination or output.final_url != final:
        return f"{output.temp_url} is no upload of {output.final_url}"
    if ticket.destination not in (None, names.destination):
        return f"{output.final_url} is not in the ticket's destination, {ticket.destination}"
    return ""


def prove(ticket: Ticket, runs: Sequence[str], manifest: Manifest) -> None:
    """Raise `Wrong` for an output that is lost or not what was recorded; `StorageError` where nobody can say now."""
    for output in manifest.outputs:
        if why := foreign(ticket, runs, output):
            raise Wrong(why)
        try:
            stageout.require_claim(output.destination, ticket.catalog)
        except NotAllowed as error:
            raise Wrong(str(error)) from error
        if not stageout.exists(output.temp_url):
            raise Wrong(f"the output {output.temp_url} is not there")
        if stageout.exists(output.final_url):
            raise Wrong(f"{output.final_url} exists already, and nothing is overwritten")
        found = stageout.measure(output.temp_url)
        if found != (output.size, output.checksum):
            raise Wrong(
                f"{output.temp_url} has {found[0]} bytes, {found[1]}; "
                f"the job stored {output.size} bytes, {output.checksum}"
            )
        if "://" not in output.temp_url and output.unproved != "not validated":
            _look_inside(output, ticket.validate)


def _look_inside(output: OutputRecord, level: str) -> None:
    """Prove the content of an output on a file system of this host, as far as its format is known."""
    from bookkeeper.validation import validate

    try:
        validate(output.temp_url, level)
    except ValidationError as error:
        try:
            stageout.measure(output.temp_url)
        except StorageError:
            raise error from None
        raise Wrong(str(error)) from error
