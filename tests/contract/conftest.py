"""The contract suite runs for every implementation of the `Ledger` protocol, over every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from ledgers import BACKENDS, World, sound
from services import postgres
from services.journals import NOT_OFFLINE

Make = Callable[..., World]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect of a job without a network what it can do; what it cannot is named in one list, and must fail."""
    for item in items:
        if "[journal" in item.name:
            for reason, cases in NOT_OFFLINE.items():
                if any(fnmatchcase(item.name, case) for case in cases):
                    item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


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
    if "postgresql" in request.param:
        postgres.shared().drop()


@pytest.fixture
def world(make: Make) -> World:
    """Four files and the project p."""
    return make()
