"""The table ``[executor.htcondor]`` of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bookkeeper.errors import UsageError


class Options(BaseModel):
    """Where to submit, and how.

    ``schedd`` names an access point other than this host's, found through the collector ``pool`` (else the configured
    one). ``spool``: the access point keeps a copy of all that jobs read and print, as it must where it is another host.
    ``max_idle``: so many jobs wait in the queue at most, the others are made as these start (late materialization).
    ``poll``: seconds between two questions about spooled jobs, whose event log is on the access point.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schedd: str | None = None
    pool: str | None = None
    spool: bool = False
    max_idle: int = Field(default=1000, ge=1)
    poll: float = Field(default=15.0, gt=0)


def read(options: Mapping[str, Any]) -> Options:
    """Return the options. Raises `UsageError` naming what is wrong."""
    try:
        return Options.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = ", ".join(Options.model_fields)
        raise UsageError(f"[executor.htcondor] {where}: {first['msg']}", remedy=f"it may say {known}") from error
