"""Explain a failure, decide what follows, and record both, in the transaction of the roll back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bookkeeper import failures
from bookkeeper.catalog import Database, Tx
from bookkeeper.errors import NotFound
from bookkeeper.events import record
from bookkeeper.failures import Evidence, FailureCategory
from bookkeeper.retries import deciding, history
from bookkeeper.retries.deciding import Case
from bookkeeper.retries.policy import OF_PROCESS, Policy, policy_of, read
from bookkeeper.retries.ruling import Ended, Ruling

Judge = Callable[[Tx, Ended], Ruling]
"""Decides what follows from the end of a process that did not commit; records it."""

LAST_CLASSIFIED: Final = """
SELECT e.body, e.project_id FROM events e
 WHERE e.process_id = :process AND e.kind = 'failure.classified' ORDER BY e.id DESC LIMIT 1
"""

EXPIRED: Final = ("lease expired", "max_wall passed")
"""How a process ends whose time ran out (`bookkeeper.ledger.giveback.EXPIRE`)."""

REASON: Final = "SELECT reason FROM processes WHERE id = :process"


def nobody_failed(tx: Tx, ended: Ended) -> Ruling:
    """Rule that nothing failed: an interruption, an operator, or nothing to do."""
    return Ruling()


def judge_of(database: Database, process: int, evidence: Evidence) -> Judge:
    """Return the judge of a process that left this evidence. Explains it at once: no transaction waits for that."""
    row = database.one(OF_PROCESS, {"process": process})
    policy = read(row["policy"] if row else None)
    return _judge(evidence, policy, failures.explain(evidence, policy.explaining()))


def judge() -> Judge:
    """Return the judge of a process of which nothing is known but that its time ran out."""
    explained = {reason: failures.explain(Evidence(message=reason)) for reason in EXPIRED}  # before any transaction

    def ruling(tx: Tx, ended: Ended) -> Ruling:
        evidence = Evidence(message=str(tx.run(REASON, {"process": ended.id}).fetchone()[0]))
        return _judge(evidence, policy_of(tx, ended.request), explained[evidence.message])(tx, ended)

    return ruling


def _judge(evidence: Evidence, policy: Policy, explanation: failures.Explanation) -> Judge:
    def ruling(tx: Tx, ended: Ended) -> Ruling:
        if ended.delivered == 0 and evidence.step is None:
            return nobody_failed(tx, ended)  # it found nothing to do
        return _rule(tx, ended, evidence, policy, explanation)

    return ruling


def _rule(tx: Tx, ended: Ended, evidence: Evidence, policy: Policy, explanation: failures.Explanation) -> Ruling:
    classified = _classified(evidence, explanation, "rules")
    record(tx, "failure.classified", classified, project=ended.project, process=ended.id)
    suspects = _suspects(tx, ended, evidence, explanation)
    case = Case(
        ended,
        explanation.category,
        classified["fingerprint"],
        evidence,
        policy,
        suspects=[file for file, _ in suspects],
        opened=tx.run(history.ANY_OPENED, {"process": ended.id}).fetchone() is not None,
    )
    ruling, decisions = deciding.decide(tx, case)
    said = {
        "category": explanation.category.value,
        "rule": explanation.rule,
        "evidence": explanation.evidence,
        "decisions": decisions,
        "delay": round(ruling.delay, 3),
        "suspects": [name for _, name in suspects],
        "reason": ruling.brake or (ruling.exclude.reason if ruling.exclude else None) or _rested(ruling),
    }
    record(tx, "retry.decided", said, project=ended.project, process=ended.id)
    return ruling


def _rested(ruling: Ruling) -> str | None:
    return ruling.rest[1] if ruling.rest else None


def _suspects(tx: Tx, ended: Ended, evidence: Evidence, explanation: failures.Explanation) -> list[tuple[int, str]]:
    """Return the one file that a failure calls corrupted; none where it names none, or several."""
    if explanation.category is not FailureCategory.CORRUPTED_INPUT or ended.partition is not None:
        return []
    texts = (
        explanation.evidence,
        evidence.message,
        "\n".join(text for _, text in evidence.exceptions),
        evidence.stderr,
    )
    for text in texts:
        found = history.named(tx, ended.id, text)
        if len(found) == 1:
            return found
    return []


def _classified(evidence: Evidence, explanation: failures.Explanation, by: str) -> dict[str, Any]:
    kept = evidence.shortened()
    return {
        "category": explanation.category.value,
        "rule": explanation.rule,
        "confidence": explanation.confidence,
        "evidence": explanation.evidence,
        "source": explanation.source,
        "remedy": explanation.remedy,
        "fingerprint": failures.normalise(kept.message or explanation.evidence),
        "by": by,
        **kept.as_dict(),
    }


def reclassified(
    tx: Tx, process: int, explanation: failures.Explanation, by: str, evidence: Evidence | None = None
) -> None:
    """Append another explanation of a failed process: the newest one counts. Decisions taken stand.

    ``by`` is ``reclassify``, ``plugin:NAME`` or the executor's kind; ``evidence`` is new evidence, if that is why. Raises `NotFound` for a process that has no failure.
    """
    import json

    row = tx.run(LAST_CLASSIFIED, {"process": process}).fetchone()
    if row is None:
        raise NotFound(f"process {process} has no recorded failure", remedy="`bookkeeper failures PROJECT` lists them")
    evidence = evidence or Evidence.from_mapping(json.loads(row[0]))
    record(tx, "failure.classified", _classified(evidence, explanation, by), project=row[1], process=process)
