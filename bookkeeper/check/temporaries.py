"""Uploads under their temporary names: whose each is, and whether it may go.

An upload's folder is named by its process's number and by a piece of its token, so that no other catalog's process, nor
one of another time line of this catalog, is taken for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from bookkeeper.catalog import NOW
from bookkeeper.check.finding import Finding, about
from bookkeeper.database import Auditor
from bookkeeper.ledger.restore import RESTORED
from bookkeeper.stageout import Temporary, exists

TAG: Final = 12
"""How many digits of its token's hash an upload carries."""

OWNER: Final = f"""
SELECT p.state, p.reason, substr(p.token, 1, {TAG}) AS tag, {NOW} - p.ended_at AS closed_for, p.lease,
       (SELECT o.state FROM outputs o WHERE o.temp_url = :url) AS output_state,
       (SELECT o.final_url FROM outputs o WHERE o.temp_url = :url) AS final_url,
       (SELECT t.state FROM transfers t WHERE t.near_url = :url) AS transfer_state
  FROM processes p WHERE p.id = :process
"""


class Claim(StrEnum):
    """What an upload still is to the catalog."""

    WANTED = "wanted"
    """its process may commit it, or has; or is being taken back, which deletes it"""
    RECENT = "recent"
    """its process is over, for less than one lease: its worker may not have heard yet"""
    ORPHANED = "orphaned"
    """its process is over and it does not count"""
    UNKNOWN = "unknown"
    """no process of this catalog's time line made it"""


def claim_on(connection: Auditor, upload: Temporary, older_than: float | None = None) -> Claim:
    """Tell what an upload is. ``older_than`` is in seconds since its process ended; None means the process's lease."""
    row = connection.execute(OWNER, {"url": upload.url, "process": upload.process_id}).fetchone()
    if row is None or not upload.nonce.startswith(row["tag"]) or row["reason"] == RESTORED:
        return Claim.UNKNOWN
    if row["transfer_state"] in ("waiting", "running", "arrived"):
        return Claim.WANTED  # a transfer worker reads it, and deletes it as soon as that is done
    if row["state"] in ("active", "staged", "revoking") or row["output_state"] == "committed":
        return Claim.WANTED
    if row["output_state"] == "published" and not exists(row["final_url"]):
        return Claim.WANTED  # the last copy there is
    age = row["lease"] if older_than is None else older_than
    return Claim.ORPHANED if row["closed_for"] >= age else Claim.RECENT


def survey(connection: Auditor, uploads: Iterable[Temporary]) -> Iterator[Finding]:
    """Note the uploads that nobody wants."""
    by_claim: dict[Claim, list[str]] = {claim: [] for claim in Claim}
    for upload in uploads:
        by_claim[claim_on(connection, upload)].append(upload.url)
    yield from about(
        "note",
        "orphaned-temporaries",
        "uploads of processes that are over",
        filter(exists, by_claim[Claim.ORPHANED] + by_claim[Claim.RECENT]),
        "`bookkeeper check --repair` deletes them, one lease after their process ended",
    )
    yield from about(
        "note",
        "unknown-temporaries",
        "uploads of processes that this catalog does not know, or lost to a restored backup",
        filter(exists, by_claim[Claim.UNKNOWN]),
        "delete them by hand when no other catalog uses this destination",
    )
