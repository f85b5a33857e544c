"""Compare the destinations with the catalog: nothing that counts is missing, and what lies there is known.

Jobs may be at work meanwhile. A destination is listed before the catalog is read, because an output is recorded before
its object gets its final name; whatever then looks wrong is looked at once more, object first, record last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bookkeeper import stageout
from bookkeeper.check import temporaries
from bookkeeper.check.finding import Finding, Progress, about
from bookkeeper.database import Auditor
from bookkeeper.errors import StorageError, UsageError
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.stores import store_of

DESTINATIONS: Final = """
SELECT url FROM destinations
 UNION
SELECT o.destination FROM outputs o
 WHERE NOT EXISTS (SELECT 1 FROM transfers t WHERE t.output_id = o.id AND t.attempts = 0)
 ORDER BY 1
"""

OUTPUTS: Final = """
SELECT o.id, o.state, o.temp_url, o.final_url, o.size, o.checksum, p.id AS process_id, p.state AS process_state
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.destination = :destination ORDER BY o.id
"""

STATES: Final = """
SELECT o.state, p.state FROM outputs o JOIN processes p ON p.id = o.process_id WHERE o.id = :id
"""

NEAR: Final = """
SELECT t.near_url, t.process_id FROM transfers t WHERE t.state IN ('waiting', 'running') ORDER BY t.output_id
"""

STILL_NEAR: Final = "SELECT 1 FROM transfers WHERE near_url = :url AND state IN ('waiting', 'running')"

COUNTING: Final = ("committed", "published")
LOST: Final = (
    "find who deleted or changed them; `bookkeeper project reopen PROJECT PROCESS… --reason WORDS` frees the files"
)


@dataclass(frozen=True, slots=True)
class Listing:
    """What lay in a destination: sizes in bytes by final address, and the uploads."""

    objects: dict[str, int]
    uploads: list[stageout.Temporary]


def survey(connection: Auditor, catalog_id: str, *, checksum: bool, on_progress: Progress) -> Iterator[Finding]:
    """Compare every destination that this catalog ever wrote to with what it recorded."""
    destinations = [row[0] for row in connection.execute(DESTINATIONS).fetchall()]
    for number, destination in enumerate(destinations, 1):
        yield from _destination(connection, destination, catalog_id, checksum=checksum)
        on_progress("destinations", number, len(destinations))


def _destination(connection: Auditor, destination: str, catalog_id: str, *, checksum: bool) -> Iterator[Finding]:
    try:
        holder = stageout.claimed_by(destination)
        listing = Listing(dict(stageout.objects(destination)), list(stageout.temporaries(destination)))
        outputs = connection.execute(OUTPUTS, {"destination": destination}).fetchall()
        if holder == catalog_id:
            yield from _recorded(connection, outputs, listing, checksum=checksum)
            yield from _unknown(outputs, listing)
            yield from _near(connection, destination, listing)
            yield from temporaries.survey(connection, listing.uploads)
        else:
            yield _not_ours(destination, holder, sum(row["state"] in COUNTING for row in outputs))
            if holder is not None:
                yield from _recorded(connection, outputs, listing, checksum=checksum)
    except (StorageError, UsageError) as error:
        count = connection.execute(
            "SELECT count(*) FROM outputs WHERE destination = :destination AND state IN ('committed', 'published')",
            {"destination": destination},
        ).fetchone()[0]
        message = f"{destination} could not be looked at, so nothing is proved (outputs that should be there: {count}): {error}"
        yield Finding("note", "unreachable-destination", message, error.remedy, 1, (destination,))


def _not_ours(destination: str, holder: str | None, counting: int) -> Finding:
    """A destination without this catalog's claim: grave where outputs that count should lie in it."""
    if holder is None:
        code, what = "missing-claim", f"{destination} is not there, or its claim is not"
        remedy = (
            "mount or restore it: bookkeeper does not make it again, for another folder may stand in its place;"
            " if it is gone for good, the page on storage tells what to do"
        )
    else:
        code, what = "foreign-claim", f"{destination} is claimed by catalog {holder}"
        remedy = "two catalogs must not write to one destination: use the one that has the claim, or adopt it back"
    if not counting:
        return Finding("note", code, f"{what}; no output of this catalog counts there", "nothing is to be done")
    return Finding("violation", code, f"{what}; outputs that should be there: {counting}", remedy)


def _recorded(connection: Auditor, outputs: list[Any], listing: Listing, *, checksum: bool) -> Iterator[Finding]:
    """Find outputs that count and are not where they should be, or not what they should be."""
    uploads = {upload.url: upload.size for upload in listing.uploads}
    pending: list[str] = []
    gone: list[str] = []
    changed: list[str] = []
    for row in outputs:
        if row["state"] not in COUNTING or row["process_state"] != "committed":
            continue
        size = listing.objects.get(row["final_url"])
        if size is None and row["state"] == "committed":
            size = uploads.get(row["temp_url"])
        problem = size != row["size"] or (checksum and row["state"] == "published" and not _is_whole(row))
        if problem and (problem := _second_look(connection, row, whole=checksum)):
            (gone if problem == "gone" else changed).append(f"{row['final_url']} of process {row['process_id']}")
        elif not problem and row["state"] == "committed":
            pending.append(row["final_url"])
    yield from about("violation", "missing-output", "outputs that count are gone from storage", gone, LOST)
    yield from about("violation", "changed-output", "outputs that count are not what was recorded", changed, LOST)
    yield from about(
        "note",
        "pending-publication",
        "outputs count and were not yet seen under their final names",
        pending,
        "the next process of their request publishes them, or `bookkeeper check --repair`",
    )


def _second_look(connection: Auditor, row: Any, *, whole: bool) -> str:
    """Tell what is wrong with an output, if anything still is: "gone", "changed" or ""."""
    found = _look(row["final_url"], whole=whole)
    if found is None and row["state"] == "committed":
        # In this order: an upload that is gone was published meanwhile, so its final name must be there now.
        found = _look(row["temp_url"], whole=whole) or _look(row["final_url"], whole=whole)
    now = connection.execute(STATES, {"id": row["id"]}).fetchone()
    if tuple(now) != (row["state"], row["process_state"]):
        return ""  # published or taken back while this looked
    if found is None:
        return "gone"
    return "" if _matches(found, row) else "changed"


def _is_whole(row: Any) -> bool:
    found = _look(row["final_url"], whole=True)
    return found is not None and _matches(found, row)


def _matches(found: tuple[int, str | None], row: Any) -> bool:
    return found[0] == row["size"] and found[1] in (None, row["checksum"])


def _look(url: str, *, whole: bool) -> tuple[int, str | None] | None:
    """Return the size of an object, and its checksum where it is to be read whole; None where there is none."""
    store = store_of(url)
    with translated("look at", url):
        entry = store.look(url)
        if entry is None:
            return None
        if not entry.is_file:
            return -1, None
        try:
            return store.measure(url) if whole else (entry.size, None)
        except FileNotFoundError:
            return None


def _near(connection: Auditor, place: str, listing: Listing) -> Iterator[Finding]:
    """Note outputs that wait here for their transfer and do not lie here."""
    here = {upload.url for upload in listing.uploads}
    lost = []
    for url, process in connection.execute(NEAR).fetchall():
        gone = stageout.parse_temporary(url).destination == place and url not in here and not stageout.exists(url)
        if gone and connection.execute(STILL_NEAR, {"url": url}).fetchone() is not None:
            lost.append(f"{url} of process {process}")
    yield from about(
        "note",
        "missing-near-copy",
        "outputs wait for their transfer and are not where they were stored",
        lost,
        "nothing is to be done: their processes are rolled back, and their files processed again",
    )


def _unknown(outputs: list[Any], listing: Listing) -> Iterator[Finding]:
    """Note objects that the catalog does not know: another's, or of a time line that a backup does not remember."""
    known = {row["final_url"] for row in outputs if row["state"] in COUNTING}
    taken_back = {row["final_url"] for row in outputs} - known
    strangers = (url for url in listing.objects if url not in known and (url not in taken_back or stageout.exists(url)))
    yield from about(
        "note",
        "unknown-object",
        "objects lie in a destination that no output of this catalog is",
        strangers,
        "leave them out of what you read (`bookkeeper outputs` lists what counts); after a restored backup they are "
        "results that it does not know: move them away before their files are processed again",
    )
