"""Record what happened, append-only. Events never decide anything in the ledger."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx, storable

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
    """Append one event. ``kind`` is dotted ("file.parked"); ``body`` is anything that JSON can hold.

    A number that is none becomes null, and what is no character is spelled: nobody could read a body that has them.
    """
    try:
        text = _json(body or {})
        text.encode()
        if "\\u0000" in text:
            text = _json(_plain(body))
    except ValueError:
        text = _json(_plain(body))
    tx.run(RECORD, {"kind": kind, "project": project, "process": process, "file": file, "body": text})


def _json(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
