"""The contract suite runs for every implementation of the `Ledger` protocol, over every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledgers import BACKENDS, World, sound

Make = Callable[..., World]


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Make worlds: ``make(files=4, **rules of the project p)``. At the end of the test each must be sound."""
    made: list[World] = []

    def one(files: int = 4, **rules: Any) -> World:
        world = World.create(tmp_path / f"{len(made)}.db", files, backend=request.param, **rules)
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
