"""What became of the files of failed processes: given to another process since, committed, parked, waiting for that.

The ledger names the last process that had a file: where that is not the failed one, the file was tried again. So a file of
a failed process costs one row of the ledger, whatever the size of the request, and no clock is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bookkeeper.catalog import Database

KEYS: Final = ("files", "retried", "recovered", "parked", "waiting")
"""All count different files: ``files`` of the failed processes; of these, ``retried`` were given to another process after
they failed, ``recovered`` are committed now, ``parked`` are parked, ``waiting`` are available for their next try. The rest
of ``files`` is held by a process."""

CHOSEN: Final = """
f.request = :request AND (:category/*text*/ IS NULL OR f.category = :category/*text*/)
   AND (:rule/*text*/ IS NULL OR f.rule = :rule/*text*/) AND (:node/*text*/ IS NULL OR f.node = :node/*text*/)
"""
"""The failures that are asked for, of the view ``failures AS f``."""

FINGERPRINT: Final = "COALESCE(f.fingerprint, f.message, '')"

GROUPS: Final = {
    "all": (),
    "category": ("category",),
    "rule": ("category", "rule"),
    "message": ("category", "rule", "fingerprint"),
    "node": ("node",),
}
"""What is counted: the columns of every grouping."""

NUMBERS: Final = """
COUNT(DISTINCT file_id) AS files,
       COUNT(DISTINCT CASE WHEN again = 1 THEN file_id END) AS retried,
       COUNT(DISTINCT CASE WHEN state = 'committed' THEN file_id END) AS recovered,
       COUNT(DISTINCT CASE WHEN state = 'parked' THEN file_id END) AS parked,
       COUNT(DISTINCT CASE WHEN state = 'available' THEN file_id END) AS waiting
"""
NOTHING: Final = "CAST(NULL AS TEXT)"

COUNTS: Final = f"""
WITH hit AS (
  SELECT f.category, f.rule, {FINGERPRINT} AS fingerprint, f.node, d.file_id, l.state,
         MAX(CASE WHEN l.process_id <> d.process_id THEN 1 ELSE 0 END) AS again
    FROM failures f CROSS JOIN processes p CROSS JOIN deliveries d CROSS JOIN ledger l
   WHERE p.id = f.process_id AND d.process_id = p.id AND l.request_id = p.request_id AND l.file_id = d.file_id
     AND {CHOSEN}
   GROUP BY f.category, f.rule, {FINGERPRINT}, f.node, d.file_id, l.state
)
SELECT 'all' AS of, {NOTHING} AS category, {NOTHING} AS rule, {NOTHING} AS fingerprint, {NOTHING} AS node, {NUMBERS}
  FROM hit
UNION ALL
SELECT 'category', category, NULL, NULL, NULL, {NUMBERS} FROM hit GROUP BY category
UNION ALL
SELECT 'rule', category, rule, NULL, NULL, {NUMBERS} FROM hit GROUP BY category, rule
UNION ALL
SELECT 'message', category, rule, fingerprint, NULL, {NUMBERS} FROM hit GROUP BY category, rule, fingerprint
UNION ALL
SELECT 'node', NULL, NULL, NULL, node, {NUMBERS} FROM hit GROUP BY node
"""

Counts = dict[tuple[Any, ...], dict[str, int]]


def counted(database: Database, asked: Mapping[str, Any]) -> dict[str, Counts]:
    """Return, for every grouping, `KEYS` by the values of its columns; a group without files is left out.

    ``asked`` has ``request``, ``category``, ``rule`` and ``node``: the last three None where they do not narrow.
    """
    found: dict[str, Counts] = {name: {} for name in GROUPS}
    for row in database.rows(COUNTS, asked):
        name = row["of"]
        found[name][tuple(row[column] for column in GROUPS[name])] = {key: row[key] for key in KEYS}
    return found


def none() -> dict[str, int]:
    """Return `KEYS` of failures without files."""
    return dict.fromkeys(KEYS, 0)
