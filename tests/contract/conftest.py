"""The contract suite runs for every implementation of the `Ledger` protocol."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledgers import World, sound
from services.backends import BACKENDS, Backend

Make = Callable[..., World]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each implementation of the protocol, over each database."""
    return BACKENDS[request.param]


@pytest.fixture
def make(backend: Backend, tmp_path: Path) -> Iterator[Make]:
    """Make worlds: ``make(files=4, **rules of the project p)``. At the end of the test each must be sound."""
    made: list[World] = []
    with contextlib.ExitStack() as open_ones:

        def one(files: int = 4, **rules: Any) -> World:
            world = World.create(tmp_path / f"{len(made)}.db", files, new=backend.catalog, **rules)
            world.ledger = open_ones.enter_context(backend.ledger(world.catalog))
            made.append(world)
            return world

        yield one
        for world in made:
            sound(world)
    for world in made:
        world.close()


@pytest.fixture
def world(make: Make) -> World:
    """Four files and the project p."""
    return make()
