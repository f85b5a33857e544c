"""Who was given access to the catalog server."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Float, Index
from sqlmodel import Field, SQLModel

from bookkeeper_schema.states import Scope
from bookkeeper_schema.tables.columns import one_of


class Token(SQLModel, table=True):
    """A token that was given out for the catalog server. It holds no secret: who reads it can make no token from it."""

    __tablename__ = "tokens"
    __table_args__ = (
        one_of("scope", Scope, "tokens_scope"),
        CheckConstraint("expires_at > created_at", name="tokens_expires"),
        CheckConstraint("length(name) > 0", name="tokens_name"),
        CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="tokens_revoked"),
        CheckConstraint("length(projects) > 0", name="tokens_projects"),
        Index("tokens_by_name", "name"),
    )

    id: str = Field(primary_key=True)
    name: str
    scope: str
    projects: str | None = None
    key_id: str
    created_at: float = Field(sa_type=Float)
    created_by: str
    expires_at: float = Field(sa_type=Float)
    revoked_at: float | None = Field(default=None, sa_type=Float)
    revoked_by: str | None = None
