"""What an export contains: tables of the catalog under their own names, cut down to one request.

Because the names are the catalog's, the documented views work on an export as they do on a catalog. Every column is named here:
one that a later version adds to the catalog stays out until somebody decides that it may leave (`LEFT_OUT`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Exported:
    """One table: the query that fills it, and what a reader needs to find something in it.

    ``refers`` are the foreign keys, ``search`` the columns of the full-text index, ``sort`` the columns of further
    indexes, ``facets`` what its rows are counted by, ``times`` the columns that are shown as a date, too, ``json`` those
    that hold JSON, ``screened`` those whose text comes from jobs or users and may hold a secret.
    """

    name: str
    title: str
    query: str
    key: tuple[str, ...] = ("id",)
    refers: tuple[tuple[str, str, str], ...] = ()
    search: tuple[str, ...] = ()
    sort: tuple[tuple[str, ...], ...] = ()
    facets: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    json: tuple[str, ...] = ()
    screened: tuple[str, ...] = ()


_OF_REQUEST: Final = "(SELECT id FROM projects WHERE request_id = :request)"
_ITS_PROCESSES: Final = "(SELECT id FROM processes WHERE request_id = :request)"
_ITS_FILES: Final = "(SELECT file_id FROM ledger WHERE request_id = :request)"

TABLES: Final = (
    Exported(
        "datasets",
        "Dataset definition: the query or list that the request began with",
        """SELECT id, name, kind, definition, created_at FROM datasets
            WHERE id = (SELECT s.dataset_id FROM snapshots s JOIN requests r ON r.snapshot_id = s.id WHERE r.id = :request)""",
        times=("created_at",),
        json=("definition",),
    ),
    Exported(
        "snapshots",
        "Snapshot: the frozen file list of the dataset (its files are the rows of `ledger`)",
        """SELECT id, dataset_id, files, bytes, entries, taken_at FROM snapshots
            WHERE id = (SELECT snapshot_id FROM requests WHERE id = :request)""",
        refers=(("dataset_id", "datasets", "id"),),
        times=("taken_at",),
    ),
    Exported(
        "requests",
        "The request: its totals and its rules",
        """SELECT id, name, snapshot_id, files, committed, max_attempts, files_per_process, partition_by, partition_size,
                  lease, max_wall, output_required, policy, near_bytes, near_limit, transfer_deadline, link_limit
             FROM requests WHERE id = :request""",
        refers=(("snapshot_id", "snapshots", "id"),),
        json=("policy",),
        screened=("policy",),
    ),
    Exported(
        "projects",
        "Projects: the first one, and those that recovered what it missed",
        """SELECT id, name, request_id, recovers, application_family, application_name, application_version, station, owner,
                  state, fenced, reason, commits, rollbacks, files, committed, started_at, ended_at, last_commit_at,
                  resumed_at, rest_until, rests
             FROM projects WHERE request_id = :request ORDER BY id""",
        refers=(("request_id", "requests", "id"), ("recovers", "projects", "id")),
        search=("name", "reason"),
        facets=("state",),
        times=("started_at", "ended_at"),
        screened=("reason",),
    ),
    Exported(
        "files",
        "Files: the inputs of the request",
        f"""SELECT id, name, size, checksum, entries, tree, version, state, declared_at, trees, metadata
              FROM files WHERE id IN {_ITS_FILES} ORDER BY id""",
        search=("name",),
        sort=(("name",),),
        facets=("state",),
        json=("trees", "metadata"),
        screened=("metadata",),
    ),
    Exported(
        "file_versions",
        "Earlier versions of the files",
        f"""SELECT file_id, version, size, checksum, entries, until
              FROM file_versions WHERE file_id IN {_ITS_FILES} ORDER BY file_id, version""",
        key=("file_id", "version"),
        refers=(("file_id", "files", "id"),),
        times=("until",),
    ),
    Exported(
        "locations",
        "Where copies of the files lie",
        f"SELECT file_id, url FROM locations WHERE file_id IN {_ITS_FILES} ORDER BY file_id, url",
        key=("file_id", "url"),
        refers=(("file_id", "files", "id"),),
        screened=("url",),
    ),
    Exported(
        "processes",
        "Processes: one job's transaction each",
        """SELECT id, request_id, project_id, state, node, executor, job_id, partition_number, files_per_process, group_limit,
                  delivered, last_seq, lease, lease_until, wall_until, graced, no_output, started_at, ended_at, reason
             FROM processes WHERE request_id = :request ORDER BY id""",
        refers=(("request_id", "requests", "id"), ("project_id", "projects", "id")),
        search=("reason", "node", "job_id"),
        sort=(("request_id", "state", "project_id"), ("state",), ("node",), ("started_at",)),
        facets=("state", "node", "project_id"),
        times=("started_at", "ended_at"),
        screened=("reason", "node", "executor", "job_id"),
    ),
    Exported(
        "ledger",
        "Ledger: a row per file of the request, and whether it counts",
        """SELECT request_id, file_id, project_id, state, process_id, version, attempts, alone, solo, partition_number, reason,
                  setbacks, setbacks_alone, not_before
             FROM ledger WHERE request_id = :request ORDER BY file_id""",
        key=("request_id", "file_id"),
        refers=(
            ("request_id", "requests", "id"),
            ("file_id", "files", "id"),
            ("project_id", "projects", "id"),
            ("process_id", "processes", "id"),
        ),
        search=("reason",),
        sort=(("state",), ("process_id", "state"), ("project_id", "state"), ("file_id",)),
        facets=("state", "project_id", "attempts"),
        screened=("reason",),
    ),
    Exported(
        "deliveries",
        "Deliveries: one file in one process each",
        f"""SELECT process_id, file_id, seq, attempt, state, charged, changed, delivered_at, opened_at, consumed_at, entries_read,
                   bytes_read, reason
              FROM deliveries WHERE process_id IN {_ITS_PROCESSES} ORDER BY process_id, file_id""",
        key=("process_id", "file_id"),
        refers=(("process_id", "processes", "id"), ("file_id", "files", "id")),
        search=("reason",),
        sort=(("file_id",), ("state",)),
        facets=("state",),
        screened=("reason",),
    ),
    Exported(
        "outputs",
        "Outputs: the files that the processes produced",
        """SELECT id, request_id, process_id, key, state, destination, temp_url, final_url, size, checksum, entries, unproved,
                  recorded_at, published_at
             FROM outputs WHERE request_id = :request ORDER BY id""",
        refers=(("request_id", "requests", "id"), ("process_id", "processes", "id")),
        search=("final_url", "unproved"),
        sort=(("process_id",), ("state",)),
        facets=("state", "key"),
        times=("recorded_at", "published_at"),
        screened=("destination", "temp_url", "final_url", "unproved"),
    ),
    Exported(
        "events",
        "Events: whatever else happened, in its order",
        f"""SELECT id, at, kind, project_id, process_id, CASE WHEN file_id IN {_ITS_FILES} THEN file_id END AS file_id, body
              FROM events WHERE project_id IN {_OF_REQUEST}
         UNION ALL
            SELECT id, at, kind, project_id, process_id, CASE WHEN file_id IN {_ITS_FILES} THEN file_id END AS file_id, body
              FROM events WHERE project_id IS NULL AND process_id IN {_ITS_PROCESSES}
         UNION ALL
            SELECT id, at, kind, project_id, process_id, file_id, body FROM events
             WHERE project_id IS NULL AND process_id IS NULL AND file_id IN {_ITS_FILES}""",
        refers=(("project_id", "projects", "id"), ("process_id", "processes", "id"), ("file_id", "files", "id")),
        search=("kind", "body"),
        sort=(("process_id", "kind"), ("project_id", "kind"), ("kind",), ("at",)),
        facets=("kind",),
        times=("at",),
        json=("body",),
        screened=("body",),
    ),
    Exported(
        "excluded_nodes",
        "Nodes of its processes that were given nothing for a while",
        """SELECT node, since, until, reason, by, times FROM excluded_nodes
            WHERE node IN (SELECT node FROM processes WHERE request_id = :request) ORDER BY node""",
        key=("node",),
        search=("reason",),
        times=("since", "until"),
        screened=("reason",),
    ),
)
"""Parents before children. Declared types, and what may be empty, are those of the catalog's tables."""

FAILURES: Final = Exported(
    "failures",
    "Failures: a row per failed process, and why",
    """SELECT v.process_id, v.request, v.project, v.node, v.at, v.category, v.rule, v.confidence, v.message, v.fingerprint,
              v.evidence, v.remedy, v.step, v.exit_code, v.signal, v.files, v.wall_time_s, v.by,
              v.retried, v.recovered, v.parked, v.waiting
         FROM failures v JOIN requests r ON r.name = v.request WHERE r.id = :request ORDER BY v.process_id""",
    key=("process_id",),
    refers=(("process_id", "processes", "id"),),
    search=("message", "evidence", "remedy"),
    sort=(("category",), ("rule",), ("node",), ("at",)),
    facets=("category", "rule", "node", "step"),
    times=("at",),
    screened=("message", "fingerprint", "evidence"),
)
"""The view ``failures``, as a table: so it can be searched."""

FAILURES_TYPES: Final[dict[str, type]] = {
    "process_id": int,
    "request": str,
    "project": str,
    "node": str,
    "at": float,
    "category": str,
    "rule": str,
    "confidence": float,
    "message": str,
    "fingerprint": str,
    "evidence": str,
    "remedy": str,
    "step": str,
    "exit_code": int,
    "signal": int,
    "files": int,
    "wall_time_s": float,
    "by": str,
    "retried": int,
    "recovered": int,
    "parked": int,
    "waiting": int,
}

LEFT_OUT: Final = {
    "alembic_version": None,
    "catalog": None,
    "cursors": None,
    "dataset_files": None,
    "destinations": None,
    "journals": None,
    "jobs": None,
    "submissions": None,
    "snapshot_files": None,
    "tokens": None,
    "transfers": None,
    "processes": ("token",),
}
"""What stays in the catalog: tables, and columns of tables that are exported. Whatever can open something is here."""

EXPORTED: Final = (*TABLES, FAILURES)
"""Every table of an export but those that describe it."""

VIEWS: Final = {
    "consumption": "A row per delivery: what every process was given, and what became of it",
    "lineage": "A row per pair of output and input: where every output came from",
    "node_summary": "A row per node: how its processes fared there",
    "performance": "A row per process that was measured",
    "process_summary": "A row per process",
    "project_summary": "A row per project: its own share of the files, and its processes",
    "uncommitted": "A row per file that does not count, with the reason in words",
}
"""The documented views that an export has as views."""
