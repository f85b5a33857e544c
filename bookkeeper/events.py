"""Record what happened, append-only. Events never decide anything in the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx

RECORD: Final = f"""
INSERT INTO events (at, kind, project_id, process_id, file_id, body)
VALUES ({NOW}, :kind, :project, :process, :file, :body)
"""


def record(
    tx: Tx,
    kind: str,
    body: Mapping[str, Any] | None = None,
    *,
    project: int | None = None,
    process: int | None = None,
    file: int | None = None,
) -> None:
    """Append one event. ``kind`` is dotted ("file.parked"); ``body`` is anything that JSON can hold."""
    text = json.dumps(body or {}, separators=(",", ":"), ensure_ascii=False)
    tx.run(RECORD, {"kind": kind, "project": project, "process": process, "file": file, "body": text})
