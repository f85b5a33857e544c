"""Whatever a catalog holds: copied there and back it is what it was."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookkeeper.api import create_catalog
from bookkeeper.copying import copy
from copies import Place, content
from services.postgres import shared

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(0, 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FILES = st.lists(
    st.tuples(TEXT.filter(bool), WHOLE, WHOLE | st.none(), NUMBER, st.none() | st.dictionaries(TEXT, JSON, max_size=3)),
    max_size=12,
    unique_by=lambda row: row[0],
)
EVENTS = st.lists(st.tuples(NUMBER, TEXT, st.dictionaries(TEXT, JSON, max_size=3)), max_size=8)
NODES = st.lists(
    st.tuples(TEXT, NUMBER, NUMBER, TEXT, TEXT, st.integers(0, 9)), max_size=8, unique_by=lambda row: row[0]
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(files=FILES, events=EVENTS, nodes=NODES, escaped=st.booleans())
def test_there_and_back_is_identity(files: list[Any], events: list[Any], nodes: list[Any], escaped: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), shared().server)
        catalog = create_catalog(f"sqlite:///{folder}/bookkeeper.db")

        def text(value: Any) -> str | None:
            return None if value is None else json.dumps(value, ensure_ascii=escaped)

        with catalog.database.transaction() as tx:
            tx.many(
                "INSERT INTO files (name, size, entries, declared_at, metadata) VALUES (?, ?, ?, ?, ?)",
                [(*row[:4], text(row[4])) for row in files],
            )
            tx.many(
                "INSERT INTO events (at, kind, body) VALUES (?, ?, ?)", [(*row[:2], text(row[2])) for row in events]
            )
            tx.many(
                'INSERT INTO excluded_nodes (node, since, until, reason, "by", times) VALUES (?, ?, ?, ?, ?, ?)', nodes
            )
        catalog.close()
        there, back = place.free("postgresql"), place.free("sqlite")
        compared = copy(catalog.url, there).rows
        assert copy(there, back).rows == compared
        before, after = content(catalog.url), content(back)
        del before["catalog"], after["catalog"]  # the stamp of the copy
        assert after == before
