"""The contract suite runs for every implementation of the `Ledger` protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.api import Catalog
from bookkeeper.ledger import SqlLedger
from bookkeeper.protocol import Ledger
from ledgers import World, sound

IMPLEMENTATIONS: dict[str, Callable[[Catalog], Ledger]] = {"sql": lambda catalog: SqlLedger(catalog.database)}

Make = Callable[..., World]


@pytest.fixture(params=IMPLEMENTATIONS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Make worlds: ``make(files=4, **rules of the project p)``. At the end of the test each must be sound."""
    made: list[World] = []

    def one(files: int = 4, **rules: Any) -> World:
        world = World.create(tmp_path / f"{len(made)}.db", files, **rules)
        world.ledger = IMPLEMENTATIONS[request.param](world.catalog)
        made.append(world)
        return world

    yield one
    for world in made:
        sound(world)
        world.close()


@pytest.fixture
def world(make: Make) -> World:
    """Four files and the project p."""
    return make()
