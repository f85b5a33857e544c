"""``[retry]``: how often, how soon, and when to stop. What is not said keeps its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from bookkeeper.failures import FailureCategory
from bookkeeper.spec.values import Seconds, Table, Word, in_folder

BRAKE: Final = ("identical", "node_failures", "exclude")


def _or_none(value: Any) -> Any:
    """Let a wait be nothing at all, which no other length of time is."""
    return None if type(value) in (int, float) and value == 0 else value


Delay = Annotated[Seconds | None, BeforeValidator(_or_none)]


class CategoryTable(Table):
    """``[retry.<category>]``: the retries of one category. Delays are in seconds, None for none at all."""

    max_retries: Annotated[int, Field(ge=0, le=1000)] | None = None
    base_delay: Delay = None
    backoff_factor: Annotated[float, Field(ge=1, le=100, strict=False)] | None = None
    jitter: bool | None = None

    def said(self) -> dict[str, Any]:
        """Return what was said, as JSON has it."""
        values = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return {name: 0.0 if value is None else value for name, value in values.items()}


class RetryTable(Table):
    """``[retry]``: what brakes a project, and what excludes a node; and the retries of each category."""

    identical: Annotated[int, Field(ge=0)] | None = None
    node_failures: Annotated[int, Field(ge=0)] | None = None
    exclude: Seconds | None = None
    rules: Word | None = None
    transient_io: CategoryTable | None = None
    executor: CategoryTable | None = None
    configuration: CategoryTable | None = None
    corrupted_input: CategoryTable | None = None
    analysis_crash: CategoryTable | None = None
    unknown: CategoryTable | None = None

    def policy(self, folder: Path) -> dict[str, Any] | None:
        """Return what was said, as the catalog keeps it; None where nothing was.

        ``folder`` is what the file of rules is relative to. Raises `SpecError`.
        """
        tables = {one.value: getattr(self, one.value) for one in FailureCategory}
        retry = {name: said for name, table in tables.items() if table is not None and (said := table.said())}
        brake = {name: value for name in BRAKE if (value := getattr(self, name)) is not None}
        policy = {"retry": retry, "brake": brake, "rules": self.own_rules(folder)}
        return {name: value for name, value in policy.items() if value} or None

    def own_rules(self, folder: Path) -> list[dict[str, Any]]:
        """Return the user's rules as data. Raises `SpecError`."""
        if self.rules is None:
            return []
        from bookkeeper.failures import load_rules

        return load_rules(in_folder(folder, self.rules)).as_list()
