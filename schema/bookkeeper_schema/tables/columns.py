"""What the declarations share: the type of ids and sizes, and the constraint of a state."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Integer

BigInt = BigInteger().with_variant(Integer, "sqlite")
"""64 bits everywhere; on SQLite the type that makes a primary key the row id."""


def one_of(column: str, states: type[StrEnum], name: str) -> CheckConstraint:
    """Allow a column the values of an enum, or NULL where the column is nullable."""
    values = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"{column} IN ({values})", name=name)
