"""The facade: a catalog and its projects, as scripts use them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bookkeeper import catalog as _catalog
from bookkeeper import durations, process, projects, recovery
from bookkeeper.catalog import DEFAULT_URL, Database
from bookkeeper.errors import UsageError
from bookkeeper.ledger import ledger_of
from bookkeeper.ledger.door import sweep
from bookkeeper.ledger.requests import Rules
from bookkeeper.ledger.restore import put_to_use
from bookkeeper.protocol import StartProcess

if TYPE_CHECKING:
    from bookkeeper.check import Finding
    from bookkeeper.export import ExportInfo
    from bookkeeper.files import Declared

Lease = float | str | None


def create_catalog(url: str | os.PathLike[str] = DEFAULT_URL) -> Catalog:
    """Create the catalog at ``sqlite:///PATH`` or a plain path, or upgrade and open the one that is there.

    The parent folder must exist. Raises `CatalogError`.
    """
    return _opened(_catalog.create(os.fspath(url)))


def open_catalog(url: str | os.PathLike[str] = DEFAULT_URL) -> Catalog:
    """Open an existing catalog. Raises `CatalogMissing`, `CatalogOutdated`, `CatalogTooNew`, `CatalogError`."""
    return _opened(_catalog.open_existing(os.fspath(url)))


def _opened(database: Database) -> Catalog:
    put_to_use(database)
    return Catalog(database)


class Catalog:
    """An open catalog. Close it, or use it as a context manager."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def __repr__(self) -> str:
        return f"<Catalog {self.url}>"

    @property
    def id(self) -> str:
        """The catalog's UUID."""
        return self.database.id

    @property
    def url(self) -> str:
        """The address that opens this catalog again."""
        return self.database.url

    def declare_files(
        self,
        records: Iterable[Any],
        *,
        update: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> Declared:
        """Declare files: an iterable, of any length, of `FileRecord` or of mappings.

        Keys: name, size, checksum (``"adler32:0a1b2c3d"``), and optionally entries, tree, trees, metadata, locations.
        Raises `FileChanged` where a declared file differs, unless ``update``; a wrong record declares nothing.
        """
        from bookkeeper import files

        return files.declare(self.database, records, update=update, on_progress=on_progress)

    def define_dataset(
        self,
        name: str,
        *,
        names: Sequence[str] | None = None,
        where: str | None = None,
        files: Sequence[str] | None = None,
        update: bool = False,
    ) -> None:
        """Define a dataset by globs over logical names, by a query, or by an explicit list: exactly one of them."""
        from bookkeeper import datasets

        datasets.define(self.database, name, names=names, where=where, files=files, update=update)

    def start_project(
        self,
        name: str,
        dataset: str,
        application: tuple[str, str, str] = ("analysis", "unnamed", "1"),
        *,
        max_attempts: int | None = None,
        files_per_process: int | None = None,
        partition_by: Mapping[str, int] | None = None,
        lease: Lease = None,
        max_wall: Lease = None,
        output_required: bool | None = None,
        policy: Mapping[str, Any] | None = None,
        near_limit: int | None = None,
        transfer_deadline: Lease = None,
        link_limit: int | None = None,
        station: str | None = None,
        owner: str | None = None,
    ) -> Project:
        """Start a project over what the dataset means now; the same again returns the same project.

        Left unsaid, ``max_attempts`` is 3, ``files_per_process`` 100, ``lease`` 10 minutes, and there is no ``max_wall``
        and no output required; a project that exists keeps its own. ``lease`` and ``max_wall`` are seconds or words such
        as ``"10m"``; ``partition_by`` is ``{"files": 5}``, ``{"bytes": …}`` or ``{"entries": …}``; ``policy`` says how
        failures are retried, as ``{"retry": {"transient_io": {"max_retries": 10}}, "brake": {"identical": 5}}``. From
        ``near_limit`` bytes at near storages on nothing is delivered; outputs have ``transfer_deadline`` (a day) to arrive
        from there, ``link_limit`` (4) of them at once over a link.
        """
        if partition_by is not None and len(partition_by) != 1:
            raise UsageError("partition_by takes one of files, bytes, entries", remedy='for example {"files": 5}')
        by, size = next(iter(partition_by.items())) if partition_by else (None, None)
        said: dict[str, Any] = {
            "max_attempts": max_attempts,
            "files_per_process": files_per_process,
            "lease": None if lease is None else durations.seconds(lease),
            "max_wall": None if max_wall is None else durations.seconds(max_wall),
            "output_required": output_required,
            "policy": policy,
            "near_limit": near_limit,
            "transfer_deadline": None if transfer_deadline is None else durations.seconds(transfer_deadline),
            "link_limit": link_limit,
        }
        unsaid = [rule for rule, value in said.items() if value is None]
        given = {rule: value for rule, value in said.items() if value is not None}
        rules = Rules(partition_by=by, partition_size=size, **given)
        if len(application) != 3:
            raise UsageError("an application is a family, a name and a version")
        projects.start(self.database, name, dataset, application, rules, unsaid=unsaid, station=station, owner=owner)
        return Project(self, name)

    def project(self, name: str) -> Project:
        """Return a project by name. Raises `NotFound`."""
        projects.summary(self.database, name)
        return Project(self, name)

    def projects(self) -> list[Project]:
        """Return every project, oldest first."""
        return [Project(self, row["project"]) for row in projects.list_all(self.database)]

    def expire(self) -> int:
        """Roll back every process whose lease or max_wall has passed, with no grace; return how many."""
        return sweep(self.database, grace=False)

    def check(self, *, notes: bool = False) -> list[Finding]:
        """Prove the invariants; return what is wrong: an empty list when sound.

        ``notes`` adds what is worth knowing: live leases, orphans, publications that wait.
        """
        from bookkeeper import check

        return [one for one in check.check(self.database) if notes or one.severity == "violation"]

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Answer one SQL query, read-only whatever it says. Raises `QueryError`."""
        return self.database.rows(query, parameters)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Project:
    """A project of an open catalog."""

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = catalog
        self._database = catalog.database
        self.name = name

    def __repr__(self) -> str:
        return f"<Project {self.name}>"

    def start_process(
        self,
        *,
        node: str | None = None,
        job_id: str | None = None,
        executor: str | None = None,
        lease: Lease = None,
        files_per_process: int | None = None,
        partition: int | None = None,
        nonce: str | None = None,
    ) -> process.Process:
        """Open one job's transaction; use it in ``with``, or step by step.

        Raises `Paused`, `NotAllowed` (ended), `NotFound` (partition).
        """
        import socket

        if files_per_process is not None and files_per_process < 1:
            raise UsageError(f"files_per_process must be at least 1, not {files_per_process}")
        request = StartProcess(
            project=self.name,
            nonce=nonce or process.new_nonce(),
            node=node or socket.gethostname(),
            executor=executor,
            job_id=job_id,
            lease=durations.seconds(lease) if lease is not None else None,
            files_per_process=files_per_process,
            partition=partition,
        )
        return process.start(ledger_of(self._database), request)

    def summary(self) -> dict[str, Any]:
        """Return the project's row of the view `project_summary`."""
        return projects.summary(self._database, self.name)

    def status(self) -> projects.RequestStatus:
        """Return the numbers of the whole request."""
        return projects.status(self._database, self.name)

    def uncommitted(self) -> list[dict[str, Any]]:
        """Return every file of the request that is not committed, with the reason in words."""
        return recovery.uncommitted(self._database, self.name)

    def outputs(self) -> list[dict[str, Any]]:
        """Return the published outputs of the request: key, url, size, checksum, entries, process_id."""
        return list(recovery.published(self._database, self.name))

    def recover(self, *, fence: bool = False) -> Project | None:
        """Return the project that takes up what is missing, created once; None where nothing is missing."""
        name = recovery.recover(self._database, self.name, fence=fence)
        return None if name is None else Project(self._catalog, name)

    def export(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> ExportInfo:
        """Write the history of the request into an SQLite file; ``overwrite`` replaces an older export only.

        Raises `Conflict` where the file exists, `StorageError` where it cannot be written.
        """
        from bookkeeper.export import export

        return export(self._database, self.name, path, overwrite=overwrite)

    def reopen(self, process_id: int, reason: str) -> int:
        """Take back a committed process whose output was lost: delete its objects, free its files; return how many."""
        return recovery.reopen(self._database, self.name, process_id, reason)

    def pause(self, reason: str) -> None:
        """Stop starts and deliveries; what runs may commit."""
        projects.pause(self._database, self.name, reason)

    def resume(self) -> bool:
        """Let a paused project go on; tell whether it was paused."""
        return projects.resume(self._database, self.name)

    def end(self, *, fence: bool = False) -> int:
        """End the project for ever; return how many live processes were fenced."""
        return projects.end(self._database, self.name, fence=fence)

    def park(self, files: Sequence[str], reason: str) -> int:
        """Take files out of delivery until a person decides; return how many."""
        return projects.park(self._database, self.name, files, reason)

    def unpark(self, files: Sequence[str] | None = None, *, repin: bool = False) -> int:
        """Give parked files (None: all) back to delivery, alone next; return how many."""
        return projects.unpark(self._database, self.name, files, repin=repin)

    def processes(self) -> Iterator[dict[str, Any]]:
        """Return the rows of `process_summary` of the whole request."""
        return projects.processes(self._database, self.name)
