"""What is left of submissions because whoever would have removed it was killed before: the next one does it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from bookkeeper import jobs, logs
from bookkeeper.api import Catalog, create_catalog
from bookkeeper.executors import credentials
from bookkeeper.executors.batch import LEFT, Accepted, Asks, Order
from bookkeeper.watching import Systems, Watch, printed
from bookkeeper.watching.babysitter import Babysitter
from bookkeeper.watching.systems import known_of
from goodcatalog import declare
from services import condor
from workbench import until

pytestmark = pytest.mark.fault

ASKS = Asks(transfer="files", memory_mb=100, options={"spool": True, "poll": 0.2})


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """A catalog with a project, and the session's pool."""
    monkeypatch.setenv("CONDOR_CONFIG", condor.shared().config)
    import htcondor2

    htcondor2.reload_config()  # it is read once, when it is first imported
    with create_catalog(f"sqlite:///{tmp_path}/c.db") as made:
        declare(made, 2)
        made.define_dataset("all", names=["*"])
        made.start_project("mass", "all")
        yield made


@pytest.fixture
def systems(catalog: Catalog) -> Iterator[Systems]:
    with contextlib.closing(Systems(catalog.database)) as made:
        yield made


def submitted(catalog: Catalog, systems: Systems, folder: Path) -> Accepted:
    """Submit two jobs that print, as `settle` does."""
    order = Order("said", 2, ("/bin/bash", "-c", "echo said"), folder, ASKS)
    folder.mkdir(parents=True)
    where = {"executor": "htcondor", "host": socket.gethostname(), "folder": str(folder), "asks": asdict(ASKS)}
    jobs.intend(catalog.database, "mass", tag="said", wanted=2, **where)  # type: ignore[arg-type]
    accepted = systems.of("htcondor", ASKS).submit(order)
    (one,) = jobs.submissions(catalog.database, "mass")
    jobs.submitted(catalog.database, "mass", one["id"], batch_id=accepted.batch_id, jobs=accepted.jobs)
    return accepted


def over(catalog: Catalog, systems: Systems) -> bool:
    """Take in what became of the jobs, and be killed before anything else; tell whether all are over."""
    for one in jobs.submissions(catalog.database, "mass"):
        known = known_of(one)
        position, seen = systems.of("htcondor", ASKS).follow(known)
        jobs.observe(catalog.database, "mass", one["id"], known.position, position, seen)
    return not jobs.submissions(catalog.database, "mass")


def by_watch(catalog: Catalog, systems: Systems) -> None:
    with contextlib.closing(Watch(catalog.database)) as watch:
        watch.step()


def by_submit(catalog: Catalog, systems: Systems) -> None:
    Babysitter(catalog.database, "mass", None, systems).step()


@pytest.mark.parametrize("come", [by_watch, by_submit])
def test_whoever_comes_next_lets_them_be_forgotten(
    come: Callable[[Catalog, Systems], None], catalog: Catalog, systems: Systems
) -> None:
    folder = systems.folder / "said"
    accepted = submitted(catalog, systems, folder)
    process = catalog.project("mass").start_process(executor="htcondor", job_id=accepted.jobs[1])

    def queued() -> list[str]:
        return condor.shared().tool("condor_q", accepted.batch_id, "-af", "ProcId").split()

    printed.forget_over(catalog.database, systems)
    assert (folder / LEFT).exists(), "they run"
    until(lambda: over(catalog, systems), "both are over", 180)
    assert queued() == ["0", "1"]
    come(catalog, systems)
    until(lambda: queued() == [], "they left the queue", 180)
    assert not (folder / LEFT).exists()
    found = logs.of_job(catalog.database, process.id)
    assert found is not None and found.stdout == "said\n"
    (folder / "out.0").unlink()
    submission = jobs.over(catalog.database, "said")
    assert submission is not None
    system, known = systems.of("htcondor", ASKS), known_of(submission)
    system.fetch(known, 0)  # no job has it any more, and that is no failure
    system.forget(known)  # nor is it one to be killed after it, and to do it again


def test_copies_of_credentials_of_a_refused_submission_are_removed(catalog: Catalog, systems: Systems) -> None:
    """None of its jobs ever ran: no end of one tells that nobody reads them any more."""
    folder, asks = systems.folder / "refused", Asks(token="/nowhere")
    folder.mkdir(parents=True)
    for name in (LEFT, credentials.TOKEN, f".{credentials.TOKEN}.half"):
        (folder / name).touch()
    where = {"executor": "htcondor", "host": socket.gethostname(), "folder": str(folder), "asks": asdict(asks)}
    jobs.intend(catalog.database, "mass", tag="refused", wanted=1, **where)  # type: ignore[arg-type]
    printed.forget_over(catalog.database, systems)
    assert len(list(folder.iterdir())) == 3, "it may be handed over yet"
    (one,) = jobs.submissions(catalog.database, "mass")
    jobs.not_submitted(catalog.database, "mass", one["id"], reason="no")
    printed.forget_over(catalog.database, systems)
    assert list(folder.iterdir()) == []
