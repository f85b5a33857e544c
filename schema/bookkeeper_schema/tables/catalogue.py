"""What there is: the catalog itself, files, datasets, snapshots."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Float, ForeignKey, text
from sqlmodel import Field, SQLModel

from bookkeeper_schema.states import FileState
from bookkeeper_schema.tables.columns import BigInt, one_of


class Catalog(SQLModel, table=True):
    """One row: who this catalog is."""

    __tablename__ = "catalog"
    __table_args__ = (CheckConstraint("id = 1", name="catalog_is_one_row"),)

    id: int = Field(primary_key=True)
    uuid: str = Field(unique=True)
    epoch: int
    created_at: float = Field(sa_type=Float)
    stamped_at: float | None = Field(default=None, sa_type=Float)


class File(SQLModel, table=True):
    """A catalogued data file, in its current version."""

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint("size >= 0", name="files_size"),
        CheckConstraint("entries >= 0", name="files_entries"),
        CheckConstraint("version >= 1", name="files_version"),
        CheckConstraint("checksum LIKE 'adler32:________'", name="files_checksum"),
        CheckConstraint("length(name) > 0", name="files_name"),
        one_of("state", FileState, "files_state"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    name: str = Field(unique=True)
    size: int = Field(sa_type=BigInt)
    checksum: str | None = None
    entries: int | None = Field(default=None, sa_type=BigInt)
    tree: str | None = None
    version: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    state: str = Field(default=FileState.CURRENT, sa_column_kwargs={"server_default": text("'current'")})
    declared_at: float = Field(sa_type=Float)
    trees: dict[str, int] | None = Field(default=None, sa_column=Column("trees", JSON(none_as_null=True)))
    user_metadata: dict[str, Any] | None = Field(default=None, sa_column=Column("metadata", JSON(none_as_null=True)))


class FileVersion(SQLModel, table=True):
    """What a file was before ``file declare --update`` took in its new content."""

    __tablename__ = "file_versions"
    __table_args__ = ({"sqlite_with_rowid": False},)

    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int = Field(sa_type=BigInt)
    checksum: str | None = None
    entries: int | None = Field(default=None, sa_type=BigInt)
    until: float = Field(sa_type=Float)


class Location(SQLModel, table=True):
    """Where a copy of a file lies: an absolute local path or a URL."""

    __tablename__ = "locations"
    __table_args__ = ({"sqlite_with_rowid": False},)

    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    url: str = Field(primary_key=True)


class Dataset(SQLModel, table=True):
    """A dataset definition: globs over logical names, a query, or an explicit list."""

    __tablename__ = "datasets"
    __table_args__ = (CheckConstraint("kind IN ('names', 'where', 'list')", name="datasets_kind"),)

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    name: str = Field(unique=True)
    kind: str
    definition: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float = Field(sa_type=Float)


class DatasetFile(SQLModel, table=True):
    """One file of an explicit list."""

    __tablename__ = "dataset_files"
    __table_args__ = ({"sqlite_with_rowid": False},)

    dataset_id: int = Field(sa_column=Column(BigInt, ForeignKey("datasets.id"), primary_key=True, autoincrement=False))
    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))


class Snapshot(SQLModel, table=True):
    """The frozen file list that a definition had at one moment."""

    __tablename__ = "snapshots"

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    dataset_id: int = Field(sa_column=Column(BigInt, ForeignKey("datasets.id"), nullable=False, index=True))
    files: int = Field(sa_type=BigInt)
    bytes: int = Field(sa_type=BigInt)
    entries: int | None = Field(default=None, sa_type=BigInt)
    taken_at: float = Field(sa_type=Float)


class SnapshotFile(SQLModel, table=True):
    """One file of a snapshot, in the version that it had. Never changed, never deleted (triggers refuse)."""

    __tablename__ = "snapshot_files"
    __table_args__ = ({"sqlite_with_rowid": False},)

    snapshot_id: int = Field(
        sa_column=Column(BigInt, ForeignKey("snapshots.id"), primary_key=True, autoincrement=False)
    )
    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    version: int
