"""Explain stored failures anew, from their stored evidence, by the rules of this version and of their request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bookkeeper import projects, retries
from bookkeeper.catalog import Database
from bookkeeper.operations import operation
from bookkeeper.reporting.chosen import PLACES, slots

if TYPE_CHECKING:
    from bookkeeper.failures import Explanation, Rules

REQUESTS: Final = (
    "SELECT id, name, policy FROM requests WHERE :name/*text*/ IS NULL OR name = :name/*text*/ ORDER BY id"
)

STORED: Final = f"""
SELECT f.process_id, f.category, f.rule, f.remedy, f.by,
       (SELECT e.body FROM events e
         WHERE e.process_id = f.process_id AND e.kind = 'failure.classified' ORDER BY e.id DESC LIMIT 1) AS body
  FROM failures f WHERE f.process_id IN ({PLACES}) ORDER BY f.process_id
"""

FAILED: Final = """
SELECT DISTINCT e.process_id FROM projects j JOIN events e ON e.project_id = j.id AND e.kind = 'failure.classified'
 WHERE j.request_id = :request AND e.process_id IS NOT NULL ORDER BY e.process_id
"""


def reclassify(
    database: Database, names: Sequence[str] = (), *, rules: Rules | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Explain every stored failure of the requests of these projects (none named: of all requests) anew.

    ``rules`` stand in for the requests' own. Where category, rule or remedy differ from what is recorded, the new
    explanation is appended (not with ``dry_run``); decisions taken stand. What a plug-in explained is left as it is.

    Returns ``looked_at``, ``changed``, ``kept`` (those of plug-ins), and ``changes``: a list of ``from_category``,
    ``from_rule``, ``to_category``, ``to_rule``, ``processes``, ``example``, commonest first. Raises `NotFound`.
    """
    return explained_anew(database, names, rules=None if rules is None else rules.as_list(), dry_run=dry_run)


@operation("operate", slow=True, again=True)
def explained_anew(
    database: Database, names: Sequence[str], *, rules: Sequence[Mapping[str, Any]] | None, dry_run: bool
) -> dict[str, Any]:
    """Do what `reclassify` does; ``rules`` are those of `Rules.as_list`."""
    from bookkeeper.failures import Rules

    given = None if rules is None else Rules.from_list(rules)
    looked_at = kept = 0
    counts: Counter[tuple[str, str, str, str]] = Counter()
    examples: dict[tuple[str, str, str, str], int] = {}
    for request in _requests(database, names):
        using = given if given is not None else _own_rules(request["policy"])
        for rows in _stored(database, request["id"]):
            looked_at += len(rows)
            kept += sum(_by_plugin(row) for row in rows)
            new = [(row, explanation) for row in rows if not _by_plugin(row) and (explanation := _differs(row, using))]
            for row, explanation in new:
                change = (row["category"], row["rule"], explanation.category.value, explanation.rule)
                counts[change] += 1
                examples.setdefault(change, row["process_id"])
            if new and not dry_run:
                _append(database, new)
    keys = ("from_category", "from_rule", "to_category", "to_rule")
    changes = [
        {**dict(zip(keys, change, strict=True)), "processes": times, "example": examples[change]}
        for change, times in counts.most_common()
    ]
    return {"looked_at": looked_at, "changed": counts.total(), "kept": kept, "dry_run": dry_run, "changes": changes}


def _requests(database: Database, names: Sequence[str]) -> list[dict[str, Any]]:
    if not names:
        return database.rows(REQUESTS, {"name": None})
    wanted = dict.fromkeys(projects.status(database, name).request for name in names)
    return [row for name in wanted for row in database.rows(REQUESTS, {"name": name})]


def _own_rules(policy: str | None) -> Rules | None:
    own = json.loads(policy).get("rules") if policy else None
    if not own:
        return None
    from bookkeeper.failures import Rules

    return Rules.from_list(own)


def _stored(database: Database, request: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the failures of a request with their evidence, as many at a time as are written in one transaction."""
    failed = [row[0] for row in database.table(FAILED, {"request": request})[1]]
    for portion in slots(failed):
        yield database.rows(STORED, portion)


def _by_plugin(row: dict[str, Any]) -> bool:
    return str(row["by"]).startswith("plugin:")


def _differs(row: dict[str, Any], rules: Rules | None) -> Explanation | None:
    from bookkeeper.failures import Evidence, explain

    new = explain(Evidence.from_mapping(json.loads(row["body"])), rules)
    same = (row["category"], row["rule"], row["remedy"]) == (new.category.value, new.rule, new.remedy)
    return None if same else new


def _append(database: Database, new: Sequence[tuple[dict[str, Any], Explanation]]) -> None:
    with database.transaction() as tx:
        for row, explanation in new:
            retries.reclassified(tx, row["process_id"], explanation, by="reclassify")
