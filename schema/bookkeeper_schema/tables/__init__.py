"""Every table of a catalog, with the constraints that make wrong states unrepresentable.

Times are seconds since the epoch, UTC, by the catalog's clock; sizes are bytes. ``bookkeeper_schema.migrate`` creates
these tables by migrations; a test holds that both are the same, to the letter of the DDL.
"""

from sqlmodel import SQLModel

from bookkeeper_schema.tables.access import Token
from bookkeeper_schema.tables.batch import BatchJob, Submission
from bookkeeper_schema.tables.catalogue import (
    Catalog,
    Dataset,
    DatasetFile,
    File,
    FileVersion,
    Location,
    Snapshot,
    SnapshotFile,
)
from bookkeeper_schema.tables.record import Cursor, Delivery, Destination, Event, Journal, Output
from bookkeeper_schema.tables.transfers import Transfer
from bookkeeper_schema.tables.work import ExcludedNode, LedgerRow, Process, Project, Request

METADATA = SQLModel.metadata
"""All of the tables, for migrations and the comparison test."""

__all__ = [
    "METADATA",
    "BatchJob",
    "Catalog",
    "Cursor",
    "Dataset",
    "DatasetFile",
    "Delivery",
    "Destination",
    "Event",
    "ExcludedNode",
    "File",
    "FileVersion",
    "Journal",
    "LedgerRow",
    "Location",
    "Output",
    "Process",
    "Project",
    "Request",
    "Snapshot",
    "SnapshotFile",
    "Submission",
    "Token",
    "Transfer",
]
