"""One try: claim an output, copy it, prove it, say so. Killed at any instruction, it leaves a claim that runs out."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Final

from bookkeeper import failures, stageout
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, CatalogError, StorageError
from bookkeeper.failures import Evidence, FailureCategory
from bookkeeper.failures.redaction import redacted, without_secrets
from bookkeeper.ledger import transfers
from bookkeeper.ledger.guards import GuardFailed
from bookkeeper.ledger.transfers import Arrival, Claimed
from bookkeeper.retries import judge_of
from bookkeeper.retries.policy import OF_PROCESS, read
from bookkeeper.transfers import queue
from bookkeeper_schema.states import Step

CLAIM: Final = 60.0
"""Seconds for which a try is believed to go on without a word, and a second more for every `SPEED` bytes."""

SPEED: Final = 20e6

LONGEST: Final = 600.0
"""Seconds: no longer between two tries, for what is mended meanwhile shall be seen."""

BEAT: Final = 2.0
"""Seconds between two words of a try that goes on."""


class Lost(Exception):
    """The try is another's by now, or its process is over."""


def claim_next(database: Database, *, seconds: float = CLAIM) -> Claimed | None:
    """Claim the output whose turn it is; None where nothing may start now."""
    for one in queue.groups(database):
        if not one.ready:
            break
        name = secrets.token_hex(8)
        move = partial(transfers.claim, way=one.link, request=one.request, limit=one.limit, name=name, seconds=seconds)
        claimed = database.run(move)
        if claimed is not None:
            return claimed
    return None


def carry(database: Database, one: Claimed, *, seconds: float = CLAIM) -> Arrival | None:
    """Bring one output to its destination and say so; None where it did not arrive this time."""
    name = one.final_url.rpartition("/")[2]
    url = stageout.temporary_url(one.destination, one.process, f"{one.tag}{one.claim}", one.attempts, name)
    try:
        _require_free(database, one)
        pulse = _Pulse(database, one, seconds)
        stageout.transfer(one.near_url, url, size=one.size, checksum=one.checksum, on_progress=pulse)
    except Lost:
        return Arrival.LATE
    except (CatalogError, GuardFailed):
        raise  # the claim runs out by itself
    except (BookkeeperError, OSError) as error:
        _failed(database, one, error)
        return None
    return _arrived(database, one, url)


def _require_free(database: Database, one: Claimed) -> None:
    """Claim the destination for the catalog; its storage must answer, and the final name be free."""
    stageout.claim(one.destination, database.id)
    if stageout.exists(one.final_url):
        raise StorageError(
            f"{one.final_url} exists already: it would have to be overwritten",
            remedy="move it away: the transfer is tried again",
        )


def _arrived(database: Database, one: Claimed, url: str) -> Arrival:
    try:
        became = database.run(partial(transfers.arrived, one=one, url=url), durable=True)
    except GuardFailed as error:
        reason = f"commit refused: {error}"
        judge = judge_of(database, one.process, Evidence(message=reason, step=Step.OUTPUT_STORAGE))
        move = partial(
            transfers.give_up, output=one.output, process=one.process, reason=reason, judge=judge, claim=one.claim
        )
        database.run(move, durable=True)
        became = Arrival.LATE
    if became is Arrival.LATE:  # answered, so nothing refers to this copy
        _discard(url)
    return became


def _discard(url: str) -> None:
    try:
        stageout.discard(url)
    except BookkeeperError:  # an orphan that `check --repair` deletes
        return


def _failed(database: Database, one: Claimed, error: Exception) -> None:
    """Let it be tried again, at the time that its kind of failure asks for; or give it up, if the near copy is bad."""
    bad = isinstance(error, stageout.NearCopyBad)
    reason = redacted(str(error))
    evidence = without_secrets(Evidence.of(error, message=reason, step=Step.OUTPUT_STORAGE).shortened())
    row = database.one(OF_PROCESS, {"process": one.process})
    policy = read(row["policy"] if row else None)
    category = failures.explain(evidence, policy.explaining()).category
    if bad:
        category = FailureCategory.CORRUPTED_INPUT
        if one.category == category.value:  # twice in a row: it was no trouble of that moment
            judge = judge_of(database, one.process, evidence)
            move = partial(
                transfers.give_up, output=one.output, process=one.process, reason=reason, judge=judge, claim=one.claim
            )
            database.run(move, durable=True)
            return
    retry = one.failures + 1
    over = max(0, min(16, retry - policy.retry[category].max_retries))
    delay = min(LONGEST, policy.delay(category, retry) * 2**over)
    database.run(partial(transfers.failed, one=one, category=category.value, error=reason, delay=delay))


class _Pulse:
    """Tells the catalog that a try goes on; raises `Lost` where it is no longer wanted."""

    def __init__(self, database: Database, one: Claimed, seconds: float) -> None:
        self._database, self._one = database, one
        self._seconds = seconds + one.size / SPEED
        self._told = self._heard = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._told < min(BEAT, self._seconds / 4):
            return
        self._told = now
        try:
            ours = self._database.run(partial(transfers.progress, one=self._one, done=done, seconds=self._seconds))
        except CatalogError:
            if now - self._heard > self._seconds:
                raise
            return
        if not ours:
            raise Lost
        self._heard = now
