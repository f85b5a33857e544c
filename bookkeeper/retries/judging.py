"""Explain a failure, decide what follows, and record both, in the transaction of the roll back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bookkeeper.catalog import Tx
from bookkeeper.errors import NotFound
from bookkeeper.events import record
from bookkeeper.failures import Evidence, Explanation, FailureCategory, normalise
from bookkeeper.retries import deciding, history
from bookkeeper.retries.deciding import Case
from bookkeeper.retries.policy import policy_of
from bookkeeper.retries.ruling import Ended, Ruling

Judge = Callable[[Tx, Ended], Ruling]
"""Decides what follows from the end of a process that did not commit; records it."""

LAST_CLASSIFIED: Final = """
SELECT e.body, e.project_id FROM events e
 WHERE e.process_id = :process AND e.kind = 'failure.classified' ORDER BY e.id DESC LIMIT 1
"""

REASON: Final = "SELECT reason FROM processes WHERE id = :process"


def nobody_failed(tx: Tx, ended: Ended) -> Ruling:
    """Rule that nothing failed: an interruption, an operator, or nothing to do."""
    return Ruling(failed=False)


def judge(evidence: Evidence | None = None) -> Judge:
    """Return the judge of a process that left this evidence; None: only the reason it ended by."""

    def ruling(tx: Tx, ended: Ended) -> Ruling:
        said = evidence
        if said is None:
            said = Evidence(message=str(tx.run(REASON, {"process": ended.id}).fetchone()[0]))
        if ended.delivered == 0 and said.step is None:
            return nobody_failed(tx, ended)  # it found nothing to do
        return _rule(tx, ended, said)

    return ruling


def _rule(tx: Tx, ended: Ended, evidence: Evidence) -> Ruling:
    from bookkeeper.failures import explain

    policy = policy_of(tx, ended.request)
    explanation = explain(evidence, policy.explaining())
    classified = _classified(evidence, explanation, "rules")
    record(tx, "failure.classified", classified, project=ended.project, process=ended.id)
    suspects = _suspects(tx, ended, evidence, explanation)
    case = Case(
        ended, explanation.category, classified["fingerprint"], evidence, policy, [file for file, _ in suspects]
    )
    ruling, decisions = deciding.decide(tx, case)
    record(
        tx,
        "retry.decided",
        {
            "category": explanation.category.value,
            "rule": explanation.rule,
            "evidence": explanation.evidence,
            "decisions": decisions,
            "delay": round(ruling.delay, 3),
            "suspects": [name for _, name in suspects],
            "reason": ruling.brake or (ruling.exclude.reason if ruling.exclude else None) or _rested(ruling),
        },
        project=ended.project,
        process=ended.id,
    )
    return ruling


def _rested(ruling: Ruling) -> str | None:
    return ruling.rest[1] if ruling.rest else None


def _suspects(tx: Tx, ended: Ended, evidence: Evidence, explanation: Explanation) -> list[tuple[int, str]]:
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


def _classified(evidence: Evidence, explanation: Explanation, by: str) -> dict[str, Any]:
    kept = evidence.shortened()
    return {
        "category": explanation.category.value,
        "rule": explanation.rule,
        "confidence": explanation.confidence,
        "evidence": explanation.evidence,
        "source": explanation.source,
        "remedy": explanation.remedy,
        "fingerprint": normalise(kept.message or explanation.evidence),
        "by": by,
        **kept.as_dict(),
    }


def reclassified(tx: Tx, process: int, explanation: Explanation, by: str) -> None:
    """Append another explanation of a failed process: the newest one counts. Decisions taken stand.

    ``by`` is ``reclassify`` or ``plugin:NAME``. Raises `NotFound` for a process that has no failure.
    """
    import json

    row = tx.run(LAST_CLASSIFIED, {"process": process}).fetchone()
    if row is None:
        raise NotFound(f"process {process} has no recorded failure", remedy="`bookkeeper failures PROJECT` lists them")
    evidence = Evidence.from_mapping(json.loads(row[0]))
    record(tx, "failure.classified", _classified(evidence, explanation, by), project=row[1], process=process)
